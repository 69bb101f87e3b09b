"""Teachers that are ahead, behind, or of more frames, against pair after pair of frames."""

import math
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from codert.distillation import (
    Cells,
    Frames,
    collapsed_loss,
    compare,
    encoder_logit_loss,
    lattice_loss,
)
from codert.lattice import AdditiveLattice

from .brute_force import JOINTS, Case, few, make_case, visits

CELLS: tuple[Cells, ...] = ("uniform", "teacher", "student")
PAIRS = tuple(product(JOINTS, JOINTS))
LENGTHS = [6, 3, 0, 1]  # the student's
SHIFTS = [0, 1, 3, -1, -2, 9, -9]


def pairs_of(of_teacher: int, of_student: int, shift: int, ratio: int) -> list[tuple[int, int]]:
    """Frames of the teacher and the student, by the definition."""
    return [
        (ratio * t + shift + i, t)
        for t in range(of_student)
        for i in range(ratio)
        if 0 <= ratio * t + shift + i < of_teacher
    ]


def teacher_lengths(ratio: int, less: int) -> list[int]:
    """Some frames fewer than the ratio's multiple of the student's, as subsampling rounds up."""
    return [max(0, ratio * n - min(less, ratio - 1)) for n in LENGTHS]


def both(of_teacher: str, of_student: str, ratio: int = 1, less: int = 0) -> tuple[Case, Case]:
    """Of a batch with padding."""
    labels = [1, 2, 1, 0]
    student = make_case(of_student, LENGTHS, labels, more_labels=1)
    teacher = make_case(of_teacher, teacher_lengths(ratio, less), labels, seed=5, more_labels=1)
    return Case(
        of_teacher, teacher.leaves, student.labels, teacher.frame_lengths, teacher.label_lengths
    ), student


def learnt(loss: Tensor, *sides: Case) -> tuple[Tensor, ...]:
    leaves = [x for case in sides for x in case.leaves]
    found = torch.autograd.grad(loss, leaves, allow_unused=True)
    return tuple(
        torch.zeros_like(x) if g is None else g for x, g in zip(leaves, found, strict=True)
    )


@few
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=3),
    st.integers(-9, 9),
    st.integers(1, 3),
    st.integers(0, 2),
)
def test_pairs_are_those_of_the_definition(
    lengths: list[int], shift: int, ratio: int, less: int
) -> None:
    of_teacher = [max(0, ratio * n - min(less, ratio - 1)) for n in lengths]
    frames = Frames.of(
        (max(of_teacher), max(lengths)),
        torch.tensor(of_teacher),
        torch.tensor(lengths),
        shift,
        ratio,
    )
    for b, length in enumerate(frames.lengths.tolist()):
        found = zip(frames.teacher[:length].tolist(), frames.student[:length].tolist(), strict=True)
        assert list(found) == pairs_of(of_teacher[b], lengths[b], shift, ratio)


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize(("ratio", "less"), [(1, 0), (2, 0), (2, 1), (3, 2)])
@pytest.mark.parametrize("filling", [0.0, math.nan])
def test_encoder_logits(shift: int, ratio: int, less: int, filling: float) -> None:
    teacher, student = (case.filled(filling) for case in both("additive", "additive", ratio, less))
    a, b = teacher.leaves[0], student.leaves[0]
    loss = encoder_logit_loss(
        a,
        b,
        student.frame_lengths,
        "kl",
        2.0,
        shift=shift,
        ratio=ratio,
        teacher_lengths=teacher.frame_lengths,
    )
    each = [
        compare(a[i, j], b[i, t], "kl", 2.0)
        for i, lengths in enumerate(zip(teacher_lengths(ratio, less), LENGTHS, strict=True))
        for j, t in pairs_of(*lengths, shift, ratio)
    ]
    expected = torch.stack(each).mean() if each else 0.0 * b[0, 0].sum()
    assert_close(loss, expected)
    for mine, theirs in zip(
        learnt(loss, teacher, student), learnt(expected, teacher, student), strict=True
    ):
        assert_close(mine, theirs)


def test_gradcheck_of_encoder_logits() -> None:
    teacher, student = both("additive", "additive", 2, 1)
    lengths = teacher.frame_lengths, student.frame_lengths
    torch.autograd.gradcheck(
        lambda a, b: encoder_logit_loss(
            a, b, lengths[1], shift=1, ratio=2, teacher_lengths=lengths[0]
        ),
        (teacher.leaves[0], student.leaves[0]),
    )


