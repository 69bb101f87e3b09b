"""An experiment as it is run: what is missing, and the trainings and scorings that it takes."""

import math
import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codert.config import as_assignments, merged, nested
from codert.data.config import DataConfig
from codert.data.manifest import Utterance
from codert.errors import InputError
from codert.evaluation.systems import of_split
from codert.experiments.cells import Cell, Planned, cells_of, planned
from codert.experiments.experiment import Experiment, expanded, read_experiment
from codert.experiments.jobs import Job, Outcome, run_jobs
from codert.experiments.recipes import recipes_folder
from codert.experiments.records import Key, Records
from codert.experiments.scoring import Order, Scoring
from codert.experiments.training import Training, train_words
from codert.files import LOCK, held
from codert.learning.heard import check_heard
from codert.learning.plan import Plan
from codert.learning.recipe import read_plan
from codert.learning.run_folder import is_finished


@dataclass(frozen=True)
class Matrix:
    """All cells of an experiment, and the folder that holds their runs and results.

    Attributes:
        file: of the experiment.
        experiment: what it says.
        plans: by name, those that are needed besides included.
        cells: in the order in which they are run.
        records: what was found.
    """

    file: Path
    experiment: Experiment
    plans: dict[str, Planned]
    cells: list[Cell]
    records: Records

    @classmethod
    def read(cls, file: Path, out: Path | None = None) -> "Matrix":
        """The matrix of a file; `out` is its folder, runs/NAME if it is None.

        Raises:
            InputError: the file or a recipe is wrong.
        """
        experiment = read_experiment(file)
        plans = planned(experiment, file)
        records = Records(out or _default_out(experiment))
        return cls(file, experiment, plans, cells_of(experiment, plans), records)

    def reference(self, against: str | None = None) -> str:
        """The plan that others are compared with: the experiment's, or another.

        Raises:
            InputError: there is no such plan.
        """
        reference = against or self.experiment.reference
        if reference not in self.plans:
            raise InputError(
                f"no plan {reference!r} to compare with; plans: {', '.join(self.plans)}"
            )
        return reference

    def keys(self, cell: Cell) -> list[Key]:
        """Of the records of a cell, one for each recogniser that is made."""
        return [(cell, name, self.experiment.split) for name in self.plans[cell.plan].plan.made]

    def missing(self) -> list[Cell]:
        """The cells of which a record is missing."""
        records = self.records.read()
        return [cell for cell in self.cells if not all(key in records for key in self.keys(cell))]

    def run(
        self, cache: Path, device: str | None, at_once: int = 1, until: float = math.inf
    ) -> Outcome:
        """Train and score what is missing.

        Args:
            cache: where features are kept.
            device: cpu or cuda; None for cuda where there is one.
            at_once: processes side by side.
            until: `time.monotonic()` at which trainings are asked to stop.

        Raises:
            InputError: a run in the folder was begun, or recorded, with other settings, a corpus
                is not there or has nothing to score, or the folder is in use.
        """
        with held(self.records.folder / LOCK):
            return run_jobs(self._jobs(cache, device), at_once, until)

    def _jobs(self, cache: Path, device: str | None) -> list[Job]:
        missing = self.missing()
        plans = {cell: self._plan(cell) for cell in self.cells}
        # Before anything is trained: what is there is of these settings, and can be scored.
        finished = [cell for cell, plan in plans.items() if is_finished(self._folder(cell), plan)]
        self.check_recorded()
        records, speech = self.records.read(), _Speech(self.experiment.split)
        for cell, plan in plans.items():
            if cell not in missing and not self._is_heard_here(cell):
                continue
            utterances = speech.of(plan.data, self._manifests(cell))
            if cell in finished:
                check_heard(self._folder(cell), plan, utterances)
            for key in records.keys() & self.keys(cell):
                self.records.check_scored(key, records[key], utterances)
        trained = self.with_needs(missing)
        jobs: list[Job] = []
        for cell in (each for each in self.cells if each in trained):
            training = self._training(cell, cache, device)
            jobs.append(training)
            if cell in missing:
                jobs.append(self._scoring(training, cell))
        return jobs

    def check_recorded(self) -> None:
        """Raises InputError where the records are of other settings than the file has today."""
        for cell in {cell.plan: cell for cell in self.cells}.values():
            self.records.check_plan(cell.plan, self._plan(cell))

    def with_needs(self, cells: Iterable[Cell]) -> set[Cell]:
        """The cells and all that they need."""
        waiting = list(cells)
        found = set(waiting)
        while waiting:
            cell = waiting.pop()
            needs = {cell.of(plan) for plan, _ in self.plans[cell.plan].needs.values()}
            waiting += needs - found
            found |= needs
        return found

    def _training(self, cell: Cell, cache: Path, device: str | None) -> Training:
        each = self.plans[cell.plan]
        return Training(
            name=cell.name,
            folder=self._folder(cell),
            after=tuple(cell.of(plan).name for plan, _ in each.needs.values()),
            recipe=each.recipe,
            data=tuple(self._manifests(cell)),
            cache=cache,
            settings=each.settings,
            over=tuple(as_assignments(self._over(cell, self.records.folder))),
            device=device,
        )

    def _scoring(self, training: Training, cell: Cell) -> Scoring:
        order = Order(
            experiment=self.experiment.name,
            out=str(self.records.folder),
            cell=cell,
            data=tuple(map(str, training.data)),
            split=self.experiment.split,
            cache=str(training.cache),
            device=training.device,
            command=self.command(cell),
        )
        name = f"{cell.name}, {self.experiment.split}"
        return Scoring(name=name, folder=training.folder, after=(training.name,), order=order)

    def command(self, cell: Cell) -> str:
        """The command that trains a cell by itself, from the top of a checkout of codert.

        It names no place on this machine: corpora are as the file writes them, and runs go to
        runs/NAME whatever folder they were made in.
        """
        each, out = self.plans[cell.plan], _default_out(self.experiment)
        words = train_words(
            _shown(each.recipe),
            self.experiment.corpora[cell.corpus],
            out / cell.name,
            None if each.settings is None else _shown(each.settings),
            as_assignments(self._over(cell, out)),
        )
        return " ".join(["codert", *map(_quoted, words)])

    def _folder(self, cell: Cell) -> Path:
        return self.records.folder / cell.name

    def _plan(self, cell: Cell) -> Plan:
        each = self.plans[cell.plan]
        return read_plan(each.recipe, each.settings, self._over(cell, self.records.folder))

    def _over(self, cell: Cell, out: Path) -> dict[str, Any]:
        """What the cell lays over its recipe, with the runs that it needs below `out`."""
        each = self.plans[cell.plan]
        over: dict[str, Any] = {"training": {"seed": cell.seed}}
        if cell.fold is not None:
            over["data"] = {"fold": {"number": cell.fold, "of": self.experiment.folds}}
        for keys, (plan, recogniser) in each.needs.items():
            folder = str(out / cell.of(plan).name / recogniser)
            over = merged(over, nested(("recognisers", *keys), folder))
        return merged(each.over, over)

    def _is_heard_here(self, cell: Cell) -> bool:
        """Whether its corpus is on this machine, which results do without."""
        try:
            return all(path.exists() for path in self._manifests(cell))
        except InputError:
            return False

    def _manifests(self, cell: Cell) -> list[Path]:
        where = f"{self.file}: corpora.{cell.corpus}"
        return [Path(expanded(text, where)) for text in self.experiment.corpora[cell.corpus]]


