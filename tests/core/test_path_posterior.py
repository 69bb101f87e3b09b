"""The loss between two posteriors over alignments against all paths, one by one."""

import math
from dataclasses import replace
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from codert.distillation import OfPaths, lattice_loss, path_posterior_loss
from codert.transducer import path_relative_entropy, recursion

from .brute_force import JOINTS, Case, arc_scores, cases, few, make_case, partner, paths

DIVERGENCES: tuple[OfPaths, ...] = ("kl", "reverse_kl")
PAIRS = tuple(product(JOINTS, JOINTS))

divergences = pytest.mark.parametrize("divergence", DIVERGENCES)
pairs = pytest.mark.parametrize(("of_teacher", "of_student"), PAIRS)


def log_posterior(case: Case, b: int, temperature: float, first: int, frames: int) -> Tensor:
    """Of every path of an utterance over so many frames of it, in the order of `paths`."""
    blank, label = arc_scores(case.logits() / temperature, case.labels)
    scores = [
        torch.stack(
            [(label if is_label else blank)[b, first + t, u] for is_label, t, u in way]
        ).sum()
        for way in paths(frames, int(case.label_lengths[b]))
    ]
    return torch.stack(scores).log_softmax(0)


def slow(
    teacher: Case,
    student: Case,
    divergence: OfPaths = "kl",
    temperature: float = 1.0,
    shift: int = 0,
) -> Tensor:
    """Of each utterance, (B,)."""
    values = []
    for b, T in enumerate((student.frame_lengths - abs(shift)).tolist()):
        if T < 1:
            values.append(torch.zeros((), dtype=torch.float64))
            continue
        p, q = (
            log_posterior(case, b, temperature, first, T)
            for case, first in ((teacher, max(0, shift)), (student, max(0, -shift)))
        )
        if divergence == "reverse_kl":
            p, q = q, p
        values.append((p.exp() * (p - q)).sum())
    return torch.stack(values)


def slow_loss(
    teacher: Case,
    student: Case,
    divergence: OfPaths = "kl",
    temperature: float = 1.0,
    shift: int = 0,
) -> Tensor:
    frames = student.frame_lengths - abs(shift)
    arcs = (frames + student.label_lengths)[frames > 0].sum()
    total: Tensor = slow(teacher, student, divergence, temperature, shift).sum() / arcs
    return total * temperature**2


def loss_of(
    teacher: Case,
    student: Case,
    divergence: OfPaths = "kl",
    temperature: float = 1.0,
    shift: int = 0,
) -> Tensor:
    lattices = teacher.lattice(), student.lattice()
    return path_posterior_loss(*lattices, student.labels, divergence, temperature, shift)


def learnt(loss: Tensor, *sides: Case) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, [x for case in sides for x in case.leaves])


def pair(of_teacher: str = "additive", of_student: str = "additive") -> tuple[Case, Case]:
    """Two recognisers of a batch with padding, an utterance of it without frames."""
    lengths = [4, 2, 0, 1], [1, 3, 2, 0]
    student = make_case(of_student, *lengths, more_frames=1, more_labels=1)
    return partner(student, of_teacher), student


def assert_close_to(loss: Tensor, expected: Tensor, *sides: Case) -> None:
    assert_close(loss, expected, rtol=1e-9, atol=1e-10)
    for mine, theirs in zip(learnt(loss, *sides), learnt(expected, *sides), strict=True):
        assert_close(mine, theirs, rtol=1e-8, atol=1e-9)


