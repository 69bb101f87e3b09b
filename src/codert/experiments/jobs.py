"""Several processes side by side, under progress bars; each works on the folder of a run."""

import math
import os
import shlex
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from codert.files import HELD, LOCK, hold

_LOG = "log.txt"
_BEGUN = "\n$ python -m "
_POLL = 0.5  # seconds

Process = subprocess.Popen[bytes]


@dataclass(frozen=True, kw_only=True)
class Job(ABC):
    """What a process does to the folder of a run.

    Attributes:
        name: of its own, for the bar and for those that wait for it.
        folder: of the run.
        after: names of the jobs that must be finished before.
    """

    name: str
    folder: Path
    after: tuple[str, ...] = ()

    @abstractmethod
    def words(self) -> list[str]:
        """Of the command, behind `python -m`."""

    def is_finished(self) -> bool:
        """Whether there is nothing left to do; raises InputError where it cannot be done."""
        return False

    def progress(self) -> Mapping[str, float]:
        """What there is to show: `progress` from 0 to 1, and rates as `wer/NAME`."""
        return {}

    def start(self) -> Process | None:
        """Begin it, or go on with it, in a process of its own; None where another is at it.

        The process inherits the folder's lock. So it holds it even where whoever started it is
        killed, and nobody else begins before it has ended.
        """
        lock = hold(self.folder / LOCK)
        if lock is None:
            return None
        words = self.words()
        with lock, (self.folder / _LOG).open("ab") as log:
            log.write(f"{_BEGUN}{shlex.join(words)}\n".encode())
            log.flush()
            return subprocess.Popen(
                [sys.executable, "-m", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[lock.fileno()],
                env=os.environ | {HELD: str((self.folder / LOCK).absolute())},
            )

    def complaint(self, status: int) -> str:
        """Why the process ended with this status."""
        path = self.folder / _LOG
        log = path.read_text(encoding="utf-8", errors="replace").rpartition(_BEGUN)[2]
        said = log.strip().splitlines()[1:]
        # What a person is meant to read begins so, and may have several lines.
        meant = [line for line in said if line.startswith("codert: ")]
        why = (meant or said or [f"exit status {status}"])[-1].removeprefix("codert: ")
        if status < 0:
            why = f"killed by {signal.Signals(-status).name}"
        if status == -signal.SIGKILL:  # nobody but the kernel does that unasked
            why += ", perhaps for want of memory: run the same again, with fewer --jobs if it can"
        return f"{why}; the whole of it: {path}"


@dataclass
class Outcome:
    """How it ended.

    Attributes:
        failed: why, by the name of the job.
        left: names of those that are still to do: not begun, or stopped.
    """

    failed: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)


def run_jobs(jobs: Sequence[Job], at_once: int = 2, until: float = math.inf) -> Outcome:
    """Run what is not finished, `at_once` at a time, in order where nothing has to wait.

    One that fails does not end the others, save those that wait for it. SIGTERM is taken as
    Ctrl-C is: what runs is asked to write its checkpoint and end.

    Args:
        jobs: what to do.
        at_once: processes.
        until: `time.monotonic()` at which to stop likewise.

    Raises:
        InputError: a job cannot be done; found before any is begun.
    """
    done = {job.name for job in jobs if job.is_finished()}
    waiting = [job for job in jobs if job.name not in done]
    running: dict[str, tuple[Job, Process]] = {}
    outcome = Outcome()
    with ExitStack() as stack:
        stack.enter_context(_terminated_as_interrupted())
        bars = stack.enter_context(_bars(len(jobs), len(done)))
        stack.callback(_stop, running)
        while time.monotonic() < until:
            ready = [job for job in waiting if done.issuperset(job.after)]
            if not ready and not running:
                break
            for job in ready:
                if len(running) < at_once and (process := job.start()):
                    waiting.remove(job)
                    running[job.name] = job, process
            time.sleep(max(0.0, min(_POLL, until - time.monotonic())))
            for job, process in list(running.values()):
                status = process.poll()
                bars.show(job)
                if status is None:
                    continue
                del running[job.name]
                if status == 0:
                    done.add(job.name)
                else:
                    outcome.failed[job.name] = job.complaint(status)
                bars.close(job, outcome.failed.get(job.name))
        _stop(running)
        stopped = [name for name, (_, process) in running.items() if process.poll() != 0]
    outcome.left = [*stopped, *(job.name for job in waiting)]
    return outcome


def _stop(running: Mapping[str, tuple[Job, Process]]) -> None:
    """Ask what still runs to write its checkpoint and end."""
    for _, process in running.values():
        process.terminate()
    for _, process in running.values():
        process.wait()


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    try:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    except ValueError:  # signals reach only the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Bars:
    """One bar for each process that runs, below one for all jobs; lines for what has ended."""

    def __init__(self, jobs: int, done: int) -> None:
        self._bars: dict[str, tqdm[Any]] = {}
        # In a file each refreshing is another line.
        self._seconds = 0.1 if sys.stderr.isatty() else 10.0
        self._all = tqdm(
            total=jobs, initial=done, desc="jobs", leave=False, mininterval=self._seconds
        )

    def show(self, job: Job) -> None:
        """What is known of it now."""
        if job.name not in self._bars:
            self._bars[job.name] = tqdm(
                total=100,
                desc=job.name,
                bar_format=_BAR,
                leave=False,
                mininterval=self._seconds,
                miniters=0,
            )
        bar, newest = self._bars[job.name], job.progress()
        bar.set_postfix_str(_rates(newest), refresh=False)
        bar.update(100 * newest.get("progress", 0.0) - bar.n)

    def close(self, job: Job, complaint: str | None) -> None:
        """It has ended, and how."""
        self._bars.pop(job.name).close()
        rates = _rates(job.progress())
        end = f"failed: {complaint}" if complaint else f"done{rates and ', '}{rates}"
        tqdm.write(f"{job.name}: {end}", file=sys.stderr)
        self._all.update()

    def close_all(self) -> None:
        """Take them off the screen."""
        for bar in (*self._bars.values(), self._all):
            bar.close()


@contextmanager
def _bars(jobs: int, done: int) -> Iterator[_Bars]:
    bars = _Bars(jobs, done)
    try:
        yield bars
    finally:
        bars.close_all()


_BAR = "{desc} {percentage:3.0f}%|{bar:24}| {elapsed}<{remaining} {postfix}"


def _rates(newest: Mapping[str, float]) -> str:
    rates = {key.removeprefix("wer/"): v for key, v in newest.items() if key.startswith("wer/")}
    text = ", ".join(f"{name} {rate:.1f}%" for name, rate in rates.items())
    return f"dev WER {text}" if text else ""
