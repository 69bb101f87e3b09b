"""The lattice of an MLP joint, logits[t, u] = W tanh(a[t] + b[u]) + c.

Shapes: B batch, T frames, U labels, V symbols (blank is 0), J width.
"""

from typing import Self

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from codert.lattice import cells
from codert.lattice.cells import BLANK, Lattice, Scores


class MLPLattice(Lattice):
    """The lattice of an MLP joint, logits[t, u] = W tanh(a[t] + b[u]) + c.

    The cells are computed in chunks of frames, of which only the needed entries are kept, and
    computed again in the backward pass: memory is bounded by one chunk.

    Args:
        encoder: a, (B, T, J).
        decoder: b, (B, U+1, J).
        weight: W, (V, J).
        bias: c, (V,).
        frame_lengths: (B,), each at most T. What lies behind may be anything, nan included.
        label_lengths: (B,), each at most U.

    Raises:
        ValueError: shapes or lengths do not fit each other.
    """

    def __init__(
        self,
        encoder: Tensor,
        decoder: Tensor,
        weight: Tensor,
        bias: Tensor,
        frame_lengths: Tensor,
        label_lengths: Tensor,
    ) -> None:
        cells.check(encoder, decoder, frame_lengths, label_lengths)
        self.frame_lengths, self.label_lengths = frame_lengths, label_lengths
        self.encoder = cells.without_padding(encoder, frame_lengths)
        self.decoder = cells.without_padding(decoder, label_lengths + 1)
        self.weight, self.bias = cells.full_precision(weight), cells.full_precision(bias)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, T, U+1, V)."""
        B, T, _ = self.encoder.shape
        return B, T, self.decoder.shape[1], self.weight.shape[0]

    @property
    def width(self) -> int:
        """See `Lattice.width`."""
        return max(self.weight.shape)

    def scores(self, labels: Tensor) -> Scores:
        """See `Lattice.scores`."""
        labels = self._checked(labels)
        chunks = [
            checkpoint(
                _mlp_scores,
                frames,
                self.decoder,
                self.weight,
                self.bias,
                labels,
                use_reentrant=False,
                preserve_rng_state=False,
            )
            for frames in self._chunks()
        ]
        return Scores(*(torch.cat(part, 1) for part in zip(*chunks, strict=True)))

    def rest(self, labels: Tensor) -> Tensor:
        """See `Lattice.rest`."""
        others = self._others(labels)
        chunks = [
            checkpoint(
                _mlp_rest,
                frames,
                self.decoder,
                self.weight,
                self.bias,
                others,
                use_reentrant=False,
                preserve_rng_state=False,
            )
            for frames in self._chunks()
        ]
        return torch.cat(chunks, 1)

    @torch.no_grad()
    def entropy(self) -> Tensor:
        """See `Lattice.entropy`."""
        chunks = []
        for frames in self._chunks():
            log_p = torch.log_softmax(
                _mlp_logits(frames, self.decoder, self.weight, self.bias), dim=-1
            )
            chunks.append(-(log_p.exp() * cells.finite(log_p)).sum(-1))
        return torch.cat(chunks, 1)

    def logits(self, frames: slice) -> Tensor:
        """See `Lattice.logits`."""
        return _mlp_logits(self.encoder[:, frames], self.decoder, self.weight, self.bias)

    def at(self, b: Tensor, t: Tensor, u: Tensor) -> Tensor:
        """See `Lattice.at`."""
        inner = torch.tanh(cells.rows(self.encoder, b, t) + cells.rows(self.decoder, b, u))
        with cells.exact(inner.device):
            return torch.nn.functional.linear(inner, self.weight, self.bias)

    def frames(self, index: Tensor, lengths: Tensor) -> Self:
        """See `Lattice.frames`."""
        others = self.decoder, self.weight, self.bias
        encoder = self.encoder.index_select(1, index)
        return type(self)(encoder, *others, lengths, self.label_lengths)

    def tempered(self, temperature: float) -> Self:
        """See `Lattice.tempered`."""
        weight, bias = self.weight / temperature, self.bias / temperature
        return self._with(self.encoder, self.decoder, weight, bias)

    def detached(self) -> Self:
        """See `Lattice.detached`."""
        lattice = self.with_encoder_only()
        lattice.encoder = self.encoder.detach()
        return lattice

    def with_encoder_only(self) -> Self:
        """See `Lattice.with_encoder_only`."""
        fixed = self.decoder.detach(), self.weight.detach(), self.bias.detach()
        return self._with(self.encoder, *fixed)

    def _with(self, encoder: Tensor, decoder: Tensor, weight: Tensor, bias: Tensor) -> Self:
        lengths = self.frame_lengths, self.label_lengths
        return type(self)(encoder, decoder, weight, bias, *lengths)

    def _chunks(self) -> tuple[Tensor, ...]:
        return torch.split(self.encoder, cells.chunk_of_frames(self), dim=1)


def _mlp_logits(frames: Tensor, decoder: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    with cells.exact(frames.device):
        inner = torch.tanh(frames[:, :, None] + decoder[:, None])
        return torch.nn.functional.linear(inner, weight, bias)


def _mlp_scores(
    frames: Tensor, decoder: Tensor, weight: Tensor, bias: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    U = labels.shape[1]
    logits = _mlp_logits(frames, decoder, weight, bias)
    log_z = torch.logsumexp(logits, -1)
    index = labels[:, None, :, None].expand(-1, frames.shape[1], -1, 1)
    label = logits[:, :, :U].gather(3, index)[..., 0]
    return logits[..., BLANK] - log_z, label - log_z[:, :, :U]


def _mlp_rest(
    frames: Tensor, decoder: Tensor, weight: Tensor, bias: Tensor, others: Tensor
) -> Tensor:
    logits = _mlp_logits(frames, decoder, weight, bias)
    of_rest = logits.masked_fill(~others[:, None], cells.NEVER)
    return torch.logsumexp(of_rest, -1) - torch.logsumexp(logits, -1)
