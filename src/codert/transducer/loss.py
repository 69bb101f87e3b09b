"""The transducer loss and the occupancies of a lattice.

Source: Graves, "Sequence Transduction with Recurrent Neural Networks" (2012), section 2;
FastEmit: Yu et al. (2021), arXiv 2010.11148, equation 9.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from codert.lattice import Lattice, refuse_second_derivatives
from codert.transducer.recursion import forward_backward


class Occupancies(NamedTuple):
    """How likely the alignment passes, given the labels.

    Attributes:
        blank: through the blank arc that leaves cell (t, u), (B, T, U+1).
        label: through the label arc that leaves cell (t, u), (B, T, U).
    """

    blank: Tensor
    label: Tensor

    @property
    def node(self) -> Tensor:
        """Through the cell itself, (B, T, U+1)."""
        return self.blank + torch.nn.functional.pad(self.label, (0, 1))


def transducer_loss(lattice: Lattice, labels: Tensor, fastemit: float = 0.0) -> Tensor:
    """-log P(labels | audio), summed over all alignments.

    Args:
        lattice: of (B, T, U+1) cells.
        labels: (B, U), each 1 to V - 1; what lies behind an utterance's length is not read.
        fastemit: FastEmit's weight (arXiv 2010.11148); scales the gradient of label arcs by
            1 + fastemit and leaves the value as it is. Below 0, which is beyond the paper, labels
            come later.

    Returns:
        Nats per utterance, (B,); inf, with a gradient of 0, where no alignment is possible.

    Raises:
        ValueError: labels that do not fit the lattice.
    """
    scores = lattice.scores(labels)
    loss: Tensor = _FullSum.apply(  # type: ignore[no-untyped-call]
        scores.blank, scores.label, lattice.frame_lengths, lattice.label_lengths, fastemit
    )
    return loss


@torch.no_grad()
def occupancies(lattice: Lattice, labels: Tensor) -> Occupancies:
    """The occupancies of a lattice's arcs; 0 where no alignment is possible.

    Args:
        lattice: of (B, T, U+1) cells.
        labels: (B, U), as for `transducer_loss`.

    Raises:
        ValueError: labels do not fit the lattice.
    """
    blank, label = lattice.scores(labels)
    _, *occupied = forward_backward(blank, label, lattice.frame_lengths, lattice.label_lengths)
    return Occupancies(*occupied)


class _FullSum(torch.autograd.Function):
    """The loss from the scores of its arcs; the occupancies are its gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        blank: Tensor,
        label: Tensor,
        frame_lengths: Tensor,
        label_lengths: Tensor,
        fastemit: float,
    ) -> Tensor:
        log_likelihood, blank_occupancy, label_occupancy = forward_backward(
            blank, label, frame_lengths, label_lengths
        )
        ctx.save_for_backward(blank_occupancy, label_occupancy)
        ctx.fastemit = fastemit
        return -log_likelihood

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives()
        blank, label = ctx.saved_tensors
        gradient = -gradient[:, None, None]
        return gradient * blank, gradient * label * (1 + ctx.fastemit), None, None, None
