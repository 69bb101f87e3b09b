"""KL between the posteriors of two lattices over the alignments of the labels.

A path's posterior is the product of its arcs' probabilities over the sum Z of all paths, so with
the log-ratios r of the arcs

    KL(P || Q) = sum over arcs of occupancy_P * r - log Z_P + log Z_Q.

Its gradient is occupancy_Q - occupancy_P for Q's arcs. For an arc of P's it is the arc's occupancy
times by how much the expected sum of r over the paths through it lies above that over all paths.

Source: Li and Eisner, "First- and Second-Order Expectation Semirings" (2009), sections 3 and 4.
"""

from typing import Any

import torch
from torch import Tensor

from codert.lattice import Lattice, refuse_second_derivatives
from codert.transducer.recursion import forward_backward


def path_relative_entropy(p: Lattice, q: Lattice, labels: Tensor) -> Tensor:
    """KL(P(path | labels) || Q(path | labels)) in nats, with gradients to both.

    Args:
        p: of (B, T, U+1) cells.
        q: of as many cells.
        labels: (B, U), as for `transducer_loss`.

    Returns:
        Of each utterance, (B,); 0 where either lattice has no alignment, inf where P takes one
        that Q cannot.

    Raises:
        ValueError: lattices of different sizes, or labels that do not fit them.
    """
    if p.shape[:3] != q.shape[:3]:
        raise ValueError(
            f"one lattice has {p.shape[:3]} cells and the other {q.shape[:3]}; they must be equal"
        )
    value: Tensor = _PathRelativeEntropy.apply(  # type: ignore[no-untyped-call]
        *p.scores(labels), *q.scores(labels), p.frame_lengths, p.label_lengths
    )
    return value


class _PathRelativeEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        *scores, frame_lengths, label_lengths = inputs
        # In float64, where the small difference of large sums keeps its digits.
        of_p, of_q = [x.double() for x in scores[:2]], [x.double() for x in scores[2:]]
        log_p, *p = forward_backward(of_p[0], of_p[1], frame_lengths, label_lengths)
        log_q, *q = forward_backward(of_q[0], of_q[1], frame_lengths, label_lengths)
        possible = (log_p != -torch.inf) & (log_q != -torch.inf)  # nan is kept
        ratios = [
            torch.where((occupied > 0) & possible[:, None, None], a - b, 0)
            for occupied, a, b in zip(p, of_p, of_q, strict=True)
        ]
        mean = sum((x * r).sum((1, 2)) for x, r in zip(p, ratios, strict=True))
        ctx.save_for_backward(*p, *q, *ratios, mean, possible)
        return torch.where(possible, mean - log_p + log_q, 0).to(scores[0].dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives()
        *arcs, mean, possible = ctx.saved_tensors
        p, q, ratios = arcs[:2], arcs[2:4], arcs[4:]
        weight = torch.where(possible, gradient, 0)[:, None, None]
        to_p: list[Tensor | None] = [None, None]
        if any(ctx.needs_input_grad[:2]):
            through = _expected_through(p, ratios)
            surplus = zip(p, through, strict=True)
            to_p = [(weight * x * (s - mean[:, None, None])).to(gradient) for x, s in surplus]
        to_q = [(weight * (b - a)).to(gradient) for a, b in zip(p, q, strict=True)]
        return *to_p, *to_q, None, None


def _expected_through(occupancies: list[Tensor], values: list[Tensor]) -> list[Tensor]:
    """The expected sum of the arcs' values over the paths through each arc.

    Both arguments and the result are of blank arcs (B, T, U+1) and label arcs (B, T, U). The sum
    up to a cell is a mean over the arcs that enter it, that from a cell one over those that leave
    it, so nothing but probabilities is added up: a step for each of T + U diagonals.
    """
    blank, label = occupancies
    B, T, U1 = blank.shape
    U = U1 - 1
    shape = B, T + U + 1, U1
    of_blank, of_label, value_blank, value_label = (
        _skewed(x, shape) for x in (blank, label, *values)
    )
    node = of_blank + of_label
    scale = torch.where(node > torch.finfo(node.dtype).tiny, 1 / node, 0)
    by_blank, by_label = of_blank * value_blank, of_label * value_label
    before, after = torch.zeros_like(node), torch.zeros_like(node)
    for n in range(1, T + U):
        last = n - 1
        before[:, n] = by_blank[:, last] + of_blank[:, last] * before[:, last]
        onward = by_label[:, last] + of_label[:, last] * before[:, last]
        before[:, n, 1:] += onward[:, :U]
        before[:, n] *= scale[:, n]
    for n in range(T + U - 1, -1, -1):
        after[:, n] = by_blank[:, n] + of_blank[:, n] * after[:, n + 1]
        after[:, n, :U] += by_label[:, n, :U] + of_label[:, n, :U] * after[:, n + 1, 1:]
        after[:, n] *= scale[:, n]
    next_label = torch.nn.functional.pad(after[:, 1:, 1:], (0, 1))
    through_blank = before[:, :-1] + value_blank[:, :-1] + after[:, 1:]
    through_label = before[:, :-1] + value_label[:, :-1] + next_label
    return [_unskewed(through_blank, blank), _unskewed(through_label, label)]


def _skewed(x: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """(B, T, U) with the cells t + u = n in row n, 0 elsewhere."""
    skewed = x.new_zeros(shape)
    return skewed.scatter(1, _diagonals(x), x)


def _unskewed(x: Tensor, like: Tensor) -> Tensor:
    return x.gather(1, _diagonals(like))


def _diagonals(x: Tensor) -> Tensor:
    _, T, U = x.shape
    t, u = torch.arange(T, device=x.device), torch.arange(U, device=x.device)
    return (t[:, None] + u).expand_as(x)
