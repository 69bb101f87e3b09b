"""The lattice of an MLP joint, logits[t, u] = W f(a[t] + b[u]) + c, f being tanh or another.

Shapes: B batch, T frames, U labels, V symbols (blank is 0), J width.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Self, get_args

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from codert.lattice import cells
from codert.lattice.cells import BLANK, Cells, Lattice, Scores, refuse_second_derivatives

Activation = Literal["tanh", "relu", "sigmoid"]


class MLPLattice(Lattice):
    """The lattice of an MLP joint, logits[t, u] = W f(a[t] + b[u]) + c.

    The cells are computed in chunks, of which only the needed entries are kept, and computed
    again in the backward pass: memory is bounded by a chunk's logits and inner layers.

    Args:
        encoder: a, (B, T, J).
        decoder: b, (B, U+1, J).
        weight: W, (V, J).
        bias: c, (V,).
        frame_lengths: (B,), each at most T. What lies behind may be anything, nan included.
        label_lengths: (B,), each at most U.
        activation: f, of the inner layer.

    Raises:
        ValueError: shapes or lengths do not fit each other, or there is no such activation.
    """

    def __init__(
        self,
        encoder: Tensor,
        decoder: Tensor,
        weight: Tensor,
        bias: Tensor,
        frame_lengths: Tensor,
        label_lengths: Tensor,
        activation: Activation = "tanh",
    ) -> None:
        cells.check(encoder, decoder, frame_lengths, label_lengths)
        if activation not in ACTIVATIONS:
            known = " or ".join(get_args(Activation))
            raise ValueError(f"activation is {activation!r}; write {known}")
        self.encoder = cells.without_padding(encoder, frame_lengths)
        self.decoder = cells.without_padding(decoder, label_lengths + 1)
        self.frame_lengths = frame_lengths.to(encoder.device)
        self.label_lengths = label_lengths.to(encoder.device)
        self.weight, self.bias = cells.full_precision(weight), cells.full_precision(bias)
        self.activation: Activation = activation

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
        leaves = self.encoder, self.decoder, self.weight, self.bias
        return Scores(
            *_Scores.apply(  # type: ignore[no-untyped-call]
                *leaves, labels, self.real.to(labels.device), self.activation
            )
        )

    def rest(self, labels: Tensor) -> Tensor:
        """See `Lattice.rest`."""
        others = self._others(labels)
        chunks = [
            checkpoint(_rest, chunk, others, use_reentrant=False, preserve_rng_state=False)
            for chunk in self._chunks()
        ]
        return torch.cat(chunks, 1)

    @torch.no_grad()
    def entropy(self) -> Tensor:
        """See `Lattice.entropy`."""
        chunks = []
        for chunk in self._chunks():
            log_p = chunk.logits().log_softmax(-1)
            chunks.append(-(log_p.exp() * cells.finite(log_p)).sum(-1))
        return torch.cat(chunks, 1)

    def logits(self) -> Tensor:
        """See `Lattice.logits`."""
        inner = ACTIVATIONS[self.activation].of(self.encoder[:, :, None] + self.decoder[:, None])
        return _logits(inner, self.weight, self.bias)

    def at(self, b: Tensor, t: Tensor, u: Tensor) -> Tensor:
        """See `Lattice.at`."""
        inner = cells.rows(self.encoder, b, t) + cells.rows(self.decoder, b, u)
        return _logits(ACTIVATIONS[self.activation].of(inner), self.weight, self.bias)

    def frames(self, index: Tensor, lengths: Tensor) -> Self:
        """See `Lattice.frames`."""
        return self._of_frames(self.encoder.index_select(1, index), lengths)

    def split(self, frames: int) -> list[Self]:
        """See `Lattice.split`."""
        parts = cells.split(self.encoder, self.frame_lengths, frames)
        return [self._of_frames(*part) for part in parts]

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

    def _of_frames(self, encoder: Tensor, lengths: Tensor) -> Self:
        others = self.decoder, self.weight, self.bias
        return type(self)(encoder, *others, lengths, self.label_lengths, self.activation)

    def _with(self, encoder: Tensor, decoder: Tensor, weight: Tensor, bias: Tensor) -> Self:
        lengths = self.frame_lengths, self.label_lengths
        return type(self)(encoder, decoder, weight, bias, *lengths, self.activation)

    def _chunks(self) -> list[Self]:
        return self.split(cells.chunk_of_frames(self))


class _Function(NamedTuple):
    """An activation, and the gradient of its input from that of what it gave; both in place.

    The second is given that gradient and what the activation gave, which is lost.
    """

    of: Callable[[Tensor], Tensor]
    back: Callable[[Tensor, Tensor], Tensor]


ACTIVATIONS: Mapping[Activation, _Function] = MappingProxyType(
    {
        "tanh": _Function(torch.tanh_, lambda by, y: by.addcmul_(by, y.mul_(y), value=-1)),
        "relu": _Function(torch.relu_, lambda by, y: by.mul_(y.sign_())),
        "sigmoid": _Function(torch.sigmoid_, lambda by, y: by.mul_(y).addcmul_(by, y, value=-1)),
    }
)


def _rest(lattice: MLPLattice, others: Tensor) -> Tensor:
    logits = lattice.logits()
    of_rest = logits.masked_fill(~others[:, None], cells.NEVER)
    return torch.logsumexp(of_rest, -1) - torch.logsumexp(logits, -1)


class _Scores(torch.autograd.Function):
    """Blank and label scores, a chunk of cells at a time; 0 in the padding."""

    @staticmethod
    def forward(
        ctx: Any,
        encoder: Tensor,
        decoder: Tensor,
        weight: Tensor,
        bias: Tensor,
        labels: Tensor,
        real: Tensor,
        activation: Activation,
    ) -> tuple[Tensor, Tensor]:
        """The lattice's leaves, labels (B, U) and real cells to (B, T, U+1) and (B, T, U)."""
        blank, label = encoder.new_zeros(2, *real.shape)
        following = torch.nn.functional.pad(labels, (0, 1), value=BLANK)
        room = _Room(encoder, weight, real.numel())
        for cell in cells.listed(real, max(weight.shape)):
            inner = room.inner(cell, encoder, decoder, ACTIVATIONS[activation])
            logits = room.logits(inner, weight, bias)
            # In its own place: a row is read whole before it is written.
            log_p = torch.log_softmax(logits, 1, out=logits)
            blank[cell] = log_p[:, BLANK]
            label[cell] = log_p.gather(1, following[cell.b, cell.u, None])[:, 0]
        ctx.save_for_backward(encoder, decoder, weight, bias, following, real)
        ctx.activation = activation
        return blank, label[:, :, :-1]

    @staticmethod
    def backward(ctx: Any, by_blank: Tensor, by_label: Tensor) -> tuple[Tensor | None, ...]:
        """An arc's score has the gradient of its logit, less P(v | t, u) for log Z."""
        refuse_second_derivatives()
        encoder, decoder, weight, bias, following, real = ctx.saved_tensors
        by_label = torch.nn.functional.pad(by_label, (0, 1))
        by_log_z = -(by_blank + by_label)
        # Contiguous, whatever the strides of the leaves: flatten is a view of it, not a copy.
        to = [x.new_zeros(x.shape) for x in (encoder, decoder, weight, bias)]
        frames, positions = to[0].flatten(0, 1), to[1].flatten(0, 1)
        _, T, U1 = by_blank.shape
        activation = ACTIVATIONS[ctx.activation]
        felt = real & cells.felt(by_blank.abs() + by_label.abs())
        room = _Room(encoder, weight, real.numel())
        for cell in cells.listed(felt, max(weight.shape)):
            inner = room.inner(cell, encoder, decoder, activation)
            logits = room.logits(inner, weight, bias)
            by_logit = torch.softmax(logits, 1, out=logits)
            by_logit *= by_log_z[cell].unsqueeze(-1)
            by_logit[:, BLANK] += by_blank[cell]
            index = following[cell.b, cell.u, None]
            by_logit.scatter_add_(1, index, by_label[cell].unsqueeze(-1))
            with cells.exact(encoder.device):
                to[2].addmm_(by_logit.mT, inner)
                by_inner = torch.mm(by_logit, weight, out=room.beside[: len(inner)])
            to[3] += by_logit.sum(0)
            activation.back(by_inner, inner)
            frames.index_add_(0, cell.b * T + cell.t, by_inner)
            positions.index_add_(0, cell.b * U1 + cell.u, by_inner)
        return *to, None, None, None


