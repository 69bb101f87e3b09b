"""The forward-backward recursion in plain torch, in float64, a step for each diagonal."""

import torch
from torch import Tensor


@torch.no_grad()
def forward_backward(
    blank: Tensor, label: Tensor, frame_lengths: Tensor, label_lengths: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """See `codert.transducer.recursion.forward_backward`."""
    B, T, U1 = blank.shape
    U, device = U1 - 1, blank.device
    t = torch.arange(T, device=device)[:, None]
    u = torch.arange(U1, device=device)
    frame_lengths, label_lengths = frame_lengths.to(device), label_lengths.to(device)
    frames, labels = frame_lengths[:, None, None], label_lengths[:, None, None]
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

    def unskew(x: Tensor, frames: int) -> Tensor:
        first = torch.arange(frames, device=device)[:, None]
        return x.gather(1, (first + u).expand(B, -1, -1))

    blanks, label_arcs = skew(blank64), skew(label64)
    nothing = blank64.new_full((B, 1), -torch.inf)
    alpha = blank64.new_full((B, N, U1), -torch.inf)
    alpha[:, 0, 0] = 0
    for i in range(1, N):
        before = alpha[:, i - 1]
        by_label = torch.cat([nothing, before[:, :U] + label_arcs[:, i - 1]], 1)
        alpha[:, i] = torch.logaddexp(before + blanks[:, i - 1], by_label)

    final = (frame_lengths + label_lengths)[:, None, None]
    is_final = (n == final) & (u == labels) & (frames > 0)  # (B, N, U+1)
    beta = torch.where(is_final, 0.0, -torch.inf).double()
    for i in range(N - 2, -1, -1):
        after = beta[:, i + 1]
        by_label = torch.cat([after[:, 1:] + label_arcs[:, i], nothing], 1)
        onward = torch.logaddexp(after + blanks[:, i], by_label)
        beta[:, i] = torch.where(is_final[:, i], beta[:, i], onward)
    reached = unskew(alpha, T).masked_fill(t >= frames, -torch.inf)
    return posterior(blank, label, reached, unskew(beta, T + 1))


def posterior(
    blank: Tensor, label: Tensor, alpha: Tensor, beta: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-likelihoods and occupancies, as `forward_backward` gives them.

    Args:
        blank: log P(blank | t, u), (B, T, U+1).
        label: log P(y[u+1] | t, u), (B, T, U).
        alpha: log-probability of reaching a cell, (B, T, U+1) in float64.
        beta: that of ending from it, (B, T+1, U+1); 0 where an utterance ends, behind its last
            frame. Either is -inf outside of an utterance.
    """
    log_likelihood = beta[:, 0, 0]
    possible = log_likelihood != -torch.inf  # not >, so that nan is kept
    scale = torch.where(possible, log_likelihood, 0)[:, None, None]

    def occupied(before: Tensor, arc: Tensor, after: Tensor) -> Tensor:
        reached = (before != -torch.inf) & (after != -torch.inf) & possible[:, None, None]
        likely = (before + arc + after - scale).exp()
        return torch.where(reached, likely, 0).to(arc.dtype)

    return (
        log_likelihood.to(blank.dtype),
        occupied(alpha, blank, beta[:, 1:]),
        occupied(alpha[:, :, :-1], label, beta[:, :-1, 1:]),
    )
