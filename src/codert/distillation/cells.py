"""Which cells of a lattice are compared, and how much each of them weighs."""

from typing import Literal, get_args

import torch
from torch import Tensor

from codert.distillation.frames import Frames
from codert.lattice import Lattice, inside
from codert.transducer import best_path, occupancies

Cells = Literal["uniform", "teacher", "student", "best_path", "sampled"]
# Few enough that it is cheaper to make their logits than to go through the whole lattice.
FEW: tuple[Cells, ...] = ("best_path", "sampled")


def check_cells(cells: str, width: int, samples: int) -> None:
    """Raises ValueError where no cells can be chosen so."""
    if cells not in get_args(Cells):
        raise ValueError(f"cells is {cells!r}; write {' or '.join(get_args(Cells))}")
    if width < 0 or (width and cells != "best_path"):
        raise ValueError(f"width is {width}; it is of cells: best_path, and at least 0")
    if samples < 1 or (samples > 1 and cells != "sampled"):
        raise ValueError(f"samples is {samples}; it is of cells: sampled, and at least 1")


@torch.no_grad()
def cell_weights(
    teacher: Lattice,
    student: Lattice,
    labels: Tensor,
    frames: Frames,
    cells: Cells = "teacher",
    width: int = 0,
    samples: int = 1,
) -> Tensor:
    """The weight of each cell in the mean over a batch, (B, N, U+1); 0 in the padding.

    Args:
        teacher: of (B, T, U+1) cells.
        student: of as many label positions.
        labels: (B, U), as for `transducer_loss`.
        frames: N pairs of frames.
        cells: `uniform` weighs all alike; `teacher` and `student` by how likely their alignment
            passes; `best_path` all alike that the teacher's likeliest alignment passes (Kurata
            and Saon, Interspeech 2020); `sampled` by how often it was drawn from torch's
            generator, each draw being as likely as `teacher` weighs the cell.
        width: frames by which the best path is widened to either side.
        samples: how many cells are drawn for each frame.

    Raises:
        ValueError: labels that do not fit the lattices, or no such choice of cells.
    """
    check_cells(cells, width, samples)
    real = _of(student, frames)
    if cells == "uniform":
        return real.float()
    if cells == "best_path":
        return (real & _near_best_path(teacher, labels, width)[:, frames.teacher]).float()
    side, index = (student, frames.student) if cells == "student" else (teacher, frames.teacher)
    weights = torch.where(real, occupancies(side, labels).node[:, index], 0)
    if cells == "sampled":
        return _drawn(weights, samples * int(frames.lengths.sum()))
    return weights


def _of(lattice: Lattice, frames: Frames) -> Tensor:
    """Which pairs of frames and label positions lie inside, (B, N, U+1)."""
    pairs = inside(frames.lengths, len(frames.student))
    positions = inside(lattice.label_lengths + 1, lattice.shape[2])
    return pairs[:, :, None] & positions[:, None]


def _near_best_path(lattice: Lattice, labels: Tensor, width: int) -> Tensor:
    """Cells at most `width` frames from the likeliest alignment's at their position."""
    _, T, U1, _ = lattice.shape
    path = best_path(lattice, labels)
    # It comes to a position where it leaves the one before, and stays at the last to the end.
    first = torch.nn.functional.pad(path, (1, 0))
    last = torch.nn.functional.pad(path, (0, 1))
    behind = ~inside(lattice.label_lengths, U1)
    last = last.masked_fill(behind, T)
    t = torch.arange(T, device=path.device)[:, None]
    return (t >= first[:, None] - width) & (t <= last[:, None] + width)


def _drawn(weights: Tensor, count: int) -> Tensor:
    """How often each cell is drawn in `count` draws with replacement."""
    flat = weights.flatten()
    # By the cumulative sum, for torch.multinomial takes 2^24 cells at most.
    reached = flat.double().cumsum(0)
    if not len(reached) or not reached[-1] > 0:
        return weights  # all of them 0, or nan, which is kept
    draws = torch.rand(count, dtype=torch.float64, device=flat.device) * reached[-1]
    found = torch.searchsorted(reached, draws, right=True)
    return torch.bincount(found, minlength=len(flat)).to(weights).view_as(weights)