@divergences
@pairs
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("form", ["numba", "torch"])
def test_matches_path_by_path(
    divergence: OfPaths,
    of_teacher: str,
    of_student: str,
    temperature: float,
    form: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(recursion._FORMS, "cpu", form)
    sides = pair(of_teacher, of_student)
    loss = loss_of(*sides, divergence, temperature)
    assert loss.shape == ()
    assert_close_to(loss, slow_loss(*sides, divergence, temperature), *sides)


@divergences
@pairs
@pytest.mark.parametrize("shift", [-2, -1, 1])
def test_a_shift_compares_alignments_that_come_later(
    divergence: OfPaths, of_teacher: str, of_student: str, shift: int
) -> None:
    sides = pair(of_teacher, of_student)
    expected = slow_loss(*sides, divergence, shift=shift)
    assert_close_to(loss_of(*sides, divergence, shift=shift), expected, *sides)


def test_a_student_that_is_late_by_the_shift_has_nothing_to_learn() -> None:
    teacher = make_case("additive", [4, 6], [2, 3])
    e, d = teacher.leaves
    for shift in (-1, -2):
        late = teacher.of(e.detach().roll(-shift, 1).requires_grad_(), d)
        loss = loss_of(teacher, late, shift=shift)
        assert float(loss.detach()) == pytest.approx(0, abs=1e-13)
        assert float(loss_of(teacher, late).detach()) > 0.01


@divergences
@pytest.mark.parametrize("joint", JOINTS)
def test_frames_that_one_side_does_not_have_are_left_out(joint: str, divergence: OfPaths) -> None:
    """Two front ends may round the length of an utterance to different numbers of frames."""
    longer = make_case(joint, [5, 5], [2, 3])
    shorter = replace(longer, frame_lengths=torch.tensor([5, 4]))
    for sides in ((longer, shorter), (shorter, longer)):
        assert float(loss_of(*sides, divergence).detach()) == pytest.approx(0, abs=1e-13)


@few
@given(cases(), st.sampled_from(JOINTS), st.sampled_from(DIVERGENCES))
def test_matches_in_all_shapes(student: Case, joint: str, divergence: OfPaths) -> None:
    sides = partner(student, joint), student
    assert_close_to(loss_of(*sides, divergence), slow_loss(*sides, divergence), *sides)
    each = path_relative_entropy(sides[0].lattice(), student.lattice(), student.labels)
    assert bool((each > -1e-12).all())


@divergences
@pairs
def test_gradcheck(divergence: OfPaths, of_teacher: str, of_student: str) -> None:
    student = make_case(of_student, [3, 2], [2, 1], V=4, scale=1)
    teacher = partner(student, of_teacher, scale=1)
    n = len(teacher.leaves)

    def loss(*leaves: Tensor) -> Tensor:
        return loss_of(teacher.of(*leaves[:n]), student.of(*leaves[n:]), divergence, 2.0)

    torch.autograd.gradcheck(loss, (*teacher.leaves, *student.leaves))


@divergences
@pairs
@pytest.mark.parametrize("filling", [math.nan, 1e30])
@pytest.mark.parametrize("shift", [0, -1])
def test_padding_may_hold_anything(
    divergence: OfPaths, of_teacher: str, of_student: str, filling: float, shift: int
) -> None:
    teacher, student = pair(of_teacher, of_student)
    filled = teacher.filled(filling), student.filled(filling)
    expected = loss_of(teacher, student, divergence, shift=shift)
    loss = loss_of(*filled, divergence, shift=shift)
    assert torch.equal(loss, expected)
    for mine, theirs in zip(learnt(loss, *filled), learnt(expected, teacher, student), strict=True):
        assert torch.equal(mine, theirs)


@divergences
@pytest.mark.parametrize("scale", [1.0, 30.0, 100.0])
def test_large_logits_in_float32(divergence: OfPaths, scale: float) -> None:
    student = make_case("additive", [5, 4], [3, 2], scale=scale).to(torch.float32)
    teacher = partner(student, "additive", scale=scale).to(torch.float32)
    exact = teacher.to(torch.float64), student.to(torch.float64)
    loss, expected = loss_of(teacher, student, divergence), slow_loss(*exact, divergence)
    assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6 * scale)
    for mine, theirs in zip(learnt(loss, teacher, student), learnt(expected, *exact), strict=True):
        assert bool(mine.isfinite().all())
        assert_close(mine.double(), theirs, rtol=1e-3, atol=1e-5 * scale)


