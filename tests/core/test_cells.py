"""Which cells are compared: the best path, a band around it, cells drawn at random."""

import math
from itertools import product
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from codert.distillation import (
    Cells,
    Divergence,
    Frames,
    cell_weights,
    collapsed_loss,
    compare,
    lattice_loss,
)

from .brute_force import JOINTS, Case, arc_scores, cases, few, make_case, partner, paths, visits
from .memory import Largest

PAIRS = tuple(product(JOINTS, JOINTS))
DIVERGENCES: tuple[Divergence, ...] = (
    "kl",
    "reverse_kl",
    "jensen_shannon",
    "alpha",
    "l2",
    "cosine",
)
pairs = pytest.mark.parametrize(("of_teacher", "of_student"), PAIRS)


def likeliest(case: Case, b: int) -> list[tuple[int, int]]:
    """The cells of an utterance's likeliest path, by trying all."""
    blank, label = (x.detach() for x in arc_scores(case.logits(), case.labels))
    T, U = int(case.frame_lengths[b]), int(case.label_lengths[b])
    best = max(
        paths(T, U),
        key=lambda way: sum(float((label if arc else blank)[b, t, u]) for arc, t, u in way),
    )
    return [(t, u) for _, t, u in best]


def near_best_path(teacher: Case, width: int) -> Tensor:
    """Cells of which one at the same position, at most `width` frames away, is on the path."""
    chosen = torch.zeros_like(teacher.real_cells())
    for b, T in enumerate(teacher.frame_lengths.tolist()):
        for t, u in likeliest(teacher, b) if T else []:
            chosen[b, max(0, t - width) : min(T, t + width + 1), u] = True
    return chosen


def weights_of(teacher: Case, student: Case, cells: Cells, **keys: int) -> Tensor:
    T = student.leaves[0].shape[1]
    frames = Frames.of((T, T), teacher.frame_lengths, student.frame_lengths)
    return cell_weights(teacher.lattice(), student.lattice(), student.labels, frames, cells, **keys)


def learnt(loss: Tensor, *sides: Case) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, [x for case in sides for x in case.leaves])


def pair(of_teacher: str = "additive", of_student: str = "additive", V: int = 5) -> list[Case]:
    """Two recognisers of a batch with padding, an utterance of it without frames."""
    lengths = [4, 2, 0, 3], [1, 3, 2, 0]
    student = make_case(of_student, *lengths, V, more_frames=1, more_labels=1)
    return [partner(student, of_teacher), student]


@few
@given(cases(), st.sampled_from(JOINTS), st.integers(0, 3))
def test_the_best_path_and_a_band_around_it(student: Case, joint: str, width: int) -> None:
    teacher = partner(student, joint)
    weights = weights_of(teacher, student, "best_path", width=width)
    assert torch.equal(weights.bool(), near_best_path(teacher, width))
    if width == 0:
        arcs = teacher.frame_lengths + teacher.label_lengths
        assert_close(weights.sum((1, 2)), arcs.to(weights))


@pairs
@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("width", [0, 1])
def test_the_loss_of_the_best_path_is_the_mean_over_its_cells(
    of_teacher: str, of_student: str, divergence: Divergence, width: int
) -> None:
    teacher, student = pair(of_teacher, of_student)
    T = 1.0 if divergence == "cosine" else 2.0
    loss = lattice_loss(
        teacher.lattice(),
        student.lattice(),
        student.labels,
        divergence,
        T,
        "best_path",
        width=width,
    )
    chosen = near_best_path(teacher, width)
    each = [
        compare(teacher.logits()[b, t, u], student.logits()[b, t, u], divergence, T)
        for b, t, u in chosen.nonzero().tolist()
    ]
    expected = torch.stack(each).mean()
    assert_close(loss, expected, rtol=1e-9, atol=1e-11)
    for mine, theirs in zip(
        learnt(loss, teacher, student), learnt(expected, teacher, student), strict=True
    ):
        assert_close(mine, theirs, rtol=1e-8, atol=1e-10)