@pytest.mark.parametrize(("of_teacher", "of_student"), PAIRS)
@pytest.mark.parametrize("cells", CELLS)
@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize(("ratio", "less"), [(1, 0), (2, 1)])
@pytest.mark.parametrize("collapsed", [False, True])
def test_lattices(
    of_teacher: str,
    of_student: str,
    cells: Cells,
    shift: int,
    ratio: int,
    less: int,
    collapsed: bool,
) -> None:
    teacher, student = both(of_teacher, of_student, ratio, less)
    by = {"uniform": None, "teacher": visits(teacher), "student": visits(student)}[cells]
    values, weights = [], []
    if collapsed:
        p, q = (x.lattice().collapsed(x.labels) for x in (teacher, student))
    else:
        p, q = (x.logits() for x in (teacher, student))
    for i, lengths in enumerate(zip(teacher_lengths(ratio, less), LENGTHS, strict=True)):
        for j, t in pairs_of(*lengths, shift, ratio):
            for u in range(int(student.label_lengths[i]) + 1):
                values.append(compare(p[i, j, u], q[i, t, u]))
                at = t if cells == "student" else j
                weights.append(1.0 if by is None else float(by[i, at, u]))
    loss = (collapsed_loss if collapsed else lattice_loss)(
        teacher.lattice(),
        student.lattice(),
        student.labels,
        cells=cells,
        shift=shift,
        ratio=ratio,
    )
    if not sum(weights):
        assert float(loss.detach()) == 0
        return
    weighed = zip(weights, values, strict=True)
    expected = torch.stack([w * value for w, value in weighed]).sum() / sum(weights)
    assert_close(loss, expected, rtol=1e-8, atol=1e-9)
    for mine, theirs in zip(
        learnt(loss, teacher, student), learnt(expected, teacher, student), strict=True
    ):
        assert_close(mine, theirs, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(("of_teacher", "of_student"), PAIRS)
def test_gradcheck_of_lattices(of_teacher: str, of_student: str) -> None:
    teacher, student = both(of_teacher, of_student, 2, 1)
    n = len(teacher.leaves)

    def loss(*leaves: Tensor) -> Tensor:
        lattices = teacher.of(*leaves[:n]).lattice(), student.of(*leaves[n:]).lattice()
        return lattice_loss(*lattices, student.labels, cells="uniform", shift=-1, ratio=2)

    torch.autograd.gradcheck(loss, (*teacher.leaves, *student.leaves))


@pytest.mark.parametrize("cells", ["best_path", "sampled"])
@pytest.mark.parametrize("shift", [0, 1, -2])
def test_few_cells_are_paired_too(cells: Cells, shift: int) -> None:
    teacher, student = both("additive", "mlp", 2, 1)
    lattices = teacher.lattice(), student.lattice()
    values = []
    for _ in range(2):
        torch.manual_seed(0)
        keys: dict[str, Any] = {"shift": shift, "ratio": 2, "cells": cells}
        values.append(lattice_loss(*lattices, student.labels, **keys))
    assert torch.equal(*values)
    assert 0 < float(values[0].detach()) < math.inf


def test_a_teacher_that_is_ahead_is_followed_without_loss_by_its_own_future() -> None:
    teacher, _ = both("additive", "additive")
    e, d = (x.detach() for x in teacher.leaves)
    ahead = torch.roll(e, -1, 1)
    lengths = teacher.frame_lengths, teacher.label_lengths
    student = AdditiveLattice(ahead, d, *lengths)
    loss = lattice_loss(teacher.lattice(), student, teacher.labels, cells="uniform", shift=1)
    assert float(loss.detach()) == 0
    assert float(lattice_loss(teacher.lattice(), student, teacher.labels).detach()) > 0.1
    assert float(encoder_logit_loss(e, ahead, lengths[0], shift=1)) == 0


@pytest.mark.parametrize(
    ("sizes", "ratio"), [((5, 4), 1), ((4, 5), 1), ((9, 4), 2), ((6, 4), 2), ((8, 4), 0)]
)
def test_sizes_that_do_not_fit_the_ratio_are_refused(sizes: tuple[int, int], ratio: int) -> None:
    lengths = torch.tensor([4])
    with pytest.raises(ValueError, match=f"{sizes[0]} frames, the student {sizes[1]}, .* {ratio};"):
        Frames.of(sizes, lengths, lengths, 0, ratio)