@divergences
def test_how_likely_the_labels_are_does_not_count(divergence: OfPaths) -> None:
    # Without labels there is one path alone, whatever its probability.
    student = make_case("additive", [4], [0])
    teacher = partner(student, "additive")
    assert float(loss_of(teacher, student, divergence).detach()) == pytest.approx(0, abs=1e-12)
    # With one frame too.
    student = make_case("additive", [1], [3])
    teacher = partner(student, "additive")
    assert float(loss_of(teacher, student, divergence).detach()) == pytest.approx(0, abs=1e-12)


@divergences
def test_equal_posteriors_leave_nothing_to_learn(divergence: OfPaths) -> None:
    _, student = pair()
    teacher = student.of(*(x.detach().clone().requires_grad_() for x in student.leaves))
    loss = loss_of(teacher, student, divergence)
    for value in (loss, *learnt(loss, teacher, student)):
        assert_close(value, torch.zeros_like(value), rtol=0, atol=1e-13)


@divergences
def test_utterances_that_one_side_cannot_align_are_left_out(divergence: OfPaths) -> None:
    teacher, student = pair()
    e, d = (x.detach().clone() for x in teacher.leaves)
    e[1, :, int(student.labels[1, 0])] = -math.inf
    teacher = teacher.of(e.requires_grad_(), d.requires_grad_())
    lattices = teacher.lattice(), student.lattice()
    each = path_relative_entropy(*lattices, student.labels)
    assert float(each[1].detach()) == 0
    assert float(each[0].detach()) > 0
    gradients = learnt(loss_of(teacher, student, divergence), teacher, student)
    for gradient in gradients:
        assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("joint", JOINTS)
@pytest.mark.parametrize(("frames", "more"), [([], 0), ([0], 0), ([0, 0], 3)], ids=str)
@divergences
def test_no_paths_cost_nothing(
    joint: str, frames: list[int], more: int, divergence: OfPaths
) -> None:
    student = make_case(joint, frames, [2] * len(frames), more_frames=more)
    teacher = partner(student, joint)
    loss = loss_of(teacher, student, divergence)
    for value in (loss, *learnt(loss, teacher, student)):
        assert bool((value == 0).all())


def test_lattices_of_other_sizes_and_other_divergences_are_refused() -> None:
    teacher, student = make_case("additive", [4], [2]), make_case("additive", [5], [2])
    with pytest.raises(ValueError, match=r"\(1, 4, 3\) cells and the other \(1, 5, 3\)"):
        path_relative_entropy(teacher.lattice(), student.lattice(), student.labels)
    for shift in (0, -1):
        with pytest.raises(ValueError, match=r"has 4 frames, the student 5, and the ratio is 1"):
            loss_of(teacher, student, shift=shift)
    fewer = make_case("additive", [5], [1], more_labels=1)
    for loss in (path_posterior_loss, lattice_loss):
        with pytest.raises(ValueError, match=r"has \[1\] labels and the student's \[2\]"):
            loss(fewer.lattice(), student.lattice(), student.labels)
        with pytest.raises(ValueError, match="one set of word-pieces"):
            loss(make_case("additive", [5], [2], V=9).lattice(), student.lattice(), student.labels)
    with pytest.raises(ValueError, match="temperature is nan; write a number above 0"):
        loss_of(student, student, temperature=math.nan)
    with pytest.raises(ValueError, match=r"'l2'; write kl or reverse_kl$"):
        loss_of(student, student, "l2")  # type: ignore[arg-type]


def test_it_can_be_differentiated_once() -> None:
    teacher, student = pair()
    with pytest.raises(RuntimeError, match="only once"):
        torch.autograd.grad(loss_of(teacher, student), student.leaves, create_graph=True)


@pytest.mark.parametrize("broken", ["teacher", "student"])
def test_nan_is_kept(broken: str) -> None:
    student = make_case("additive", [4, 3], [2, 1])
    pair = {"student": student, "teacher": partner(student, "additive")}
    encoder, *rest = (x.detach().clone() for x in pair[broken].leaves)
    encoder[0, 1, 2] = torch.nan
    pair[broken] = student.of(encoder, *rest)
    lattices = pair["teacher"].lattice(), pair["student"].lattice()
    assert path_posterior_loss(*lattices, student.labels).isnan()
