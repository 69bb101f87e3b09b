"""Two steps of the Triton kernel's scan, then a third; or a first, and then two."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from codert.transducer.recursion_triton import _then


def both_orders(steps: Tensor) -> tuple[Tensor, Tensor]:
    """Of three steps, each an arc and what entered, (6, N): both orders' result, (2, N) each."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    first, last = (torch.empty(2, steps.shape[1], dtype=steps.dtype) for _ in range(2))
    given, first, last = steps.to(device), first.to(device), last.to(device)
    _compose[(1,)](given, first, last, N=steps.shape[1])
    return first.cpu(), last.cpu()


@triton.jit  # type: ignore[untyped-decorator]
def _compose(steps, first, last, N: tl.constexpr):  # type: ignore[no-untyped-def]
    i = tl.arange(0, N)
    a, b = tl.load(steps + i), tl.load(steps + N + i)
    c, d = tl.load(steps + 2 * N + i), tl.load(steps + 3 * N + i)
    e, f = tl.load(steps + 4 * N + i), tl.load(steps + 5 * N + i)
    x, y = _then(a, b, c, d)
    x, y = _then(x, y, e, f)
    tl.store(first + i, x)
    tl.store(first + N + i, y)
    x, y = _then(c, d, e, f)
    x, y = _then(a, b, x, y)
    tl.store(last + i, x)
    tl.store(last + N + i, y)
