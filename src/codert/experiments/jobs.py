"""Several trainings side by side, each a process of its own, under progress bars."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from codert.errors import InputError
from codert.learning.trainer import CHECKPOINT, CURVES

_LOG = "log.txt"


@dataclass(frozen=True)
class Job:
    """A training.

    Attributes:
        recipe: its plan; the run goes to OUT/PLAN.
        arguments: of `codert train`, behind the recipe.
        out: folder of the runs.
        after: plans that must be finished before.
    """

    recipe: Path
    arguments: tuple[str, ...]
    out: Path
    after: tuple[str, ...] = ()

    @property
    def plan(self) -> str:
        """The recipe's stem."""
        return self.recipe.stem

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.out / self.plan

    def progress(self) -> dict[str, float]:
        """The newest values of its curves; empty before the first."""
        path = self.folder / CURVES
        newest: dict[str, float] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    newest |= json.loads(line)
                except json.JSONDecodeError:
                    break  # half of the last line, being written
        return newest

    def start(self) -> "subprocess.Popen[bytes]":
        """Begin it, or go on with it, in a process of its own."""
        resume = ["--resume"] if (self.folder / CHECKPOINT).exists() else []
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "codert.cli", "train", str(self.recipe)]
        with (self.folder / _LOG).open("ab") as log:
            return subprocess.Popen(
                [*command, "--out", str(self.out), *self.arguments, *resume],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


def run_jobs(jobs: Sequence[Job], at_once: int = 2) -> None:
    """Run every job, `at_once` at a time, in their order where nothing has to wait.

    Raises:
        InputError: one of them failed; the others are stopped and can be resumed.
    """
    waiting, running = list(jobs), dict[str, "subprocess.Popen[bytes]"]()
    done: set[str] = set()
    with ExitStack() as stack:
        bars: dict[str, tqdm[Any]] = {
            job.plan: stack.enter_context(
                tqdm(total=100, desc=f"{job.plan:>14}", bar_format=_BAR, position=i)
            )
            for i, job in enumerate(jobs)
        }
        stack.callback(_stop, running)
        while waiting or running:
            ready = [job for job in waiting if done.issuperset(job.after)]
            for job in ready[: at_once - len(running)]:
                waiting.remove(job)
                bars[job.plan].reset()
                running[job.plan] = job.start()
            time.sleep(0.5)
            for job in jobs:
                if job.plan in running:
                    _show(bars[job.plan], job.progress())
                    status = running[job.plan].poll()
                    if status:
                        log = (job.folder / _LOG).read_text(encoding="utf-8", errors="replace")
                        raise InputError(
                            f"{job.folder}: training failed: {log.strip().splitlines()[-1]}; "
                            f"the whole of it: {job.folder / _LOG}"
                        )
                    if status == 0:
                        del running[job.plan]
                        done.add(job.plan)


_BAR = "{desc} {percentage:3.0f}%|{bar:24}| {elapsed}<{remaining} {postfix}"


def _show(bar: "tqdm[Any]", newest: dict[str, float]) -> None:
    bar.update(100 * newest.get("progress", 0.0) - bar.n)
    rates = {key.removeprefix("wer/"): v for key, v in newest.items() if key.startswith("wer/")}
    if rates:
        bar.set_postfix_str("dev WER " + ", ".join(f"{k} {v:.1f}%" for k, v in rates.items()))


def _stop(running: dict[str, "subprocess.Popen[bytes]"]) -> None:
    """Ask what still runs to write its checkpoint and end."""
    for process in running.values():
        process.terminate()
    for process in running.values():
        process.wait()
