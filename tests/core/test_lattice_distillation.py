"""The loss between two whole lattices against all T x U x V logits and all alignments."""

import math
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from codert.distillation import Cells, Divergence, lattice_loss
from codert.transducer import occupancies, recursion

from .brute_force import JOINTS, Case, cases, few, make_case, partner, visits
from .memory import Kept, Largest

DIVERGENCES: tuple[Divergence, ...] = ("kl", "reverse_kl", "jensen_shannon", "alpha", "l2")
# Those by which every cell may weigh; test_cells.py has those that choose a few.
CELLS: tuple[Cells, ...] = ("uniform", "teacher", "student")
PAIRS = tuple(product(JOINTS, JOINTS))

divergences = pytest.mark.parametrize("divergence", DIVERGENCES)
weighed = pytest.mark.parametrize("cells", CELLS)
joints = pytest.mark.parametrize("joint", JOINTS)
pairs = pytest.mark.parametrize(("of_teacher", "of_student"), PAIRS)


def dense(teacher: Case, student: Case, divergence: Divergence, temperature: float) -> Tensor:
    """The divergence at each cell by its definition, (B, T, U+1)."""
    logits = [case.logits() / temperature for case in (teacher, student)]
    log_p, log_q = (x.log_softmax(-1) for x in logits)

    def relative(log_a: Tensor, log_b: Tensor) -> Tensor:
        return (log_a.exp() * (log_a - log_b)).sum(-1)

    if divergence == "kl":
        return relative(log_p, log_q)
    if divergence == "reverse_kl":
        return relative(log_q, log_p)
    if divergence == "jensen_shannon":
        log_middle = torch.stack([log_p, log_q]).logsumexp(0) - math.log(2)
        return (relative(log_p, log_middle) + relative(log_q, log_middle)) / 2
    if divergence == "alpha":  # at 0.5
        return 4 * (1 - (log_p / 2 + log_q / 2).exp().sum(-1))
    a, b = (x - x.mean(-1, keepdim=True) for x in logits)
    return (a - b).square().mean(-1)


def dense_loss(
    teacher: Case, student: Case, divergence: Divergence, temperature: float, cells: Cells
) -> Tensor:
    real = student.real_cells()
    weights = {
        "uniform": lambda: real.double(),
        "teacher": lambda: visits(teacher),
        "student": lambda: visits(student),
    }[cells]()[real]
    each = dense(teacher, student, divergence, temperature)[real]
    return temperature**2 * (weights * each).sum() / weights.sum()


def loss_of(
    teacher: Case,
    student: Case,
    divergence: Divergence = "kl",
    temperature: float = 1.0,
    cells: Cells = "teacher",
) -> Tensor:
    lattices = teacher.lattice(), student.lattice()
    return lattice_loss(*lattices, student.labels, divergence, temperature, cells)


def learnt(loss: Tensor, teacher: Case, student: Case) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, [*teacher.leaves, *student.leaves])


def pair(of_teacher: str = "additive", of_student: str = "additive", V: int = 5) -> list[Case]:
    """Two recognisers of a batch with padding."""
    student = make_case(of_student, [4, 2, 1], [1, 3, 0], V, more_frames=1, more_labels=1)
    return [partner(student, of_teacher), student]


def without_second(case: Case) -> Case:
    """The first and the third utterance, of the same leaves."""
    encoder, decoder, *output = case.leaves
    kept = encoder[[0, 2]], decoder[[0, 2]], *output
    lengths = case.frame_lengths[[0, 2]], case.label_lengths[[0, 2]]
    return Case(case.joint, kept, case.labels[[0, 2]], *lengths)


