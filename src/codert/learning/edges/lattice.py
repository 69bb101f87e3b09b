"""Edges that match the lattice: its cells, three classes of their symbols, or its paths."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from codert.distillation import (
    Cells,
    OfPaths,
    OfProbabilities,
    check_cells,
    collapsed_loss,
    lattice_loss,
    path_posterior_loss,
)
from codert.lattice import Lattice
from codert.learning.edges.edge import BaseEdge, DivergenceEdge, Rates, ratio
from codert.models.recogniser import Outputs


@dataclass(frozen=True)
class CellEdge(DivergenceEdge):
    """An edge that compares cell by cell.

    Attributes:
        cells: which cells weigh how much; see `cell_weights`.
        width: of `best_path`, frames to either side of it.
        samples: of `sampled`, cells drawn for each frame.
        shift: the student's frame t learns from the teacher's t + shift, in the teacher's frames.
    """

    rates: ClassVar[Rates] = "multiple"

    cells: Cells = "teacher"
    width: int = 0
    samples: int = 1
    shift: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError where no such edge can be."""
        super().__post_init__()
        check_cells(self.cells, self.width, self.samples)

    def _choices(self, ratio: int) -> dict[str, Any]:
        """What the losses of cells have in common."""
        keys = ("temperature", "cells", "alpha", "width", "samples", "shift")
        return {key: getattr(self, key) for key in keys} | {"ratio": ratio}


@dataclass(frozen=True)
class LatticeEdge(CellEdge):
    """All symbols, per cell."""

    match: Literal["lattice"] = "lattice"

    def loss(
        self, teacher: Outputs, student: Outputs, labels: Tensor, label_lengths: Tensor
    ) -> Tensor:
        """See `lattice_loss`."""
        lattices = _lattices(self, teacher, student)
        return lattice_loss(
            *lattices, labels, self.divergence, **self._choices(ratio(teacher, student))
        )


@dataclass(frozen=True)
class CollapsedEdge(CellEdge):
    """Blank, the next label and everything else, per cell."""

    divergence: OfProbabilities = "kl"
    match: Literal["collapsed"] = "collapsed"

    def loss(
        self, teacher: Outputs, student: Outputs, labels: Tensor, label_lengths: Tensor
    ) -> Tensor:
        """See `collapsed_loss`."""
        lattices = _lattices(self, teacher, student)
        return collapsed_loss(
            *lattices, labels, self.divergence, **self._choices(ratio(teacher, student))
        )


@dataclass(frozen=True)
class PathPosteriorEdge(BaseEdge):
    """The posterior over alignments, per arc.

    Attributes:
        divergence: how the two are compared.
        shift: the student's frame t is the teacher's t + shift.
    """

    divergence: OfPaths = "kl"
    shift: int = 0
    match: Literal["path_posterior"] = "path_posterior"

    def loss(
        self, teacher: Outputs, student: Outputs, labels: Tensor, label_lengths: Tensor
    ) -> Tensor:
        """See `path_posterior_loss`."""
        return path_posterior_loss(
            *_lattices(self, teacher, student),
            labels,
            self.divergence,
            self.temperature,
            self.shift,
        )


def _lattices(edge: BaseEdge, teacher: Outputs, student: Outputs) -> tuple[Lattice, Lattice]:
    """The teacher's and the student's, which the gradient reaches as the edge says."""
    if edge.gradient == "both":
        return teacher.lattice, student.lattice
    if student.shares_decoder_with(teacher):
        # A shared decoder is the teacher's as well: through it the student would pull the
        # teacher towards itself.
        return teacher.lattice.detached(), student.lattice.with_encoder_only()
    return teacher.lattice.detached(), student.lattice
