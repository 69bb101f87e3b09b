"""Distillation of a lattice: of all V symbols at its cells (t, u), or of three classes of them.

It compares joint distributions, so it does not depend on the gauge; docs/gauge.md.
"""

from typing import get_args

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from codert.distillation.cells import FEW, Cells, cell_weights
from codert.distillation.divergences import (
    Divergence,
    OfProbabilities,
    by_affinity,
    check_divergence,
    compare,
)
from codert.distillation.frames import Frames
from codert.lattice import (
    AdditiveLattice,
    Lattice,
    log_affinity,
    relative_entropy,
    squared_distance,
)
from codert.lattice import cells as lattice_cells
from codert.lattice.cells import chunk_of_frames


def lattice_loss(
    teacher: Lattice,
    student: Lattice,
    labels: Tensor,
    divergence: Divergence = "kl",
    temperature: float = 1.0,
    cells: Cells = "teacher",
    alpha: float = 0.5,
    width: int = 0,
    samples: int = 1,
    shift: int = 0,
    ratio: int = 1,
) -> Tensor:
    """The mean divergence per cell between two lattices, a scalar.

    Args:
        teacher: of (B, T, U+1, V) cells; `detached()` for the gradient to reach the student only.
        student: of the same shape, or fewer frames with a ratio.
        labels: (B, U), as for `transducer_loss`.
        divergence: a key of `DIVERGENCES`. With two additive joints kl, reverse_kl, alpha and
            l2 take the memory of T x U cells; all else is computed in chunks, and again in the
            backward pass.
        temperature: divides the logits; the loss is multiplied by its square.
        cells: which cells weigh how much; see `cell_weights`. The weights carry no gradient.
            Of `best_path` and `sampled` the logits of the chosen cells are made, and no others.
        alpha: of the alpha-divergence.
        width: of `best_path`, frames to either side of it.
        samples: of `sampled`, cells drawn for each frame.
        shift: the student's frame t learns from the teacher's t + shift.
        ratio: the teacher's frames for each of the student's, all of which teach it; the shift
            is counted in the teacher's.

    Returns:
        The weighted mean over the batch's cells; 0 where it has none.

    Raises:
        ValueError: lattices of different shapes, labels that do not fit them, or no such
            divergence or choice of cells.
    """
    check_divergence(divergence, temperature, alpha)
    frames = _frames(teacher, student, shift, ratio)
    weights = cell_weights(teacher, student, labels, frames, cells, width, samples)
    if shift or ratio > 1:
        teacher = teacher.frames(frames.teacher, frames.lengths)
        student = student.frames(frames.student, frames.lengths)
    if cells in FEW:
        chosen = weights != 0  # nan is kept
        each = _at_some(teacher, student, chosen, divergence, temperature, alpha)
        return _mean(weights[chosen], each)
    each = _everywhere(teacher, student, divergence, temperature, alpha)
    return _mean(weights, torch.where(student.real, each, 0))


def collapsed_loss(
    teacher: Lattice,
    student: Lattice,
    labels: Tensor,
    divergence: OfProbabilities = "kl",
    temperature: float = 1.0,
    cells: Cells = "teacher",
    alpha: float = 0.5,
    width: int = 0,
    samples: int = 1,
    shift: int = 0,
    ratio: int = 1,
) -> Tensor:
    """The mean divergence per cell of {blank, the next label, everything else}, a scalar.

    It takes the memory of T x U cells with any joint.

    Source: Panchapagesan et al. (2020), arXiv 2011.06110, section 3.

    Args:
        teacher: of (B, T, U+1) cells; `detached()` for the gradient to reach the student only.
        student: as many, or of fewer frames with a ratio.
        labels: (B, U), as for `transducer_loss`.
        divergence: kl, reverse_kl, jensen_shannon or alpha, for three classes have no logits.
        temperature: divides the logits of all V symbols before they are collapsed; the loss is
            multiplied by its square.
        cells: as for `lattice_loss`, and so are the others.
        alpha: of the alpha-divergence.
        width: of `best_path`, frames to either side of it.
        samples: of `sampled`, cells drawn for each frame.
        shift: the student's frame t learns from the teacher's t + shift.
        ratio: the teacher's frames for each of the student's.

    Returns:
        The weighted mean over the batch's cells; 0 where it has none.

    Raises:
        ValueError: as for `lattice_loss`.
    """
    check_divergence(divergence, temperature, alpha, get_args(OfProbabilities))
    frames = _frames(teacher, student, shift, ratio)
    weights = cell_weights(teacher, student, labels, frames, cells, width, samples)
    log_p = teacher.tempered(temperature).collapsed(labels)[:, frames.teacher]
    log_q = student.tempered(temperature).collapsed(labels)[:, frames.student]
    chosen = weights != 0  # nan is kept
    each = compare(log_p[chosen], log_q[chosen], divergence, alpha=alpha)
    return _mean(weights[chosen], each) * temperature**2