class _Speech:
    """What cells hear, each corpus and fold read once.

    Args:
        split: that they are scored on.
    """

    def __init__(self, split: str) -> None:
        self._split = split
        self._read: list[tuple[DataConfig, Sequence[Path], list[Utterance]]] = []

    def of(self, config: DataConfig, manifests: Sequence[Path]) -> list[Utterance]:
        """The utterances of all splits; raises InputError where there are none to score."""
        for known, files, utterances in self._read:
            if (known, files) == (config, manifests):
                return utterances
        utterances = config.read(manifests)
        of_split(utterances, self._split, manifests[0])
        self._read.append((config, manifests, utterances))
        return utterances


def _default_out(experiment: Experiment) -> Path:
    return Path("runs") / experiment.name


def _shown(path: Path) -> str:
    """A path as it is written from the top of a checkout, where it is below it."""
    path, recipes = path.resolve(), recipes_folder()
    if path.is_relative_to(recipes):
        return str(Path("recipes") / path.relative_to(recipes))
    return os.path.relpath(path)


def _quoted(word: str) -> str:
    """For a shell that is to expand variables, and nothing else."""
    plain = word.replace("$", "")
    return (
        word if shlex.quote(plain) == plain else f'"{word}"' if "$" in word else shlex.quote(word)
    )
