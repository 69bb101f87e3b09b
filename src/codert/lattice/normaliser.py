"""The normaliser of an additive lattice: log Z[t, u] = log sum_v exp(e[t, v] + d[u, v]).

It is one matrix product of exp(e - max e) and exp(d - max d). Cells that underflow in it are
found by a bound and computed again from their logits.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from codert.lattice import cells
from codert.lattice.cells import Cells


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
        e_exp, d_exp = (e - e_max).exp_(), (d - d_max).exp_()
        with cells.exact(e.device):
            return cls(e_exp, d_exp, e_exp @ d_exp.mT, e_max + d_max.mT)

    def log_sum(self) -> Tensor:
        """log Z of the safe cells, (B, T, U+1)."""
        return self.sum.log() + self.maximum

    def log_normaliser(self, e: Tensor, d: Tensor) -> Tensor:
        """log Z of all cells, (B, T, U+1); the logits are read where the sum underflows."""
        log_z = self.log_sum()
        for cell in cells.listed(self.unsafe(), e.shape[2]):
            log_z[cell] = torch.logsumexp(additive_logits(cell, e, d), -1)
        return log_z

    def unsafe(self) -> Tensor:
        """Cells whose sum may have lost digits, (B, T, U+1).

        A term loses at most the smallest normal number, so V of them are harmless to the last
        digit of a sum of at least V * tiny / eps (V * 2^-102 in float32).
        """
        limits = torch.finfo(self.sum.dtype)
        return self.sum < 2 * self.e.shape[2] * limits.tiny / limits.eps


def additive_logits(cell: Cells, e: Tensor, d: Tensor) -> Tensor:
    """The logits of some cells, (N, V)."""
    return e[cell.b, cell.t] + d[cell.b, cell.u]