def check_one_batch(teacher: Lattice, student: Lattice) -> None:
    """Raises ValueError for lattices of other labels or other symbols."""
    if teacher.shape[::2] != student.shape[::2] or teacher.shape[3] != student.shape[3]:
        raise ValueError(
            f"the teacher's lattice is {teacher.shape} and the student's {student.shape}; "
            "give both one batch and one set of word-pieces"
        )
    lengths = teacher.label_lengths, student.label_lengths
    if lengths[0].is_cpu and lengths[1].is_cpu and not torch.equal(*lengths):
        raise ValueError(
            f"the teacher's lattice has {lengths[0].tolist()} labels and the student's "
            f"{lengths[1].tolist()}; give both one batch"
        )


def _frames(teacher: Lattice, student: Lattice, shift: int, ratio: int) -> Frames:
    check_one_batch(teacher, student)
    sizes = teacher.shape[1], student.shape[1]
    return Frames.of(sizes, teacher.frame_lengths, student.frame_lengths, shift, ratio)


def _mean(weights: Tensor, each: Tensor) -> Tensor:
    total = weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)
    return (weights * each).sum() / total


def _everywhere(
    teacher: Lattice, student: Lattice, divergence: Divergence, temperature: float, alpha: float
) -> Tensor:
    """At each cell, (B, T, U+1)."""
    if isinstance(teacher, AdditiveLattice) and isinstance(student, AdditiveLattice):
        p, q = teacher.tempered(temperature), student.tempered(temperature)
        if divergence == "kl":
            return relative_entropy(p, q) * temperature**2
        if divergence == "reverse_kl":
            return relative_entropy(q, p) * temperature**2
        if divergence == "alpha":
            return by_affinity(log_affinity(p, q, alpha), alpha) * temperature**2
        if divergence == "l2":
            return squared_distance(teacher, student)
    step = min(chunk_of_frames(teacher), chunk_of_frames(student))

    def some(p: Lattice, q: Lattice) -> Tensor:
        return compare(p.logits(), q.logits(), divergence, temperature, alpha)

    chunks = [
        checkpoint(some, *pair, use_reentrant=False, preserve_rng_state=False)
        for pair in zip(teacher.split(step), student.split(step), strict=True)
    ]
    return torch.cat(chunks, 1)


def _at_some(
    teacher: Lattice,
    student: Lattice,
    chosen: Tensor,
    divergence: Divergence,
    temperature: float,
    alpha: float,
) -> Tensor:
    """At each chosen cell of a mask (B, T, U+1), (N,)."""

    def some(cells: Tensor) -> Tensor:
        logits = teacher.at(*cells.unbind(1)), student.at(*cells.unbind(1))
        return compare(*logits, divergence, temperature, alpha)

    step = lattice_cells.at_once(max(teacher.width, student.width))
    chunks = torch.split(chosen.nonzero(), step)
    if len(chunks) == 1:  # the usual case, which need not be computed again
        return some(chunks[0])
    each = [checkpoint(some, x, use_reentrant=False, preserve_rng_state=False) for x in chunks]
    return torch.cat(each)