def assert_equal_gradients(mine: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> None:
    for one, other in zip(mine, theirs, strict=True):
        assert torch.equal(one, other)


def assert_close_gradients(mine: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> None:
    for one, other in zip(mine, theirs, strict=True):
        assert_close(one, other, rtol=1e-8, atol=1e-9)


@divergences
@weighed
@pairs
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_matches_dense(
    divergence: Divergence, cells: Cells, of_teacher: str, of_student: str, temperature: float
) -> None:
    teacher, student = pair(of_teacher, of_student)
    loss = loss_of(teacher, student, divergence, temperature, cells)
    assert loss.shape == ()
    expected = dense_loss(teacher, student, divergence, temperature, cells)
    assert_close(loss, expected, rtol=1e-10, atol=1e-12)
    assert_close_gradients(learnt(loss, teacher, student), learnt(expected, teacher, student))


@few
@given(
    cases(),
    st.sampled_from(JOINTS),
    st.sampled_from(DIVERGENCES),
    st.sampled_from(CELLS),
    st.sampled_from([0.7, 1.0, 3.0]),
    st.integers(1, 100),
)
def test_matches_dense_in_all_shapes(
    student: Case,
    joint: str,
    divergence: Divergence,
    cells: Cells,
    temperature: float,
    chunk: int,
) -> None:
    teacher = partner(student, joint)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("codert.lattice.cells.CHUNK", chunk)
        loss = loss_of(teacher, student, divergence, temperature, cells)
        found = learnt(loss, teacher, student)
    expected = dense_loss(teacher, student, divergence, temperature, cells)
    assert_close(loss, expected, rtol=1e-8, atol=1e-9)
    assert_close_gradients(found, learnt(expected, teacher, student))


@divergences
@pairs
def test_gradcheck(divergence: Divergence, of_teacher: str, of_student: str) -> None:
    student = make_case(of_student, [3, 2], [2, 1], V=4, scale=1)
    teacher = partner(student, of_teacher, scale=1)
    n = len(teacher.leaves)

    def loss(*leaves: Tensor) -> Tensor:
        # Uniform, for the weights carry no gradient.
        return loss_of(teacher.of(*leaves[:n]), student.of(*leaves[n:]), divergence, 2.0, "uniform")

    torch.autograd.gradcheck(loss, (*teacher.leaves, *student.leaves))


def test_the_defaults_are_kl_at_temperature_1_where_the_teacher_aligns() -> None:
    teacher, student = pair()
    found = lattice_loss(teacher.lattice(), student.lattice(), student.labels)
    assert torch.equal(found, loss_of(teacher, student, "kl", 1.0, "teacher"))


@weighed
def test_weights_are_probabilities_of_the_alignment(cells: Cells) -> None:
    teacher, student = pair("mlp", "additive")
    for case in (teacher, student):
        assert_close(occupancies(case.lattice(), case.labels).node, visits(case))
    each = dense(teacher, student, "kl", 1.0)
    # Cells that the weighing alignment cannot reach say nothing.
    weights = visits(teacher if cells == "teacher" else student)
    if cells == "uniform":
        weights = student.real_cells().double()
    assert_close(loss_of(teacher, student, cells=cells), (weights * each).sum() / weights.sum())


@divergences
@weighed
@pairs
def test_gradient_reaches_the_teacher_only_where_it_is_not_detached(
    divergence: Divergence, cells: Cells, of_teacher: str, of_student: str
) -> None:
    teacher, student = pair(of_teacher, of_student)
    n = len(teacher.leaves)
    both = learnt(loss_of(teacher, student, divergence, 2.0, cells), teacher, student)
    assert all(bool((gradient != 0).any()) for gradient in both)
    detached = teacher.lattice().detached()
    loss = lattice_loss(detached, student.lattice(), student.labels, divergence, 2.0, cells)
    alone = torch.autograd.grad(loss, [*teacher.leaves, *student.leaves], allow_unused=True)
    assert alone[:n] == (None,) * n
    assert_equal_gradients(alone[n:], both[n:])


@divergences
@pairs
@pytest.mark.parametrize("chunk", [1, 40, 130])
def test_chunks_change_nothing(
    divergence: Divergence,
    of_teacher: str,
    of_student: str,
    chunk: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    teacher, student = pair(of_teacher, of_student)
    expected = loss_of(teacher, student, divergence, 2.0)
    of_expected = learnt(expected, teacher, student)
    monkeypatch.setattr("codert.lattice.cells.CHUNK", chunk)
    loss = loss_of(teacher, student, divergence, 2.0)
    assert_close(loss, expected)
    assert_close_gradients(learnt(loss, teacher, student), of_expected)


@divergences
@weighed
@pairs
@pytest.mark.parametrize("filling", [math.nan, 1e30])
def test_padding_may_hold_anything(
    divergence: Divergence, cells: Cells, of_teacher: str, of_student: str, filling: float
) -> None:
    teacher, student = pair(of_teacher, of_student)
    filled = teacher.filled(filling), student.filled(filling)
    expected = loss_of(teacher, student, divergence, 2.0, cells)
    loss = loss_of(*filled, divergence, 2.0, cells)
    assert torch.equal(loss, expected)
    assert_equal_gradients(learnt(loss, *filled), learnt(expected, teacher, student))


@divergences
@weighed
def test_more_padding_changes_nothing(divergence: Divergence, cells: Cells) -> None:
    teacher, student = pair()

    def longer(case: Case) -> Case:
        e, d = (torch.nn.functional.pad(x, (0, 0, 0, 3)) for x in case.leaves)
        labels = torch.nn.functional.pad(case.labels, (0, 3))
        return Case("additive", (e, d), labels, case.frame_lengths, case.label_lengths)

    assert_close(
        loss_of(longer(teacher), longer(student), divergence, 1.0, cells),
        loss_of(teacher, student, divergence, 1.0, cells),
    )


@divergences
@weighed
@pairs
def test_impossible_utterances_count_for_nothing(
    divergence: Divergence, cells: Cells, of_teacher: str, of_student: str
) -> None:
    student = make_case(of_student, [4, 0, 3], [1, 2, 3])
    teacher = partner(student, of_teacher)
    loss = loss_of(teacher, student, divergence, 2.0, cells)

    alone = loss_of(without_second(teacher), without_second(student), divergence, 2.0, cells)
    assert_close(loss, alone)
    assert_close_gradients(learnt(loss, teacher, student), learnt(alone, teacher, student))


@divergences
@pairs
@pytest.mark.parametrize(("frames", "more"), [([], 0), ([0], 0), ([0, 0], 0), ([0, 0], 3)], ids=str)
def test_no_cells_cost_nothing(
    divergence: Divergence, of_teacher: str, of_student: str, frames: list[int], more: int
) -> None:
    student = make_case(of_student, frames, [2] * len(frames), more_frames=more)
    teacher = partner(student, of_teacher)
    for cells in CELLS:
        loss = loss_of(teacher, student, divergence, 2.0, cells)
        assert float(loss.detach()) == 0
        for gradient in learnt(loss, teacher, student):
            assert bool((gradient == 0).all())


@pytest.mark.parametrize("form", ["numba", "torch"])
def test_a_label_that_the_teacher_holds_impossible(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(recursion._FORMS, "cpu", form)
    teacher, student = pair()
    e, d = (x.detach().clone() for x in teacher.leaves)
    e[1, :, int(student.labels[1, 0])] = -math.inf
    teacher = teacher.of(e.requires_grad_(), d.requires_grad_())
    loss = loss_of(teacher, student, cells="teacher")
    # No alignment of the second utterance is left to weigh its cells by.
    assert_close(loss, loss_of(without_second(teacher), without_second(student)))
    for gradient in learnt(loss, teacher, student):
        assert bool(gradient.isfinite().all())


@weighed
@pairs
@pytest.mark.parametrize("divergence", ["kl", "jensen_shannon", "alpha"])
def test_symbols_that_the_teacher_holds_impossible(
    divergence: Divergence, cells: Cells, of_teacher: str, of_student: str
) -> None:
    teacher, student = pair(of_teacher, of_student)
    student.labels.clamp_(max=3)

    def without(value: float) -> Case:
        leaves = [x.detach().clone() for x in teacher.leaves]
        leaves[0 if of_teacher == "additive" else 3][..., 4] = value
        return teacher.of(*(x.requires_grad_() for x in leaves))

    teacher, exact = without(-math.inf), without(-5000.0)  # exp(-5000) is 0
    loss = loss_of(teacher, student, divergence, 2.0, cells)
    expected = dense_loss(exact, student, divergence, 2.0, cells)
    assert_close(loss, expected)
    assert_close_gradients(learnt(loss, teacher, student), learnt(expected, exact, student))


@weighed
@joints
@pytest.mark.parametrize("divergence", DIVERGENCES[:4])
def test_symbols_that_both_hold_impossible_count_for_nothing(
    divergence: Divergence, cells: Cells, joint: str
) -> None:
    teacher, student = pair(joint, joint)
    student.labels.clamp_(max=3)

    def without(case: Case, value: float) -> Case:
        leaves = [x.detach().clone() for x in case.leaves]
        leaves[0 if case.joint == "additive" else 3][..., 4] = value
        return case.of(*(x.requires_grad_() for x in leaves))

    masked = without(teacher, -math.inf), without(student, -math.inf)
    exact = without(teacher, -5000.0), without(student, -5000.0)
    loss = loss_of(*masked, divergence, 2.0, cells)
    expected = dense_loss(*exact, divergence, 2.0, cells)
    assert_close(loss, expected)
    assert_close_gradients(learnt(loss, *masked), learnt(expected, *exact))


@pytest.mark.parametrize(
    ("frames", "labels", "V"), [([4], [2], 6), ([4], [3], 5), ([4, 4], [3, 3], 6)]
)
@pairs
def test_shapes_that_differ_are_refused(
    frames: list[int], labels: list[int], V: int, of_teacher: str, of_student: str
) -> None:
    teacher = make_case(of_teacher, [4], [3], V=6)
    student = make_case(of_student, frames, labels, V)
    with pytest.raises(ValueError, match="one batch and one set of word-pieces") as error:
        loss_of(teacher, student)
    assert str(teacher.lattice().shape) in str(error.value)
    assert str(student.lattice().shape) in str(error.value)


@pairs
def test_other_numbers_of_frames_are_refused(of_teacher: str, of_student: str) -> None:
    teacher, student = make_case(of_teacher, [4], [3]), make_case(of_student, [5], [3])
    with pytest.raises(ValueError, match="4 frames, the student 5, and the ratio is 1; give both"):
        loss_of(teacher, student)


@pairs
@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_cosine_of_lattices(of_teacher: str, of_student: str, temperature: float) -> None:
    teacher, student = pair(of_teacher, of_student)
    if temperature != 1:
        with pytest.raises(ValueError, match="does not feel a temperature"):
            loss_of(teacher, student, "cosine", temperature)
        return
    a, b = (x - x.mean(-1, keepdim=True) for x in (teacher.logits(), student.logits()))
    each = 1 - (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1))
    expected = each[student.real_cells()].mean()
    loss = loss_of(teacher, student, "cosine", cells="uniform")
    assert_close(loss, expected)
    assert_close_gradients(learnt(loss, teacher, student), learnt(expected, teacher, student))


@pairs
@pytest.mark.parametrize("alpha", [0.1, 0.8])
def test_alpha_divergences_of_lattices(of_teacher: str, of_student: str, alpha: float) -> None:
    teacher, student = pair(of_teacher, of_student)
    p, q = (x.logits().softmax(-1) for x in (teacher, student))
    each = (1 - (p**alpha * q ** (1 - alpha)).sum(-1)) / (alpha * (1 - alpha))
    expected = each[student.real_cells()].mean()
    lattices = teacher.lattice(), student.lattice()
    loss = lattice_loss(*lattices, student.labels, "alpha", cells="uniform", alpha=alpha)
    assert_close(loss, expected)
    assert_close_gradients(learnt(loss, teacher, student), learnt(expected, teacher, student))


@pytest.mark.parametrize("size", [1.0, 100.0])
@pytest.mark.parametrize("opposed", [False, True])
def test_alpha_divergence_of_large_logits_in_float32(size: float, opposed: bool) -> None:
    teacher, student = pair()

    def signs(case: Case, first: int) -> Case:
        leaves = [size * x.detach().sign() for x in case.leaves]
        if opposed:  # encoder and decoder want different symbols, so no product is left of a cell
            for i, x in enumerate(leaves):
                x[:] = -size
                x[..., first + i] = size
        return case.of(*(x.float().requires_grad_() for x in leaves))

    teacher, student = signs(teacher, 1), signs(student, 2)
    exact = teacher.to(torch.float64), student.to(torch.float64)
    loss, expected = loss_of(teacher, student, "alpha"), loss_of(*exact, "alpha")
    assert_close(expected, dense_loss(*exact, "alpha", 1.0, "teacher"))
    assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    for mine, theirs in zip(learnt(loss, teacher, student), learnt(expected, *exact), strict=True):
        assert_close(mine.double(), theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cells", ["teacher", "student"])
def test_labels_that_do_not_fit_are_refused(cells: Cells) -> None:
    teacher, student = pair()
    labels = student.labels.clone()
    labels[1, 2] = 9
    lattices = teacher.lattice(), student.lattice()
    with pytest.raises(ValueError, match="label 2 of utterance 1 is 9"):
        lattice_loss(*lattices, labels, cells=cells)
    with pytest.raises(ValueError, match=r"labels are \(3, 2\)"):
        lattice_loss(*lattices, labels[:, :2], cells=cells)


@divergences
@joints
def test_equal_lattices_leave_nothing_to_learn(divergence: Divergence, joint: str) -> None:
    _, student = pair(joint, joint)
    teacher = student.of(*(x.detach().clone().requires_grad_() for x in student.leaves))
    loss = loss_of(teacher, student, divergence)
    assert_close(loss, torch.zeros_like(loss), rtol=0, atol=1e-14)
    for gradient in learnt(loss, teacher, student):
        assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-14)


@divergences
def test_does_not_depend_on_the_gauge(divergence: Divergence) -> None:
    teacher, student = pair()
    e, d = student.leaves
    c = torch.linspace(-3, 5, e.shape[2], dtype=torch.float64)
    moved = student.of(e + c, d - c)
    loss, expected = loss_of(teacher, moved, divergence), loss_of(teacher, student, divergence)
    assert_close(loss, expected)
    assert_close_gradients(learnt(loss, teacher, student), learnt(expected, teacher, student))


@divergences
@pairs
def test_autocast_changes_nothing(divergence: Divergence, of_teacher: str, of_student: str) -> None:
    teacher, student = (case.to(torch.float32) for case in pair(of_teacher, of_student))
    expected = loss_of(teacher, student, divergence, 2.0)
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(teacher, student, divergence, 2.0)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, expected)
    assert_equal_gradients(learnt(loss, teacher, student), learnt(expected, teacher, student))


@divergences
@pytest.mark.parametrize(
    ("of_teacher", "of_student", "width"),
    [
        ("additive", "additive", 3),
        ("additive", "mlp", 500),
        ("mlp", "additive", 500),
        ("mlp", "mlp", 3),
        ("mlp", "mlp", 500),
    ],
)
def test_memory_is_that_of_one_chunk(
    divergence: Divergence,
    of_teacher: str,
    of_student: str,
    width: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    T, U, V = 40, 20, 100

    def single(joint: str, seed: int) -> Case:
        case = make_case(joint, [T, T - 5], [U, U - 3], V, seed).to(torch.float32)
        if joint == "additive":
            return case
        generator = torch.Generator().manual_seed(seed)
        shapes = [(2, T, width), (2, U + 1, width), (V, width), (V,)]
        return case.of(*(torch.randn(s, generator=generator).requires_grad_() for s in shapes))

    teacher, student = single(of_teacher, 0), single(of_student, 1)
    chunk = 3 * 2 * (U + 1) * max(V, width)
    monkeypatch.setattr("codert.lattice.cells.CHUNK", chunk)
    kept = Kept()
    with Largest() as largest:
        with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda x: x):
            loss = loss_of(teacher, student, divergence, 2.0)
        learnt(loss, teacher, student)
    assert largest.values <= chunk
    assert chunk < 2 * T * (U + 1) * max(V, width) / 10
    leaves = sum(x.numel() for x in (*teacher.leaves, *student.leaves))
    assert kept.values < 5 * leaves + 20 * 2 * T * (U + 1)
