"""The machine that a run is on."""

import ctypes
import platform
from pathlib import Path

import torch

from codert.errors import InputError

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)


def machine(device: str | None, threads: int) -> torch.device:
    """Choose the device (a GPU where there is one, unless named) and the CPU's threads.

    Large tensors come and go at every step. Left to itself, glibc hands their memory back
    and has the kernel clear it anew, which takes a fifth of a training step on a CPU.

    Raises:
        InputError: there is no such device.
    """
    torch.set_num_threads(threads)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
    gpu = torch.cuda.is_available()
    try:
        chosen = torch.device(device or ("cuda" if gpu else "cpu"))
    except RuntimeError:
        raise InputError(f"--device {device}: write cpu or cuda") from None
    if chosen.type not in ("cpu", "cuda"):
        raise InputError(f"--device {device}: write cpu or cuda")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise InputError(f"--device {device}: PyTorch finds no such GPU; write cpu")
    if chosen.index is not None:  # random streams are those of the current one
        torch.cuda.set_device(chosen)
    return chosen


def name_of(device: torch.device) -> str:
    """What its maker calls a device, as times are to be reported beside it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
