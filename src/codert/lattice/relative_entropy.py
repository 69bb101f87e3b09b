"""KL(P || Q) at every cell of two additive lattices, in the memory of one.

With P's shifted factors p[t, v] p[u, v] / S_P[t, u] and the differences a = e_P - e_Q and
c = d_P - d_Q of the shifted logits,

    KL[t, u] = E_P[a + c] - log S_P + log S_Q,

and the expectation is two matrix products. Large terms cancel in it, so the gradients are
computed from their closed forms, P (a + c - E_P[a + c]) for P's logits and Q - P for Q's.
"""

from typing import Any

import torch
from torch import Tensor

from codert.lattice.additive import AdditiveLattice, refuse_other_shape
from codert.lattice.cells import Cells, exact, felt, listed, refuse_second_derivatives
from codert.lattice.normaliser import Shifted


def relative_entropy(p: AdditiveLattice, q: AdditiveLattice) -> Tensor:
    """KL(P || Q) in nats at each cell, (B, T, U+1), with gradients to both.

    Args:
        p: of (B, T, U+1, V).
        q: of the same shape.

    Raises:
        ValueError: lattices of different shapes.
    """
    refuse_other_shape(p, q)
    value: Tensor = _RelativeEntropy.apply(  # type: ignore[no-untyped-call]
        p.encoder_logits, p.decoder_logits, q.encoder_logits, q.decoder_logits
    )
    return value


class _RelativeEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, e_p: Tensor, d_p: Tensor, e_q: Tensor, d_q: Tensor) -> Tensor:
        p, q = Shifted.of(e_p, d_p), Shifted.of(e_q, d_q)
        with exact(e_p.device):
            mean = _difference(e_p, e_q, p.e).mul_(p.e) @ p.d.mT
            mean += p.e @ _difference(d_p, d_q, p.d).mul_(p.d).mT
        mean /= p.sum
        value = mean - p.sum.log() + q.sum.log()
        # A symbol that P excludes by one factor and Q by the other is 0 times inf.
        unsafe = p.unsafe() | q.unsafe() | ~mean.isfinite()
        for cell in listed(unsafe, e_p.shape[2]):
            log_p = cell.logits(e_p, d_p).log_softmax(-1)
            log_q = cell.logits(e_q, d_q).log_softmax(-1)
            value[cell] = (log_p.exp() * _ratio(log_p, log_q)).sum(-1)
        ctx.save_for_backward(e_p, d_p, e_q, d_q, mean, unsafe, *p, *q)
        return value.clamp_min_(0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives()
        e_p, d_p, e_q, d_q, mean, unsafe, *saved = ctx.saved_tensors
        p, q = Shifted(*saved[:5]), Shifted(*saved[5:])
        to_p, to_q = any(ctx.needs_input_grad[:2]), any(ctx.needs_input_grad[2:])
        if not to_p:  # Q's is at most the cell's weight; see `Shifted.gradient`
            gradient = gradient * felt(gradient.abs())
        by_p = (gradient / p.sum).masked_fill_(unsafe, 0)
        of_p: tuple[Tensor, ...] = ()
        of_q: tuple[Tensor, ...] = ()
        with exact(e_p.device):
            e_mass, d_mass = (by_p @ p.d).mul_(p.e), (by_p.mT @ p.e).mul_(p.d)
            if to_q:
                by_q = (gradient / q.sum).masked_fill_(unsafe, 0)
                of_q = (
                    (by_q @ q.d).mul_(q.e).sub_(e_mass),
                    (by_q.mT @ q.e).mul_(q.d).sub_(d_mass),
                )
            if to_p:
                # Where one is inf, so is the mean: no cell that is not unsafe reads it.
                a = _difference(e_p, e_q, p.e).nan_to_num_(posinf=0)
                c = _difference(d_p, d_q, p.d).nan_to_num_(posinf=0)
                by_mean = by_p * mean.masked_fill(unsafe, 0)
                surplus = by_p @ (p.d * c)
                of_e = surplus.sub_(by_mean @ p.d).mul_(p.e).addcmul_(a, e_mass)
                surplus = by_p.mT @ a.mul_(p.e)
                of_d = surplus.sub_(by_mean.mT @ p.e).mul_(p.d).addcmul_(c, d_mass)
                of_p = of_e, of_d
        # In padding, where nothing is masked, a mask of Q's factor makes KL inf.
        for cell in listed(unsafe & (gradient != 0), e_p.shape[2]):
            log_p = cell.logits(e_p, d_p).log_softmax(-1)
            log_q = cell.logits(e_q, d_q).log_softmax(-1)
            weight = gradient[cell].unsqueeze(-1)
            if to_q:
                _scatter(of_q, cell, weight * (log_q.exp() - log_p.exp()))
            if to_p:
                ratio = _ratio(log_p, log_q)
                surplus = ratio - (log_p.exp() * ratio).sum(-1, keepdim=True)
                _scatter(of_p, cell, weight * log_p.exp() * surplus)
        return *(of_p or (None, None)), *(of_q or (None, None))


def _difference(of_p: Tensor, of_q: Tensor, mass: Tensor) -> Tensor:
    """P's minus Q's logits, each below its maximum; 0 where P has no mass."""
    difference = of_p - of_p.amax(-1, keepdim=True)
    difference -= of_q - of_q.amax(-1, keepdim=True)
    return difference.masked_fill_(mass == 0, 0)


def _ratio(log_p: Tensor, log_q: Tensor) -> Tensor:
    """log P/Q; 0 where P is 0, whatever Q is."""
    return torch.where(log_p == -torch.inf, 0, log_p - log_q)


def _scatter(to: tuple[Tensor, ...], cell: Cells, gradient: Tensor) -> None:
    to[0].index_put_((cell.b, cell.t), gradient, accumulate=True)
    to[1].index_put_((cell.b, cell.u), gradient, accumulate=True)
