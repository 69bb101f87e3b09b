"""The squared distance of two additive lattices' logits at every cell, in the memory of one.

With the centred differences a = e_P - e_Q and c = d_P - d_Q of the logits,

    sum_v (a + c)^2 = sum_v a^2 + sum_v c^2 + 2 a . c,

and the last of them is one matrix product; its gradients are two.
"""

from typing import Any

import torch
from torch import Tensor

from codert.lattice.additive import AdditiveLattice, refuse_other_shape
from codert.lattice.cells import exact, refuse_second_derivatives


def squared_distance(p: AdditiveLattice, q: AdditiveLattice) -> Tensor:
    """The mean square of the centred logits' difference at each cell, (B, T, U+1), with gradients.

    Args:
        p: of (B, T, U+1, V).
        q: of the same shape.

    Raises:
        ValueError: lattices of different shapes.
    """
    refuse_other_shape(p, q)
    e = _centred(p.encoder_logits - q.encoder_logits)
    d = _centred(p.decoder_logits - q.decoder_logits)
    value: Tensor = _SumOfSquares.apply(e, d)  # type: ignore[no-untyped-call]
    return value / p.shape[3]


def _centred(x: Tensor) -> Tensor:
    return x - x.mean(-1, keepdim=True)


class _SumOfSquares(torch.autograd.Function):
    """sum_v (a[t, v] + c[u, v])^2."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, c: Tensor) -> Tensor:
        """a (B, T, V) and c (B, U+1, V) to (B, T, U+1)."""
        ctx.save_for_backward(a, c)
        with exact(a.device):
            value = (a @ c.mT).mul_(2)
        value += a.square().sum(-1, keepdim=True)
        value += c.square().sum(-1)[:, None]
        return value.clamp_min_(0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        refuse_second_derivatives()
        a, c = ctx.saved_tensors
        twice = 2 * gradient
        with exact(a.device):
            to_a, to_c = twice @ c, twice.mT @ a
        return to_a.addcmul_(a, twice.sum(2, keepdim=True)), to_c.addcmul_(
            c, twice.sum(1).unsqueeze(-1)
        )
