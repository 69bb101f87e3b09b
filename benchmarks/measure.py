"""How all benchmarks measure: each case in a process of its own, time and memory over its inputs.

On a CPU memory is the resident set's high-water mark (VmHWM, which Linux lets a process set back)
less what was resident when the inputs were made: results are in it, inputs and libraries are not.
On a GPU it is what PyTorch had allocated at once, likewise. Time is that of the fastest run, which
other processes disturbed least, until the GPU has nothing left to do.
"""

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Row = dict[str, Any]
Case = Mapping[str, Any]

_MB = 1e6


@dataclass(frozen=True)
class Options:
    """What was asked for.

    Attributes:
        short: the few cases of `make bench`.
        threads: that each case may use.
        device: that each case is run on, cpu or cuda.
        shapes: sizes in place of the usual ones, as B, T, U, V.
    """

    short: bool
    threads: int
    device: str
    shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Measured:
    """What some work took.

    Attributes:
        seconds: of the fastest run.
        peak_mb: the most memory in use at once over the inputs, in 10^6 bytes.
    """

    seconds: float
    peak_mb: float


def measured(
    work: Callable[[], object], device: str = "cpu", runs: int = 5, budget: float = 4.0
) -> Measured:
    """Run `work` as often as fits `budget` seconds, at most `runs` times, and once at least.

    What is compiled or allocated only once must be warm: call it on something tiny before.
    """
    gc.collect()
    memory, finish = _MEMORY[device](), _FINISH[device]
    finish()
    seconds: list[float] = []
    while len(seconds) < runs and (not seconds or sum(seconds) + min(seconds) < budget):
        start = time.perf_counter()
        work()
        finish()
        seconds.append(time.perf_counter() - start)
        if len(seconds) == 1:
            peak = memory.peak()
    return Measured(min(seconds), peak / _MB)


class _Resident:
    """The process's memory from now on."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None)
        if hasattr(libc, "malloc_trim"):
            libc.malloc_trim(0)  # else memory that earlier work has freed would be used unseen
        self._before = _status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew

    def peak(self) -> int:
        """Bytes; less than a page cannot be seen."""
        return max(_status("VmHWM") - self._before, os.sysconf("SC_PAGE_SIZE"))


class _Allocated:
    """The GPU's memory from now on."""

    def __init__(self) -> None:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        self._before = torch.cuda.memory_allocated()

    def peak(self) -> int:
        """Bytes; less than PyTorch's smallest block cannot be seen."""
        return max(torch.cuda.max_memory_allocated() - self._before, 512)


_MEMORY: Mapping[str, type[_Resident] | type[_Allocated]] = {"cpu": _Resident, "cuda": _Allocated}
_FINISH: Mapping[str, Callable[[], object]] = {
    "cpu": lambda: None,
    "cuda": torch.cuda.synchronize,
}


def available_mb(device: str = "cpu") -> float:
    """Memory that can be had without swapping."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0] / _MB
    pages = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) * 1024 / _MB
    return pages / _MB


def main(
    description: str,
    script: str,
    one: Callable[[Case], Row],
    collect: Callable[[Options, Callable[[Case], Row]], Sequence[Row]],
) -> None:
    """A benchmark's command line.

    Args:
        description: for --help.
        script: the benchmark's file.
        one: measures a case; runs in a process of its own.
        collect: makes the rows; it is given the options and what hands a case, and the device,
            to `one`.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", metavar="FILE", help="write the rows there; - is the terminal")
    parser.add_argument("--short", action="store_true", help="the few cases of `make bench`")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", choices=tuple(_MEMORY), default="cpu")
    parser.add_argument(
        "--shapes", nargs="*", default=(), metavar="BxTxUxV", help="sizes in place of the usual"
    )
    parser.add_argument("--case", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        print(json.dumps(one(json.loads(given.case))))
        return
    shapes = tuple(tuple(int(n) for n in shape.split("x")) for shape in given.shapes)
    options = Options(given.short, given.threads, given.device, shapes)
    rows = collect(options, lambda case: _fresh(script, case, options))
    text = "[\n" + ",\n".join(f" {json.dumps(row)}" for row in rows) + "\n]\n"
    if given.json and given.json != "-":
        path = Path(given.json)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    elif given.json:
        sys.stdout.write(text)


def say(row: Row) -> None:
    """Show a row on the terminal as soon as it is there."""
    values = (f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values())
    print("  ".join(f"{k} {v}" for k, v in zip(row, values, strict=True)), file=sys.stderr)


def rounded(value: float) -> float:
    """To four digits."""
    return float(f"{value:.4g}")


def _fresh(script: str, case: Case, options: Options) -> Row:
    """What `one` measures in a process of its own."""
    threads = {"OMP_NUM_THREADS": str(options.threads), "OMP_WAIT_POLICY": "PASSIVE"}
    environment = os.environ | threads
    text = json.dumps({**case, "device": options.device})
    command = [sys.executable, script, "--case", text]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"{dict(case)} failed ({result.returncode}):\n{result.stderr}")
    row: Row = json.loads(result.stdout.splitlines()[-1])
    return row


def _status(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"no {name} in /proc/self/status; the benchmarks need Linux")
