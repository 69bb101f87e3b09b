"""The forward-backward recursion compiled for the CPU by numba."""

from math import exp, inf, log

import numba
import numpy as np
import torch
from torch import Tensor


def forward_backward(
    blank: Tensor, label: Tensor, frame_lengths: Tensor, label_lengths: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """See `codert.transducer.recursion.forward_backward`."""
    B = blank.shape[0]
    blank, label = blank.detach().contiguous(), label.detach().contiguous()
    log_likelihood = blank.new_empty(B)
    by_blank, by_label = torch.zeros_like(blank), torch.zeros_like(label)
    _fill(
        blank.numpy(),
        label.numpy(),
        frame_lengths.numpy(),
        label_lengths.numpy(),
        log_likelihood.numpy(),
        by_blank.numpy(),
        by_label.numpy(),
    )
    return log_likelihood, by_blank, by_label


@numba.njit(inline="always")
def _logaddexp(a, b):  # type: ignore[no-untyped-def]
    if a < b:
        a, b = b, a
    return a if b == -inf else a + log(1.0 + exp(b - a))


@numba.njit(nogil=True, cache=True)
def _fill(  # type: ignore[no-untyped-def]
    blank, label, frame_lengths, label_lengths, log_likelihood, by_blank, by_label
):
    """Fills the last three arrays; sums are in float64 whatever the arrays are."""
    for b in range(blank.shape[0]):
        T, U = frame_lengths[b], label_lengths[b]
        if T == 0:
            log_likelihood[b] = -inf
            continue
        alpha = np.empty((T, U + 1))
        beta = np.empty((T, U + 1))
        # By diagonals, whose cells do not wait for each other.
        for n in range(T + U):
            for u in range(max(0, n - T + 1), min(U, n) + 1):
                t = n - u
                total = 0.0 if t == 0 and u == 0 else -inf
                if t > 0:
                    total = alpha[t - 1, u] + blank[b, t - 1, u]
                if u > 0:
                    total = _logaddexp(total, alpha[t, u - 1] + label[b, t, u - 1])
                alpha[t, u] = total
        total = alpha[T - 1, U] + blank[b, T - 1, U]
        log_likelihood[b] = total
        if total == -inf:
            continue
        for n in range(T + U - 1, -1, -1):
            for u in range(max(0, n - T + 1), min(U, n) + 1):
                t = n - u
                # What follows the blank arc: the next frame, or the end.
                by = -inf
                if t + 1 < T:
                    by = beta[t + 1, u]
                elif u == U:
                    by = 0.0
                by += blank[b, t, u]
                arc = label[b, t, u] + beta[t, u + 1] if u < U else -inf
                # One exponential is the ratio of the two arcs, another the likelier of them.
                more, less = (by, arc) if by >= arc else (arc, by)
                ratio = 0.0 if less == -inf else exp(less - more)
                likely = exp(alpha[t, u] - total + more)
                beta[t, u] = more + log(1.0 + ratio)
                by_blank[b, t, u] = likely if by >= arc else likely * ratio
                if u < U:
                    by_label[b, t, u] = likely * ratio if by >= arc else likely
