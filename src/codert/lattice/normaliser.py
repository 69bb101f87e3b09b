"""The normaliser of an additive lattice: log Z[t, u] = log sum_v exp(e[t, v] + d[u, v]).

It is one matrix product of exp(e - max e) and exp(d - max d). Cells that underflow in it are
found by a bound and computed again from their logits, forward and backward.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from codert.lattice import cells
from codert.lattice.cells import refuse_second_derivatives


class Shifted(NamedTuple):
    """exp(e - max e), exp(d - max d), the sums of their products, and the maxima's sum."""

    e: Tensor  # (B, T, V)
    d: Tensor  # (B, U+1, V)
    sum: Tensor  # (B, T, U+1)
    maximum: Tensor  # (B, T, U+1)

    @classmethod
    def of(cls, e: Tensor, d: Tensor) -> "Shifted":
        """Of encoder logits (B, T, V) and decoder logits (B, U+1, V)."""
        e_max, d_max = e.amax(-1, keepdim=True), d.amax(-1, keepdim=True)
        e_exp, d_exp = (e - e_max).exp(), (d - d_max).exp()
        with cells.exact(e.device):
            return cls(e_exp, d_exp, e_exp @ d_exp.mT, e_max + d_max.mT)

    def log_sum(self) -> Tensor:
        """log Z of the safe cells, (B, T, U+1)."""
        return self.sum.log() + self.maximum

    def unsafe(self) -> Tensor:
        """Cells whose sum may have lost digits, (B, T, U+1).

        A term loses at most the smallest normal number, so V of them are harmless to the last
        digit of a sum of at least V * tiny / eps (V * 2^-102 in float32).
        """
        limits = torch.finfo(self.sum.dtype)
        return self.sum < 2 * self.e.shape[2] * limits.tiny / limits.eps


class Cells(NamedTuple):
    """Some cells of a batch of lattices, by index."""

    b: Tensor
    t: Tensor
    u: Tensor

    def logits(self, e: Tensor, d: Tensor) -> Tensor:
        """Their logits, (N, V)."""
        return e[self.b, self.t] + d[self.b, self.u]


def listed(unsafe: Tensor, symbols: int) -> list[Cells]:
    """The cells of a mask (B, T, U+1), in chunks whose logits may be made."""
    chunks = torch.split(unsafe.nonzero(), max(1, cells.CHUNK // max(1, symbols)))
    return [Cells(*chunk.unbind(1)) for chunk in chunks if len(chunk)]


class LogNormaliser(torch.autograd.Function):
    """log Z[t, u] of an additive lattice, (B, T, U+1), by one product; two in the backward pass."""

    @staticmethod
    def forward(ctx: Any, e: Tensor, d: Tensor) -> Tensor:
        """e (B, T, V) and d (B, U+1, V) to log Z."""
        shifted = Shifted.of(e, d)
        log_z = shifted.log_sum()
        for cell in listed(shifted.unsafe(), e.shape[2]):
            log_z[cell.b, cell.t, cell.u] = torch.logsumexp(cell.logits(e, d), -1)
        ctx.save_for_backward(e, d, log_z, *shifted)
        return log_z

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient is P(v | t, u), summed over u for e and over t for d."""
        refuse_second_derivatives()
        e, d, log_z, *saved = ctx.saved_tensors
        shifted = Shifted(*saved)
        weight = (gradient / shifted.sum).masked_fill_(shifted.unsafe(), 0)
        with cells.exact(e.device):
            e_gradient = shifted.e * (weight @ shifted.d)
            d_gradient = shifted.d * (weight.mT @ shifted.e)
        for cell in listed(shifted.unsafe(), e.shape[2]):
            p = (cell.logits(e, d) - log_z[cell].unsqueeze(-1)).exp()
            p *= gradient[cell].unsqueeze(-1)
            e_gradient.index_put_((cell.b, cell.t), p, accumulate=True)
            d_gradient.index_put_((cell.b, cell.u), p, accumulate=True)
        return e_gradient, d_gradient
