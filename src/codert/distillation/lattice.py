"""Distillation of the whole lattice: KL over all V symbols at every cell (t, u).

It compares joint distributions, so it does not depend on the gauge; docs/gauge.md.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from codert.distillation.divergences import DIVERGENCES, Divergence
from codert.lattice import AdditiveLattice, Lattice, relative_entropy
from codert.lattice.cells import chunk_of_frames
from codert.transducer import occupancies

Cells = Literal["uniform", "teacher", "student"]


def lattice_loss(
    teacher: Lattice,
    student: Lattice,
    labels: Tensor,
    divergence: Divergence = "kl",
    temperature: float = 1.0,
    cells: Cells = "teacher",
) -> Tensor:
    """The mean divergence per cell between two lattices, a scalar.

    Args:
        teacher: of (B, T, U+1, V) cells; `detached()` for the gradient to reach the student only.
        student: of the same shape.
        labels: (B, U), as for `transducer_loss`.
        divergence: a key of `DIVERGENCES`. With two additive joints kl and reverse_kl take the
            memory of T x U cells; all else is computed in chunks, and again in the backward pass.
        temperature: divides the logits; the loss is multiplied by its square.
        cells: how the mean weighs a cell: all alike, or by how likely the teacher's or the
            student's alignment passes through it. The weights carry no gradient.

    Returns:
        The weighted mean over the batch's cells; 0 where it has none.

    Raises:
        ValueError: lattices of different shapes, or labels that do not fit them.
    """
    if teacher.shape != student.shape:
        raise ValueError(
            f"the teacher's lattice is {teacher.shape} and the student's {student.shape}; "
            "give both one frame rate and one set of word-pieces"
        )
    real = student.real.to(labels.device)
    if cells == "uniform":
        weights = real.float()
    else:
        weights = occupancies(teacher if cells == "teacher" else student, labels).node
    each = _divergences(teacher.tempered(temperature), student.tempered(temperature), divergence)
    weighted = torch.where(real, weights * each, 0).sum()
    return weighted / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny) * temperature**2


def _divergences(teacher: Lattice, student: Lattice, divergence: Divergence) -> Tensor:
    """At each cell, (B, T, U+1)."""
    if isinstance(teacher, AdditiveLattice) and isinstance(student, AdditiveLattice):
        if divergence == "kl":
            return relative_entropy(teacher, student)
        if divergence == "reverse_kl":
            return relative_entropy(student, teacher)
    step = min(chunk_of_frames(teacher), chunk_of_frames(student))

    def some(start: int) -> Tensor:
        frames = slice(start, start + step)
        return DIVERGENCES[divergence](teacher.logits(frames), student.logits(frames))

    chunks = [
        checkpoint(some, start, use_reentrant=False, preserve_rng_state=False)
        for start in range(0, max(1, student.shape[1]), step)
    ]
    return torch.cat(chunks, 1)
