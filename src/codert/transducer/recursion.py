"""The forward-backward recursion over a lattice's arcs.

`reference` is plain torch and runs anywhere; a compiled form of the same is taken where there
is one for the device.
"""

import importlib.util

import torch
from torch import Tensor

_COMPILED = importlib.util.find_spec("numba") is not None


def forward_backward(
    blank: Tensor, label: Tensor, frame_lengths: Tensor, label_lengths: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The log-likelihood of each utterance and the occupancies of its arcs.

    Args:
        blank: log P(blank | t, u), (B, T, U+1).
        label: log P(y[u+1] | t, u), (B, T, U).
        frame_lengths: (B,).
        label_lengths: (B,).

    Returns:
        Log-likelihoods (B,), -inf where no alignment is possible; blank occupancies
        (B, T, U+1); label occupancies (B, T, U), both 0 there and in the padding.
    """
    if _COMPILED and blank.is_cpu:
        from codert.transducer import recursion_numba

        return recursion_numba.forward_backward(blank, label, frame_lengths, label_lengths)
    return reference(blank, label, frame_lengths, label_lengths)


@torch.no_grad()
def reference(
    blank: Tensor, label: Tensor, frame_lengths: Tensor, label_lengths: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """`forward_backward` in plain torch, in float64, a step for each of T + U diagonals."""
    B, T, U1 = blank.shape
    U, device = U1 - 1, blank.device
    t = torch.arange(T, device=device)[:, None]
    u = torch.arange(U1, device=device)
    frames, labels = (
        frame_lengths.to(device)[:, None, None],
        label_lengths.to(device)[:, None, None],
    )
    # A blank that leaves the last frame too early leads to a state that no arc leaves.
    outside = (t >= frames) | (u > labels)
    blank64 = blank.double().masked_fill(outside, -torch.inf)
    outside = (t >= frames) | (u[:U] >= labels)
    label64 = label.double().masked_fill(outside, -torch.inf)

    # Skewed, diagonal n holds the cells t + u = n; one frame more, for the final state.
    N = T + U + 1
    n = torch.arange(N, device=device)[:, None]
    frame = n - u  # (N, U+1)

    def skew(x: Tensor) -> Tensor:
        width = x.shape[2]
        index = frame[:, :width]
        rows = index.clamp(0, max(0, T - 1)).expand(B, -1, -1)
        taken = x.gather(1, rows) if T else x.new_zeros(B, N, width)
        return taken.masked_fill((index < 0) | (index >= T), -torch.inf)

    blanks, label_arcs = skew(blank64), skew(label64)
    nothing = blank64.new_full((B, 1), -torch.inf)
    alpha = blank64.new_full((B, N, U1), -torch.inf)
    alpha[:, 0, 0] = 0
    for i in range(1, N):
        before = alpha[:, i - 1]
        by_label = torch.cat([nothing, before[:, :U] + label_arcs[:, i - 1]], 1)
        alpha[:, i] = torch.logaddexp(before + blanks[:, i - 1], by_label)

    final_n, final_u = (frame_lengths + label_lengths).to(device), label_lengths.to(device)
    batch = torch.arange(B, device=device)
    log_likelihood = alpha[batch, final_n, final_u].masked_fill(final_n == final_u, -torch.inf)
    is_final = (n == final_n[:, None, None]) & (u == final_u[:, None, None])  # (B, N, U+1)
    beta = torch.where(is_final, 0.0, -torch.inf).double()
    for i in range(N - 2, -1, -1):
        after = beta[:, i + 1]
        by_label = torch.cat([after[:, 1:] + label_arcs[:, i], nothing], 1)
        onward = torch.logaddexp(after + blanks[:, i], by_label)
        beta[:, i] = torch.where(is_final[:, i], beta[:, i], onward)

    def unskew(x: Tensor) -> Tensor:
        index = (t + u[: x.shape[2]]).expand(B, -1, -1)
        return x.gather(1, index)

    possible = log_likelihood > -torch.inf
    scale = torch.where(possible, log_likelihood, 0)[:, None, None]
    after = torch.cat([beta[:, 1:], nothing[:, None].expand(-1, 1, U1)], 1)
    by_blank = unskew((alpha + blanks + after - scale).exp())
    by_label = unskew((alpha[:, :, :U] + label_arcs + after[:, :, 1:] - scale).exp())
    dtype, keep = blank.dtype, possible[:, None, None]
    return (
        log_likelihood.to(dtype),
        torch.where(keep, by_blank, 0).to(dtype),
        torch.where(keep, by_label, 0).to(dtype),
    )
