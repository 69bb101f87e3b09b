"""The normaliser of an additive lattice: log Z[t, u] = log sum_v exp(e[t, v] + d[u, v]).

It is one matrix product of exp(e - max e) and exp(d - max d). Cells that underflow in it are
found by a bound and computed again from their logits.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from codert.lattice import cells
from codert.lattice.cells import felt, listed, refuse_second_derivatives


class Shifted(NamedTuple):
    """exp(e - max e), exp(d - max d), the sums of their products, and the maxima."""

    e: Tensor  # (B, T, V)
    d: Tensor  # (B, U+1, V)
    sum: Tensor  # (B, T, U+1)
    e_max: Tensor  # (B, T, 1)
    d_max: Tensor  # (B, U+1, 1)

    @classmethod
    def of(cls, e: Tensor, d: Tensor) -> "Shifted":
        """Of encoder logits (B, T, V) and decoder logits (B, U+1, V)."""
        e_max, d_max = e.amax(-1, keepdim=True), d.amax(-1, keepdim=True)
        e_exp, d_exp = (e - e_max).exp_(), (d - d_max).exp_()
        with cells.exact(e.device):
            return cls(e_exp, d_exp, e_exp @ d_exp.mT, e_max, d_max)

    def log_normaliser(self, e: Tensor, d: Tensor) -> Tensor:
        """log Z of all cells, (B, T, U+1); the logits are read where the sum underflows."""
        log_z = self.sum.log() + (self.e_max + self.d_max.mT)
        for cell in listed(self.unsafe(), e.shape[2]):
            log_z[cell] = torch.logsumexp(cell.logits(e, d), -1)
        return log_z

    def gradient(self, e: Tensor, d: Tensor, by_log_z: Tensor) -> tuple[Tensor, Tensor]:
        """That of e and d from that of log Z: P(v | t, u), summed over u and over t."""
        # Occupancies fall off below the smallest normal number, and what is below it slows a
        # product on some processors down by a hundred times.
        seen = felt(by_log_z.abs())
        unsafe = self.unsafe() & seen
        weight = (by_log_z / self.sum).masked_fill_(unsafe | ~seen, 0)
        with cells.exact(e.device):
            to_e, to_d = weight @ self.d, weight.mT @ self.e
        to_e *= self.e
        to_d *= self.d
        for cell in listed(unsafe, e.shape[2]):
            logits = cell.logits(e, d)
            p = (logits - logits.logsumexp(-1, keepdim=True)).exp_()
            p *= by_log_z[cell].unsqueeze(-1)
            to_e.index_put_((cell.b, cell.t), p, accumulate=True)
            to_d.index_put_((cell.b, cell.u), p, accumulate=True)
        return to_e, to_d

    def unsafe(self) -> Tensor:
        """Cells whose sum may have lost digits, (B, T, U+1).

        A term loses at most the smallest normal number, so V of them are harmless to the last
        digit of a sum of at least V * tiny / eps (V * 2^-102 in float32).
        """
        limits = torch.finfo(self.sum.dtype)
        return self.sum < 2 * self.e.shape[2] * limits.tiny / limits.eps


class LogNormaliser(torch.autograd.Function):
    """log Z[t, u] of an additive lattice, (B, T, U+1), by one product; two in the backward pass."""

    @staticmethod
    def forward(ctx: Any, e: Tensor, d: Tensor) -> Tensor:
        """e (B, T, V) and d (B, U+1, V) to log Z."""
        shifted = Shifted.of(e, d)
        ctx.save_for_backward(e, d, *shifted)
        return shifted.log_normaliser(e, d)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """See `Shifted.gradient`."""
        refuse_second_derivatives()
        e, d, *saved = ctx.saved_tensors
        return Shifted(*saved).gradient(e, d, gradient)
