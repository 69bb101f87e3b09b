"""The whole comparison on one corpus: five students and a teacher, a table and a report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codert.config import as_assignments, assignments, nested
from codert.data.config import DataConfig
from codert.data.manifest import Utterance
from codert.data.skipped import Skipped
from codert.data.workers import processes
from codert.errors import InputError
from codert.evaluation.results import Result, results
from codert.evaluation.systems import System, held_out_by, score_system, utterances_of
from codert.experiments.cells import needs_of
from codert.experiments.jobs import run_jobs
from codert.experiments.training import Training
from codert.files import write_text
from codert.learning.machine import machine
from codert.learning.plan import Plan
from codert.learning.recipe import read_plan
from codert.learning.run_folder import skipped_in
from codert.reports.demo_report import report_of
from codert.reports.report import write_report

# Each plan and the recogniser of it that the table shows, in the table's order.
SYSTEMS = {
    "alone": "student",
    "static": "student",
    "tandem": "student",
    "implicit": "student",
    "tandem-shared": "student",
    "teacher": "teacher",
}
_AT_ONCE = 2


@dataclass(frozen=True)
class Demo:
    """What to compare on.

    Attributes:
        recipes: folder of the plans.
        manifest: of the corpus.
        out: folder of the runs, the results and the report.
        cache: where features are kept.
        settings: a file in place of the plans' own settings, or None.
        over: KEY=VALUE for every training.
        command: that was typed, for the report.
    """

    recipes: Path
    manifest: Path
    out: Path
    cache: Path
    settings: Path | None = None
    over: tuple[str, ...] = ()
    command: str = "codert demo"

    def run(self) -> tuple[list[Result], Sequence[Skipped]]:
        """Train what is not trained yet, score all, write results.json and report.html.

        Returns:
            The rows of the table, and the utterances that could not be used.

        Raises:
            InputError: bad data, or a training that failed.
        """
        # Looked at before anything is trained: an empty test split would waste it all.
        held_out = held_out_by(self._settings_file(), assignments(self.over))
        test = utterances_of([self.manifest], "test", held_out)
        outcome = run_jobs(self.trainings(), _AT_ONCE)
        if outcome.failed:
            raise InputError("; ".join(f"{plan}: {why}" for plan, why in outcome.failed.items()))
        systems = self._score(test, held_out)
        rows = results(list(systems.values()), systems["alone"])
        write_text(self.out / "results.json", json.dumps(rows, indent=2) + "\n")
        everything = held_out.read([self.manifest])
        splits = dict.fromkeys(["train", "dev", "test", *(u.split for u in everything)])
        corpus = {split: [u for u in everything if u.split == split] for split in splits}
        left_out = {
            each.id: each
            for plan, system in systems.items()
            for each in (*skipped_in(self.out / plan), *system.skipped)
        }
        report = report_of(
            rows,
            systems,
            corpus,
            runs=self.out,
            cache=self.cache,
            config=held_out,
            command=self.command,
            left_out=list(left_out.values()),
        )
        write_report(self.out / "report.html", report)
        return rows, report.left_out

    def _recipe(self, plan: str) -> Path:
        return self.recipes / f"{plan}.yaml"

    def _settings_file(self) -> Path:
        return self.settings or self.recipes / "settings" / "commands.yaml"

    def _plan(self, plan: str) -> Plan:
        return read_plan(self._recipe(plan), self._settings_file(), assignments(self.over))

    def trainings(self) -> list[Training]:
        """What others wait for goes first, then the longest, so that two at a time end together."""
        plans = {plan: self._plan(plan) for plan in SYSTEMS}
        needed = {plan for each in plans.values() for plan, _ in needs_of(each).values()}

        def length(plan: str) -> tuple[int, ...]:
            each = plans[plan]
            return len(each.live), len(each.recognisers), len(each.edges)

        order = sorted(plans, key=lambda plan: (plan in needed, length(plan)), reverse=True)
        return [self._training(plan, needs_of(plans[plan])) for plan in order]

    def _training(self, plan: str, needs: Mapping[tuple[str, ...], tuple[str, str]]) -> Training:
        folders = (
            word
            for keys, (run, name) in needs.items()
            for word in as_assignments(nested(("recognisers", *keys), str(self.out / run / name)))
        )
        return Training(
            name=plan,
            folder=self.out / plan,
            after=tuple(run for run, _ in needs.values()),
            recipe=self._recipe(plan),
            data=(self.manifest,),
            cache=self.cache,
            settings=self._settings_file(),
            over=(*self.over, *folders),
        )

    def _score(self, test: Sequence[Utterance], config: DataConfig) -> dict[str, System]:
        # Processes, not threads: greedy decoding is Python between small products.
        with processes(_AT_ONCE) as pool:
            assert pool is not None
            scored = {
                plan: pool.submit(_score, self.out / plan / name, test, self.cache, config)
                for plan, name in SYSTEMS.items()
            }
            return {plan: future.result() for plan, future in scored.items()}


def _score(folder: Path, test: Sequence[Utterance], cache: Path, config: DataConfig) -> System:
    return score_system(folder, test, cache, machine("cpu", threads=1), config=config)
