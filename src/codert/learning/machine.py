"""The machine that a run is on."""

import ctypes

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)


def machine(device: str | None, threads: int) -> torch.device:
    """Choose the device (a GPU where there is one, unless named) and the CPU's threads.

    Large tensors come and go at every step. Left to itself, glibc hands their memory back
    and has the kernel clear it anew, which takes a fifth of a training step on a CPU.
    """
    torch.set_num_threads(threads)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