class _Room:
    """Where the cells of a chunk are computed, one chunk after another.

    Room of its own would be given back after each, and its pages cleared anew for the next, which
    takes as long as the arithmetic.

    Attributes:
        beside: as much as the inner layer takes, (N, J), for what is needed in between.

    Args:
        most: cells that there are.
    """

    def __init__(self, encoder: Tensor, weight: Tensor, most: int) -> None:
        V, J = weight.shape
        count = min(most, cells.at_once(max(V, J)))
        self._inner, self.beside = (encoder.new_empty(count, J) for _ in range(2))
        self._logits = encoder.new_empty(count, V)

    def inner(self, cell: Cells, encoder: Tensor, decoder: Tensor, activation: _Function) -> Tensor:
        """The inner layer of some cells, (N, J)."""
        count = len(cell.b)
        inner = cells.rows(encoder, cell.b, cell.t, self._inner[:count])
        inner += cells.rows(decoder, cell.b, cell.u, self.beside[:count])
        return activation.of(inner)

    def logits(self, inner: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The logits of some cells, (N, V)."""
        with cells.exact(inner.device):
            return torch.addmm(bias, inner, weight.mT, out=self._logits[: len(inner)])


def _logits(inner: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    with cells.exact(inner.device):
        return torch.nn.functional.linear(inner, weight, bias)