@pairs
@pytest.mark.parametrize("keys", [{"cells": "best_path", "width": 1}, {"cells": "sampled"}])
def test_gradcheck(of_teacher: str, of_student: str, keys: dict[str, Any]) -> None:
    student = make_case(of_student, [3, 2], [2, 1], V=4, scale=1)
    teacher = partner(student, of_teacher, scale=1)

    def loss(*leaves: Tensor) -> Tensor:
        torch.manual_seed(0)
        # The teacher chooses the cells, and which they are has no gradient.
        lattices = teacher.lattice(), student.of(*leaves).lattice()
        return lattice_loss(*lattices, student.labels, **keys)

    torch.autograd.gradcheck(loss, student.leaves)


@pairs
@pytest.mark.parametrize("chunk", [1, 40])
@pytest.mark.parametrize("cells", ["best_path", "sampled"])
def test_chunks_change_nothing(
    of_teacher: str, of_student: str, chunk: int, cells: Cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, student = pair(of_teacher, of_student)

    def loss() -> Tensor:
        torch.manual_seed(0)
        return lattice_loss(teacher.lattice(), student.lattice(), student.labels, cells=cells)

    expected = loss()
    of_expected = learnt(expected, teacher, student)
    monkeypatch.setattr("codert.lattice.cells.CHUNK", chunk)
    found = loss()
    assert_close(found, expected)
    for mine, theirs in zip(learnt(found, teacher, student), of_expected, strict=True):
        assert_close(mine, theirs)


@pytest.mark.parametrize("samples", [1, 3])
def test_so_many_cells_are_drawn_and_none_that_the_teacher_never_passes(samples: int) -> None:
    teacher, student = pair()
    e, d = (x.detach().clone() for x in teacher.leaves)
    e[0, 2:, int(student.labels[0, 0])] = -math.inf  # emitted by then
    teacher = teacher.of(e, d)
    weights = weights_of(teacher, student, "sampled", samples=samples)
    assert float(weights.sum()) == samples * int(student.frame_lengths.sum())
    assert bool((weights == weights.round()).all())
    assert not bool(weights[visits(teacher) == 0].any())


def test_draws_are_as_likely_as_the_teacher_weighs_cells() -> None:
    teacher, student = pair()
    torch.manual_seed(0)
    drawn = weights_of(teacher, student, "sampled", samples=20_000)
    count, p = drawn.sum(), visits(teacher) / visits(teacher).sum()
    deviation = (p * (1 - p) / count).sqrt()
    assert bool(((drawn / count - p).abs() <= 5 * deviation).all())
    # So the loss is, in the mean, the one that all of the teacher's cells give.
    lattices = teacher.lattice(), student.lattice()
    torch.manual_seed(0)
    found = lattice_loss(*lattices, student.labels, cells="sampled", samples=20_000)
    assert_close(found, lattice_loss(*lattices, student.labels), rtol=0.02, atol=0)


def test_draws_come_from_torchs_generator_and_nothing_else_does() -> None:
    teacher, student = pair()
    for cells in ("uniform", "teacher", "student", "best_path"):
        before = torch.get_rng_state()
        weights_of(teacher, student, cells)
        assert torch.equal(torch.get_rng_state(), before)
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(weights_of(teacher, student, "sampled"))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pairs
@pytest.mark.parametrize("loss", [lattice_loss, collapsed_loss])
@pytest.mark.parametrize("cells", ["best_path", "sampled"])
@pytest.mark.parametrize("filling", [math.nan, 1e30])
def test_padding_may_hold_anything(
    of_teacher: str, of_student: str, loss: Any, cells: Cells, filling: float
) -> None:
    sides = pair(of_teacher, of_student)
    values = []
    for some in (sides, [case.filled(filling) for case in sides]):
        torch.manual_seed(0)
        value = loss(some[0].lattice(), some[1].lattice(), some[1].labels, cells=cells)
        values.append((value, *learnt(value, *some)))
    for mine, theirs in zip(*values, strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("joint", JOINTS)
@pytest.mark.parametrize("cells", ["best_path", "sampled"])
@pytest.mark.parametrize(("frames", "more"), [([], 0), ([0], 0), ([0, 0], 3)], ids=str)
def test_no_cells_cost_nothing(joint: str, cells: Cells, frames: list[int], more: int) -> None:
    student = make_case(joint, frames, [2] * len(frames), more_frames=more)
    teacher = partner(student, joint)
    for divergence in ("kl", "l2"):
        loss = lattice_loss(
            teacher.lattice(),
            student.lattice(),
            student.labels,
            divergence,
            cells=cells,
        )
        for value in (loss, *learnt(loss, teacher, student)):
            assert bool((value == 0).all())


@pytest.mark.parametrize("cells", ["best_path", "sampled"])
def test_a_collapsed_lattice_chooses_cells_too(cells: Cells) -> None:
    teacher, student = pair()
    torch.manual_seed(0)
    weights = weights_of(teacher, student, cells)
    log_p, log_q = (x.lattice().collapsed(x.labels) for x in (teacher, student))
    expected = (weights * compare(log_p, log_q))[weights > 0].sum() / weights.sum()
    torch.manual_seed(0)
    lattices = teacher.lattice(), student.lattice()
    assert_close(collapsed_loss(*lattices, student.labels, cells=cells), expected)


@pairs
def test_few_cells_take_the_memory_of_few(of_teacher: str, of_student: str) -> None:
    T, U, V = 60, 30, 200
    student = make_case(of_student, [T, T - 5], [U, U - 3], V)
    teacher = partner(student, of_teacher)
    # Which cells is the teacher's to say, for which an MLP joint goes through all of them once.
    learning, taught = student.lattice(), teacher.lattice().detached()
    frames = Frames.of((T, T), student.frame_lengths, student.frame_lengths)
    chosen = cell_weights(taught, learning, student.labels, frames, "best_path")
    with pytest.MonkeyPatch.context() as patch, Largest() as largest:
        patch.setattr("codert.distillation.lattice.cell_weights", lambda *_: chosen)
        loss = lattice_loss(taught, learning, student.labels, cells="best_path")
        torch.autograd.grad(loss, student.leaves)
    assert largest.values <= 2 * (T + U) * V
    assert 2 * (T + U) * V < 2 * T * (U + 1) * V / 20


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"cells": "likely"}, "'likely'; write uniform or teacher or student or best_path"),
        ({"cells": "teacher", "width": 1}, "width is 1; it is of cells: best_path"),
        ({"cells": "best_path", "width": -1}, "width is -1"),
        ({"cells": "best_path", "samples": 2}, "samples is 2; it is of cells: sampled"),
        ({"cells": "sampled", "samples": 0}, "samples is 0"),
    ],
)
def test_what_cannot_be_chosen_is_refused(keys: dict[str, Any], complaint: str) -> None:
    teacher, student = pair()
    with pytest.raises(ValueError, match=complaint):
        lattice_loss(teacher.lattice(), student.lattice(), student.labels, **keys)


@pytest.mark.parametrize("cells", get_args(Cells))
@pytest.mark.parametrize("loss", [lattice_loss, collapsed_loss])
def test_a_teacher_that_is_nan_does_not_pass_for_a_perfect_one(loss: Any, cells: Cells) -> None:
    student = make_case("additive", [4, 3], [2, 1])
    encoder, *rest = (x.detach().clone() for x in partner(student, "additive").leaves)
    encoder[0, 1, 2] = torch.nan
    teacher = student.of(encoder, *rest)
    assert loss(teacher.lattice(), student.lattice(), student.labels, cells=cells).isnan()
