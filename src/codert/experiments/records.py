"""What an experiment found: a line per recogniser, and beside it a row per utterance.

OUT/
    results.jsonl                                           a `Record` a line
    plans/PLAN.json                                         what its runs have in common
    utterances/CORPUS[/foldK]/seedS/PLAN/RECOGNISER-SPLIT.tsv    id, speaker, errors, words
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from codert.config import build, plain
from codert.data.manifest import Utterance
from codert.data.text import normalise
from codert.errors import InputError
from codert.evaluation.scoring import UtteranceScore
from codert.experiments.cells import Cell
from codert.files import locked, write_text
from codert.learning.plan import Plan
from codert.learning.plan_places import placeless
from codert.learning.run_folder import read_plan_json

RESULTS, PLANS, UTTERANCES = "results.jsonl", "plans", "utterances"

_RARE = ("skipped", "heard", "weights")
_COLUMNS = ("id", "speaker", "errors", "words")


@dataclass(frozen=True)
class Record:
    """A recogniser that was trained and scored.

    Attributes:
        experiment: its name.
        plan: the recipe's stem, or the variant's name.
        strategy: a label that only tables read.
        recogniser: its name in the plan.
        role: student or teacher.
        corpus: by the name that the experiment gives it.
        split: that it was scored on.
        fold: that was held out; None for the corpus's own splits.
        seed: of the training.
        encoder_params: weights of its encoder.
        total_params: weights that a device needs.
        updates: optimiser steps behind its weights.
        wer: word error rate in percent.
        errors: words substituted, deleted and inserted.
        words: of the references.
        seconds: core-seconds of the training, of all its recognisers together.
        commit: of codert, that it was trained at, with + where files were changed; several, with
            commas between, where it was stopped and gone on with; None outside a checkout.
        command: that trains it.
        skipped: utterances of the split that could not be scored; a line has it where it is not 0.
        heard: those that it, or what it starts or learns from, was trained or chosen by, of any
            split but dev; likewise.
        weights: a digest of the file that was scored; earlier lines have none.
    """

    experiment: str
    plan: str
    strategy: str
    recogniser: str
    role: Literal["student", "teacher"]
    corpus: str
    split: str
    fold: int | None
    seed: int
    encoder_params: int
    total_params: int
    updates: int
    wer: float
    errors: int
    words: int
    seconds: float
    commit: str | None
    command: str
    skipped: int = 0
    heard: int = 0
    weights: str = ""

    @property
    def cell(self) -> Cell:
        """Where in the matrix it stands."""
        return Cell(self.plan, self.corpus, self.fold, self.seed)


@dataclass(frozen=True)
class Scored:
    """An utterance that a recogniser was scored on."""

    id: str
    speaker: str
    errors: int
    words: int


# The cell, the recogniser, the split.
Key = tuple[Cell, str, str]


class Records:
    """The results in a folder; files appear whole or not at all.

    Args:
        folder: of the experiment.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self) -> dict[Key, Record]:
        """All lines, save those whose utterances are not there.

        Raises:
            InputError: a line is broken.
        """
        return {
            key: record for key, record in self._all().items() if self._utterances(key).exists()
        }

    def _all(self) -> dict[Key, Record]:
        path = self.folder / RESULTS
        if not path.exists():
            return {}
        records = {}
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        for number, line in enumerate(lines, start=1):
            where = f"{path}, line {number}"
            try:
                record = build(Record, json.loads(line), where)
            except json.JSONDecodeError as error:
                raise InputError(f"{where}: not JSON: {error}; remove it") from None
            records[record.cell, record.recogniser, record.split] = record
        return records

    def add(self, record: Record, scores: Sequence[UtteranceScore]) -> None:
        """Keep a recogniser's scores, in place of those that it had.

        Raises:
            InputError: a line is broken, or the folder cannot be written to.
        """
        key = record.cell, record.recogniser, record.split
        rows = ["\t".join(_COLUMNS)]
        rows += [f"{s.id}\t{s.speaker}\t{s.errors}\t{s.words}" for s in scores]
        write_text(self._utterances(key), "\n".join(rows) + "\n")
        with self._alone():
            records = self._all() | {key: record}
            # In the order of names, whichever was first: the file is kept and compared.
            lines = [_line(records[key]) for key in sorted(records, key=_sortable)]
            write_text(self.folder / RESULTS, "\n".join(lines) + "\n")

    def keep_plan(self, name: str, plan: Plan) -> None:
        """Note what a plan said when it was recorded first.

        Raises:
            InputError: see `check_plan`, or the folder cannot be written to.
        """
        with self._alone():
            self.check_plan(name, plan)
            write_text(self._plan(name), json.dumps(plain(_in_common(plan)), indent=2) + "\n")

    def check_plan(self, name: str, plan: Plan) -> None:
        """Raises InputError where what is recorded was trained by another plan of this name."""
        path = self._plan(name)
        if path.is_file() and read_plan_json(path) != _in_common(plan):
            raise InputError(
                f"{path}: {name} was recorded with other settings than it has today; bring those "
                "back, call it something else, or remove this file and its results"
            )

    def scored(self, key: Key) -> list[Scored]:
        """The utterances of a recogniser.

        Raises:
            InputError: a row is broken.
        """
        path = self._utterances(key)
        # Not splitlines, which knows line breaks that an id may hold.
        header, *rows = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        if header.split("\t") != list(_COLUMNS):
            raise InputError(f"{path}, line 1: write {', '.join(_COLUMNS)} with tabs between")
        scored = []
        for number, row in enumerate(rows, start=2):
            try:
                id, speaker, errors, words = row.split("\t")
                scored.append(Scored(id, speaker, int(errors), int(words)))
            except ValueError:
                raise InputError(
                    f"{path}, line {number}: not {', '.join(_COLUMNS)}; remove the file, "
                    "and the experiment scores again"
                ) from None
        return scored

    def check_scored(self, key: Key, record: Record, utterances: Iterable[Utterance]) -> None:
        """Raises InputError where a recogniser was scored on others than it would be today.

        They are told by their ids and how many words they have.
        """
        scored = {each.id: each.words for each in self.scored(key)}
        spoken = (each for each in utterances if each.split == record.split)
        today = {each.id: len(normalise(each.text).split()) for each in spoken}
        new = today.keys() - scored
        other = {id for id, words in scored.items() if today.get(id) != words}
        if other := other or (new if len(new) > record.skipped else set()):
            raise InputError(
                f"{self._utterances(key)}: was scored on other utterances or texts than today, as "
                f"{min(other)} shows; bring those back, or call the experiment something else"
            )

    def _alone(self) -> AbstractContextManager[None]:
        """Scores of several cells may come in at once."""
        return locked(self.folder / f".{RESULTS}.lock")

    def _plan(self, name: str) -> Path:
        return self.folder / PLANS / f"{name}.json"

    def _utterances(self, key: Key) -> Path:
        cell, recogniser, split = key
        return self.folder / UTTERANCES / cell.name / f"{recogniser}-{split}.tsv"


def _in_common(plan: Plan) -> Plan:
    """A plan without what differs between its cells: seed, number of the fold, and places."""
    fold = plan.data.fold and replace(plan.data.fold, number=0)
    training = replace(plan.training, seed=0)
    return replace(placeless(plan), data=replace(plan.data, fold=fold), training=training)


def _line(record: Record) -> str:
    return json.dumps({k: v for k, v in plain(record).items() if v or k not in _RARE})


def _sortable(key: Key) -> tuple[str, int, int, str, str, str]:
    cell, recogniser, split = key
    fold = -1 if cell.fold is None else cell.fold
    return cell.corpus, fold, cell.seed, cell.plan, recogniser, split
