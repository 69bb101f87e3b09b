"""The likeliest alignment of a lattice with its labels, by the Viterbi recursion."""

import torch
from torch import Tensor

from codert.lattice import Lattice, inside

# In place of log 0: differences of sums of it stay numbers, and keep their digits in float64.
_NEVER = -1e9


@torch.no_grad()
def best_path(lattice: Lattice, labels: Tensor) -> Tensor:
    """The frame at which each label is emitted on the likeliest alignment.

    A step for each label, over all frames at once: with C[t, u] the log-probability of blank in
    the frames before t at position u, the best score of emitting label u at frame t is
    log P(y[u+1] | t, u) + C[t, u] + max over t' <= t of (the best of label u-1 at t') - C[t', u].

    Args:
        lattice: of (B, T, U+1) cells.
        labels: (B, U), as for `transducer_loss`.

    Returns:
        Frames (B, U), which never fall within an utterance; -1 behind each length and where an
        utterance has no frames.

    Raises:
        ValueError: labels that do not fit the lattice.
    """
    blank, label = (score.double() for score in lattice.scores(labels))
    B, T, U = label.shape
    if not T or not U:
        return torch.full((B, U), -1, device=label.device)
    device = label.device
    frames = inside(lattice.frame_lengths.to(device), T)
    lengths = lattice.label_lengths.to(device)
    blank = blank.clamp_min(_NEVER).masked_fill(~frames[..., None], 0)
    label = label.clamp_min(_NEVER).masked_fill(~frames[..., None], -torch.inf)
    waited = torch.nn.functional.pad(blank.cumsum(1), (0, 0, 1, 0))[:, :T]  # C
    reached = label.new_full((B, T), -torch.inf)
    reached[:, 0] = 0
    best = torch.full((B, U), -1, dtype=torch.long, device=device)
    came_from, last = [], best[:, 0]
    for u in range(U):
        onward, source = (reached - waited[:, :, u]).cummax(1)
        came_from.append(source)
        reached = label[:, :, u] + waited[:, :, u] + onward
        ends = (reached - waited[:, :, u + 1]).argmax(1)
        last = torch.where(lengths == u + 1, ends, last)
    last = torch.where(frames[:, 0], last, -1)
    for u in range(U - 1, -1, -1):
        best[:, u] = torch.where(lengths > u, last, -1)
        before = came_from[u].gather(1, last.clamp_min(0)[:, None])[:, 0]
        last = torch.where((lengths > u) & (last >= 0), before, last)
    return best
