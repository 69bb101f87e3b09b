"""The loss between two collapsed lattices against the V symbols of every cell, one by one."""

import math
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from codert.distillation import Cells, OfProbabilities, collapsed_loss

from .brute_force import JOINTS, Case, cases, few, make_case, partner, visits
from .memory import Largest

DIVERGENCES: tuple[OfProbabilities, ...] = ("kl", "reverse_kl", "jensen_shannon", "alpha")
CELLS: tuple[Cells, ...] = ("uniform", "teacher", "student")
PAIRS = tuple(product(JOINTS, JOINTS))

divergences = pytest.mark.parametrize("divergence", DIVERGENCES)
joints = pytest.mark.parametrize("joint", JOINTS)
pairs = pytest.mark.parametrize(("of_teacher", "of_student"), PAIRS)


def classes(case: Case, logits: Tensor, b: int, t: int, u: int) -> Tensor:
    """Probabilities of blank, of the next label where there is one, and of everything else."""
    p = logits[b, t, u].softmax(-1)
    named = [0]
    if u < int(case.label_lengths[b]):
        named.append(int(case.labels[b, u]))
    others = [v for v in range(len(p)) if v not in named]
    rest = [p[others].sum()] if others else []
    return torch.stack([p[v] for v in named] + rest)


def between(p: Tensor, q: Tensor, divergence: OfProbabilities) -> Tensor:
    def relative(a: Tensor, b: Tensor) -> Tensor:
        return (a * (a / b).log()).sum()

    if divergence == "kl":
        return relative(p, q)
    if divergence == "reverse_kl":
        return relative(q, p)
    if divergence == "alpha":  # at 0.5
        return 4 * (1 - (p * q).sqrt().sum())
    middle = (p + q) / 2
    return (relative(p, middle) + relative(q, middle)) / 2


def slow_loss(
    teacher: Case, student: Case, divergence: OfProbabilities, temperature: float, cells: Cells
) -> Tensor:
    by = {"uniform": None, "teacher": teacher, "student": student}[cells]
    weights = student.real_cells().double() if by is None else visits(by)
    of_teacher, of_student = teacher.logits() / temperature, student.logits() / temperature
    total = torch.zeros((), dtype=torch.float64)
    for b, t, u in student.real_cells().nonzero().tolist():
        p, q = (classes(student, x, b, t, u) for x in (of_teacher, of_student))
        total = total + weights[b, t, u] * between(p, q, divergence)
    return temperature**2 * total / weights.sum()


def loss_of(
    teacher: Case,
    student: Case,
    divergence: OfProbabilities = "kl",
    temperature: float = 1.0,
    cells: Cells = "teacher",
) -> Tensor:
    lattices = teacher.lattice(), student.lattice()
    return collapsed_loss(*lattices, student.labels, divergence, temperature, cells)


def learnt(loss: Tensor, *sides: Case) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, [x for case in sides for x in case.leaves])


def pair(
    of_teacher: str = "additive", of_student: str = "additive", V: int = 5
) -> tuple[Case, Case]:
    """Two recognisers of a batch with padding."""
    student = make_case(of_student, [4, 2, 1], [1, 3, 0], V, more_frames=1, more_labels=1)
    return partner(student, of_teacher), student


@divergences
@pairs
@pytest.mark.parametrize("cells", CELLS)
@pytest.mark.parametrize("V", [2, 5])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_matches_symbol_by_symbol(
    divergence: OfProbabilities,
    of_teacher: str,
    of_student: str,
    cells: Cells,
    V: int,
    temperature: float,
) -> None:
    # With V = 2 nothing is left beside blank and the next label.
    teacher, student = pair(of_teacher, of_student, V)
    loss = loss_of(teacher, student, divergence, temperature, cells)
    assert loss.shape == ()
    expected = slow_loss(teacher, student, divergence, temperature, cells)
    assert_close(loss, expected, rtol=1e-9, atol=1e-11)
    for mine, theirs in zip(
        learnt(loss, teacher, student), learnt(expected, teacher, student), strict=True
    ):
        assert_close(mine, theirs, rtol=1e-8, atol=1e-9)


@few
@given(
    cases(),
    st.sampled_from(JOINTS),
    st.sampled_from(DIVERGENCES[:1] + DIVERGENCES[2:3]),
    st.integers(1, 100),
)
def test_matches_in_all_shapes(
    student: Case, joint: str, divergence: OfProbabilities, chunk: int
) -> None:
    teacher = partner(student, joint)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("codert.lattice.cells.CHUNK", chunk)
        loss = loss_of(teacher, student, divergence)
        found = learnt(loss, teacher, student)
    expected = slow_loss(teacher, student, divergence, 1.0, "teacher")
    assert_close(loss, expected, rtol=1e-8, atol=1e-9)
    for mine, theirs in zip(found, learnt(expected, teacher, student), strict=True):
        assert_close(mine, theirs, rtol=1e-8, atol=1e-8)


@divergences
@pairs
def test_gradcheck(divergence: OfProbabilities, of_teacher: str, of_student: str) -> None:
    student = make_case(of_student, [3, 2], [2, 1], V=4, scale=1)
    teacher = partner(student, of_teacher, scale=1)
    n = len(teacher.leaves)

    def loss(*leaves: Tensor) -> Tensor:
        # Uniform, for the weights carry no gradient.
        return loss_of(teacher.of(*leaves[:n]), student.of(*leaves[n:]), divergence, 2.0, "uniform")

    torch.autograd.gradcheck(loss, (*teacher.leaves, *student.leaves))


