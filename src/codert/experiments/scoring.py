"""Scoring a finished run for the experiment's records, as a process of its own."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from codert.config import build, plain
from codert.errors import InputError
from codert.evaluation.scoring import wer
from codert.evaluation.systems import System, score_system, utterances_of
from codert.experiments.cells import Cell
from codert.experiments.jobs import Job
from codert.experiments.records import Record, Records
from codert.files import digest_of
from codert.learning.commit import commits_of
from codert.learning.curves import newest
from codert.learning.heard import heard_by
from codert.learning.machine import machine
from codert.learning.run_folder import plan_of
from codert.models.folder import WEIGHTS


@dataclass(frozen=True)
class Order:
    """What is to be scored, as plain data for another process.

    Attributes:
        experiment: its name.
        out: its folder.
        cell: what was trained.
        data: manifests.
        split: to score.
        cache: where features are kept.
        device: cpu or cuda; None for cuda where there is one.
        command: that trains the cell.
    """

    experiment: str
    out: str
    cell: Cell
    data: tuple[str, ...]
    split: str
    cache: str
    device: str | None
    command: str

    def run(self) -> None:
        """Score every recogniser that it made and record it.

        Raises:
            InputError: there is no such run, or nothing can be scored.
        """
        folder = Path(self.out) / self.cell.name
        plan = plan_of(folder)
        if plan is None:
            raise InputError(f"{folder}: holds no run; train it again")
        utterances = utterances_of(list(map(Path, self.data)), self.split, plan.data)
        device = machine(self.device, threads=1)
        records = Records(Path(self.out))
        records.keep_plan(self.cell.plan, plan)
        for recogniser in plan.made:
            system = score_system(
                folder / recogniser, utterances, Path(self.cache), device, config=plan.data
            )
            record = self._record(system, newest(folder).get("core_seconds", 0.0))
            records.add(record, system.scores)

    def _record(self, system: System, seconds: float) -> Record:
        # What it was chosen by on dev it has heard, and the table says so of all.
        known = frozenset() if self.split == "dev" else heard_by(system.folder)
        return Record(
            experiment=self.experiment,
            plan=self.cell.plan,
            strategy=system.card.strategy,
            recogniser=system.folder.name,
            role=system.card.role,
            corpus=self.cell.corpus,
            split=self.split,
            fold=self.cell.fold,
            seed=self.cell.seed,
            encoder_params=system.encoder_params,
            total_params=system.total_params,
            updates=system.card.updates,
            wer=round(wer(system.scores), 4),
            errors=sum(each.errors for each in system.scores),
            words=sum(each.words for each in system.scores),
            seconds=seconds,
            commit=commits_of(system.folder.parent),
            command=self.command,
            skipped=len(system.skipped),
            heard=sum(each.id in known for each in system.scores),
            weights=digest_of(system.folder / WEIGHTS),
        )


@dataclass(frozen=True, kw_only=True)
class Scoring(Job):
    """Scores a run once it is finished.

    Attributes:
        order: what to do.
    """

    order: Order

    def words(self) -> list[str]:
        """Of this module."""
        return [__name__, json.dumps(plain(self.order))]


def _main() -> int:
    try:
        build(Order, json.loads(sys.argv[1]), "the order").run()
    except InputError as error:
        print(f"codert: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(_main())
