"""The lattice of the additive joint, logits[t, u, v] = e[t, v] + d[u, v].

Shapes: B batch, T frames, U labels, V symbols (blank is 0).
"""

from typing import Any, Self

import torch
from torch import Tensor

from codert.lattice import cells
from codert.lattice.cells import BLANK, Lattice, Scores, refuse_second_derivatives
from codert.lattice.normaliser import LogNormaliser, Shifted


class AdditiveLattice(Lattice):
    """The lattice of the additive joint, logits[t, u, v] = e[t, v] + d[u, v].

    log Z[t, u] = log sum_v exp(e[t, v] + d[u, v]) is one matrix product of exp(e - max e) and
    exp(d - max d); time and memory are those of B*T*(U+1) + B*(T+U)*V values.

    Args:
        encoder_logits: e, (B, T, V).
        decoder_logits: d, (B, U+1, V).
        frame_lengths: (B,), each at most T. What lies behind may be anything, nan included.
        label_lengths: (B,), each at most U.

    Raises:
        ValueError: shapes or lengths do not fit each other.
    """

    def __init__(
        self,
        encoder_logits: Tensor,
        decoder_logits: Tensor,
        frame_lengths: Tensor,
        label_lengths: Tensor,
    ) -> None:
        cells.check(encoder_logits, decoder_logits, frame_lengths, label_lengths)
        self.encoder_logits = cells.without_padding(encoder_logits, frame_lengths)
        self.decoder_logits = cells.without_padding(decoder_logits, label_lengths + 1)
        self.frame_lengths = frame_lengths.to(encoder_logits.device)
        self.label_lengths = label_lengths.to(encoder_logits.device)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, T, U+1, V)."""
        B, T, V = self.encoder_logits.shape
        return B, T, self.decoder_logits.shape[1], V

    def scores(self, labels: Tensor) -> Scores:
        """See `Lattice.scores`."""
        labels = self._checked(labels)
        return Scores(
            *_Scores.apply(self.encoder_logits, self.decoder_logits, labels)  # type: ignore[no-untyped-call]
        )

    def rest(self, labels: Tensor) -> Tensor:
        """See `Lattice.rest`."""
        # Without blank and the next label it is an additive lattice too.
        others = self._others(labels)
        decoder_logits = self.decoder_logits.masked_fill(~others, cells.NEVER)
        blank = torch.tensor([BLANK], device=others.device)
        encoder_logits = self.encoder_logits.index_fill(2, blank, cells.NEVER)
        of_rest = self._with(encoder_logits, decoder_logits)
        return of_rest.log_normaliser() - self.log_normaliser()

    def log_normaliser(self) -> Tensor:
        """log Z of each cell, the log of the sum of its exponentials, (B, T, U+1)."""
        log_z: Tensor = LogNormaliser.apply(  # type: ignore[no-untyped-call]
            self.encoder_logits, self.decoder_logits
        )
        return log_z

    @torch.no_grad()
    def entropy(self) -> Tensor:
        """See `Lattice.entropy`."""
        # H = log Z - E[e + d], all shifted so that large logits do not cancel; each
        # expectation is one more product.
        e, d = self.encoder_logits, self.decoder_logits
        shifted = Shifted.of(e, d)
        e_log, d_log = torch.xlogy(shifted.e, shifted.e), torch.xlogy(shifted.d, shifted.d)
        with cells.exact(e.device):
            products = e_log @ shifted.d.mT + shifted.e @ d_log.mT
        entropy = shifted.sum.log() - products / shifted.sum
        for cell in cells.listed(shifted.unsafe(), e.shape[2]):
            log_p = torch.log_softmax(cell.logits(e, d), -1)
            entropy[cell] = -(log_p.exp() * cells.finite(log_p)).sum(-1)
        return entropy.clamp_min(0)

    def logits(self) -> Tensor:
        """See `Lattice.logits`."""
        return self.encoder_logits[:, :, None] + self.decoder_logits[:, None]

    def at(self, b: Tensor, t: Tensor, u: Tensor) -> Tensor:
        """See `Lattice.at`."""
        return cells.rows(self.encoder_logits, b, t) + cells.rows(self.decoder_logits, b, u)

    def frames(self, index: Tensor, lengths: Tensor) -> Self:
        """See `Lattice.frames`."""
        return self._of_frames(self.encoder_logits.index_select(1, index), lengths)

    def split(self, frames: int) -> list[Self]:
        """See `Lattice.split`."""
        parts = cells.split(self.encoder_logits, self.frame_lengths, frames)
        return [self._of_frames(*part) for part in parts]

    def tempered(self, temperature: float) -> Self:
        """See `Lattice.tempered`."""
        if temperature == 1:
            return self
        return self._with(self.encoder_logits / temperature, self.decoder_logits / temperature)

    def detached(self) -> Self:
        """See `Lattice.detached`."""
        return self._with(self.encoder_logits.detach(), self.decoder_logits.detach())

    def with_encoder_only(self) -> Self:
        """See `Lattice.with_encoder_only`."""
        return self._with(self.encoder_logits, self.decoder_logits.detach())

    def _of_frames(self, encoder_logits: Tensor, lengths: Tensor) -> Self:
        return type(self)(encoder_logits, self.decoder_logits, lengths, self.label_lengths)

    def _with(self, encoder_logits: Tensor, decoder_logits: Tensor) -> Self:
        return type(self)(encoder_logits, decoder_logits, self.frame_lengths, self.label_lengths)


class _Scores(torch.autograd.Function):
    """Blank and label scores by one product; two in the backward pass."""

    @staticmethod
    def forward(ctx: Any, e: Tensor, d: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """e (B, T, V), d (B, U+1, V) and labels (B, U) to (B, T, U+1) and (B, T, U)."""
        shifted = Shifted.of(e, d)
        log_z = shifted.log_normaliser(e, d)
        T, U = e.shape[1], labels.shape[1]
        blank = e[:, :, BLANK, None] + d[:, None, :, BLANK] - log_z
        e_label = e.gather(2, labels[:, None].expand(-1, T, -1))
        d_label = d[:, :U].gather(2, labels[..., None])
        ctx.save_for_backward(e, d, labels, *shifted)
        return blank, e_label + d_label.mT - log_z[:, :, :U]

    @staticmethod
    def backward(ctx: Any, by_blank: Tensor, by_label: Tensor) -> tuple[Tensor, Tensor, None]:
        """An arc's score has the gradient of its logit, less P(v | t, u) for log Z."""
        refuse_second_derivatives()
        e, d, labels, *saved = ctx.saved_tensors
        shifted = Shifted(*saved)
        T, U = by_label.shape[1:]
        by_log_z = -by_blank
        by_log_z[:, :, :U] -= by_label
        to_e, to_d = shifted.gradient(e, d, by_log_z)
        to_e[:, :, BLANK] += by_blank.sum(2)
        to_d[:, :, BLANK] += by_blank.sum(1)
        to_e.scatter_add_(2, labels[:, None].expand(-1, T, -1), by_label)
        to_d[:, :U].scatter_add_(2, labels[..., None], by_label.sum(1).unsqueeze(-1))
        return to_e, to_d, None


def refuse_other_shape(p: AdditiveLattice, q: AdditiveLattice) -> None:
    """Raise a ValueError where two lattices differ in shape."""
    if p.shape != q.shape:
        raise ValueError(f"one lattice is {p.shape} and the other {q.shape}; they must be equal")
