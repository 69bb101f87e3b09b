"""The forward-backward recursion in one Triton kernel, without a word from the host between steps.

A frame's cells depend on each other through label arcs alone: alpha[t, u] is the log of
exp(entered[u]) + exp(label[t, u-1] + alpha[t, u-1]), a linear recurrence in u. Composing two of
its steps gives another, so an associative scan does a frame at once. A program runs over
one utterance's frames in one direction, in float64; beta is the same from the far corner.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from codert.transducer.recursion_torch import posterior

# A lane for each cell of a frame, where a program can have as many.
_WARP, _WARPS = 32, 8


@torch.no_grad()
def forward_backward(
    blank: Tensor, label: Tensor, frame_lengths: Tensor, label_lengths: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """See `codert.transducer.recursion.forward_backward`."""
    B, T, U1 = blank.shape
    blank, label = blank.contiguous(), label.contiguous()
    lengths = [
        x.to(blank.device).clamp(0, most)  # nobody has checked them where they are on a GPU
        for x, most in ((frame_lengths, T), (label_lengths, U1 - 1))
    ]
    alpha = blank.new_full((B, T, U1), -torch.inf, dtype=torch.float64)
    beta = blank.new_full((B, T + 1, U1), -torch.inf, dtype=torch.float64)
    width = max(_WARP, triton.next_power_of_2(U1))
    if B:
        # Triton launches on the current device, whichever the tensors are on.
        with torch.cuda.device_of(blank):  # type: ignore[no-untyped-call]
            _recursion[(B, 2)](
                blank,
                label,
                *lengths,
                alpha,
                beta,
                T,
                U1,
                WIDTH=width,
                num_warps=min(width // _WARP, _WARPS),
                enable_fp_fusion=False,
            )
    return posterior(blank, label, alpha, beta)


@triton.jit
def _logaddexp(a, b):  # type: ignore[no-untyped-def]
    swap = a < b  # tl.maximum would drop nan
    more, less = tl.where(swap, b, a), tl.where(swap, a, b)
    gap = less - tl.where(less == float("-inf"), 0.0, more)  # never inf - inf
    return more + tl.log(1.0 + tl.exp(gap))


@triton.jit
def _then(arc, entered, later_arc, later_entered):  # type: ignore[no-untyped-def]
    """The step x -> entered + exp(arc) x and a later one as one step, all in logarithms."""
    return arc + later_arc, _logaddexp(later_arc + entered, later_entered)


@triton.jit  # type: ignore[untyped-decorator]
def _recursion(blank, label, frame_lengths, label_lengths, alpha, beta, T, U1, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    """Fills alpha (B, T, U+1) where the second program index is 0, beta (B, T+1, U+1) where 1."""
    b = tl.program_id(0).to(tl.int64)
    frames, labels = tl.load(frame_lengths + b), tl.load(label_lengths + b)
    blank += b * T * U1
    label += b * T * (U1 - 1)
    alpha += b * T * U1
    beta += b * (T + 1) * U1
    nothing = float("-inf")
    lane = tl.arange(0, WIDTH)
    real = lane <= labels
    entered = tl.where(lane == 0, 0.0, tl.full([WIDTH], nothing, tl.float64))
    if tl.program_id(1) == 0:
        u = lane
        arrives = (u > 0) & real
        for t in range(frames):
            arc = tl.load(label + t * (U1 - 1) + u - 1, arrives, nothing).to(tl.float64)
            _, row = tl.associative_scan((arc, entered), 0, _then)
            tl.store(alpha + t * U1 + u, row, real)
            entered = row + tl.load(blank + t * U1 + u, real, nothing).to(tl.float64)
    elif frames > 0:
        u = labels - lane
        leaves = (lane > 0) & real
        tl.store(beta + frames * U1 + labels, 0.0)
        for i in range(frames):
            t = frames - 1 - i
            entered += tl.load(blank + t * U1 + u, real, nothing).to(tl.float64)
            arc = tl.load(label + t * (U1 - 1) + u, leaves, nothing).to(tl.float64)
            _, entered = tl.associative_scan((arc, entered), 0, _then)
            tl.store(beta + t * U1 + u, entered, real)