def sure(case: Case, gap: float) -> Case:
    """Blank is so sure that nothing is left of 1 - P(blank) in float32; the rest still differs."""
    leaves = [x.detach().clone() for x in case.leaves]
    output = -1 if case.joint == "mlp" else 0
    leaves[output][..., 0] += gap
    return case.of(*(x.float().requires_grad_() for x in leaves))


@pairs
@pytest.mark.parametrize("gap", [30.0, 60.0, 200.0])
def test_the_rest_is_not_lost_beside_a_sure_blank(
    of_teacher: str, of_student: str, gap: float
) -> None:
    teacher, student = (sure(case, gap) for case in pair(of_teacher, of_student))
    for case in (teacher, student):
        exact = case.to(torch.float64).logits()
        found = case.lattice().collapsed(case.labels)
        for b, t, u in case.real_cells().nonzero().tolist():
            log_p = exact[b, t, u].log_softmax(-1)
            named = [0, int(case.labels[b, u])] if u < int(case.label_lengths[b]) else [0]
            rest = log_p[[v for v in range(5) if v not in named]].logsumexp(0).detach()
            assert float(rest) < -16
            assert_close(found[b, t, u, 2].detach().double(), rest, rtol=1e-5, atol=1e-5)
    loss = loss_of(teacher, student)
    for gradient in (loss, *learnt(loss, teacher, student)):
        assert bool(gradient.isfinite().all())


@divergences
@pairs
@pytest.mark.parametrize("size", [10.0, 100.0])
@pytest.mark.parametrize("seed", range(2))
def test_logits_of_a_hundred_in_float32(
    divergence: OfProbabilities, of_teacher: str, of_student: str, size: float, seed: int
) -> None:
    def signs(case: Case, draw: int) -> Case:
        generator = torch.Generator().manual_seed(draw)
        leaves = [x.detach() for x in case.leaves]
        last = -1 if case.joint == "mlp" else 0
        for i in {last, len(leaves) - 1 if case.joint == "mlp" else 1}:
            drawn = torch.randint(0, 2, leaves[i].shape, generator=generator)
            leaves[i] = size * (2.0 * drawn - 1)
        return case.of(*(x.float().requires_grad_() for x in leaves))

    teacher, student = (
        signs(case, 10 * seed + i) for i, case in enumerate(pair(of_teacher, of_student))
    )
    exact = teacher.to(torch.float64), student.to(torch.float64)
    loss, expected = loss_of(teacher, student, divergence), loss_of(*exact, divergence)
    assert_close(loss.double(), expected, rtol=1e-4, atol=1e-5)
    for mine, theirs in zip(learnt(loss, teacher, student), learnt(expected, *exact), strict=True):
        assert bool(mine.isfinite().all())
        assert_close(mine.double(), theirs, rtol=1e-3, atol=1e-5 * max(1.0, size))


@divergences
@pairs
@pytest.mark.parametrize("filling", [math.nan, 1e30])
def test_padding_may_hold_anything(
    divergence: OfProbabilities, of_teacher: str, of_student: str, filling: float
) -> None:
    teacher, student = pair(of_teacher, of_student)
    filled = teacher.filled(filling), student.filled(filling)
    expected, loss = loss_of(teacher, student, divergence), loss_of(*filled, divergence)
    assert torch.equal(loss, expected)
    for mine, theirs in zip(learnt(loss, *filled), learnt(expected, teacher, student), strict=True):
        assert torch.equal(mine, theirs)


@divergences
@joints
def test_equal_lattices_leave_nothing_to_learn(divergence: OfProbabilities, joint: str) -> None:
    _, student = pair(joint, joint)
    teacher = student.of(*(x.detach().clone().requires_grad_() for x in student.leaves))
    loss = loss_of(teacher, student, divergence)
    for value in (loss, *learnt(loss, teacher, student)):
        assert_close(value, torch.zeros_like(value), rtol=0, atol=1e-13)


@joints
def test_a_symbol_that_is_never_the_next_label_is_not_told_from_another(joint: str) -> None:
    teacher, student = pair(joint, joint, V=6)
    student.labels.clamp_(max=3)
    swapped = [x.detach().clone() for x in teacher.leaves]
    for x in swapped[:2] if joint == "additive" else swapped[2:]:
        axis = -1 if joint == "additive" else 0
        x.copy_(x.index_select(axis, torch.tensor([0, 1, 2, 3, 5, 4])))
    assert_close(loss_of(teacher.of(*swapped), student), loss_of(teacher, student))


@pytest.mark.parametrize("joint", JOINTS)
@pytest.mark.parametrize(("frames", "more"), [([], 0), ([0], 0), ([0, 0], 3)], ids=str)
def test_no_cells_cost_nothing(joint: str, frames: list[int], more: int) -> None:
    student = make_case(joint, frames, [2] * len(frames), more_frames=more)
    teacher = partner(student, joint)
    loss = loss_of(teacher, student)
    for value in (loss, *learnt(loss, teacher, student)):
        assert bool((value == 0).all())


@pytest.mark.parametrize("divergence", ["l2", "cosine"])
def test_what_needs_logits_is_refused(divergence: OfProbabilities) -> None:
    complaint = "write kl or reverse_kl or jensen_shannon or alpha$"
    with pytest.raises(ValueError, match=complaint):
        loss_of(*pair(), divergence)


def test_additive_lattices_take_the_memory_of_their_cells() -> None:
    T, U, V = 40, 20, 100
    teacher, student = (make_case("additive", [T, T - 5], [U, U - 3], V, seed) for seed in range(2))
    with Largest() as largest:
        learnt(loss_of(teacher, student), teacher, student)
    assert largest.values <= 3 * 2 * T * max(V, U + 1)
