"""One recogniser of one plan on one corpus, trained from several seeds, as the records tell it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codert.errors import InputError
from codert.experiments.cells import Cell
from codert.experiments.matrix import Matrix
from codert.experiments.records import Key, Record


@dataclass(frozen=True)
class Trials:
    """The seeds of which all folds are recorded, S, on the same N utterances.

    Attributes:
        record: of one of the cells, for what all of them have in common.
        seeds: S.
        utterances: N folds and ids.
        speakers: of each utterance, N.
        words: of each utterance, (N,).
        errors: from each seed in each utterance, (S, N).
        skipped: utterances that could not be scored, of the seed that has most.
        heard: those that were trained on or chosen by, likewise.
        seconds: of computing by seed, all folds and the runs that the plan needs included; None
            where one of those is not recorded.
    """

    record: Record
    seeds: list[int]
    utterances: list[tuple[int | None, str]]
    speakers: list[str]
    words: npt.NDArray[np.int64]
    errors: npt.NDArray[np.int64]
    skipped: int
    heard: int
    seconds: dict[int, float] | None

    def of(self, seeds: list[int]) -> npt.NDArray[np.int64]:
        """The errors from some of the seeds."""
        return self.errors[[self.seeds.index(seed) for seed in seeds]]

    def rates(self) -> list[float]:
        """The word error rate from each seed, in percent."""
        return [100 * int(errors.sum()) / int(self.words.sum()) for errors in self.errors]

    def rates_by_fold(self) -> list[float]:
        """The mean over seeds of the word error rate, in percent, of each fold; none without."""
        of = np.array([fold for fold, _ in self.utterances])
        folds = sorted({fold for fold, _ in self.utterances if fold is not None})
        wrong, said = self.errors.mean(0), self.words
        return [100 * float(wrong[of == k].sum()) / int(said[of == k].sum()) for k in folds]


def trials_of(
    matrix: Matrix, records: Mapping[Key, Record], corpus: str, plan: str, recogniser: str
) -> Trials | None:
    """The trials of a recogniser; None where no seed is finished.

    Raises:
        InputError: the seeds were not scored on the same utterances.
    """
    whole: dict[int, list[Key]] = {}
    for seed in matrix.experiment.seeds:
        cells = [c for c in matrix.cells if (c.plan, c.corpus, c.seed) == (plan, corpus, seed)]
        keys = [(cell, recogniser, matrix.experiment.split) for cell in cells]
        if all(key in records for key in keys):
            whole[seed] = keys
    if not whole:
        return None
    scored = {
        seed: {(key[0].fold, each.id): each for key in keys for each in matrix.records.scored(key)}
        for seed, keys in whole.items()
    }
    first = next(iter(scored.values()))
    utterances = list(first)
    for seed, each in scored.items():
        if {u: x.words for u, x in each.items()} != {u: x.words for u, x in first.items()}:
            raise InputError(
                f"{matrix.records.folder}: {plan} was scored on other utterances or transcripts "
                f"from seed {seed} than from seed {next(iter(scored))}; remove its lines, to score "
                "it again"
            )
    costs = {
        seed: [_seconds(matrix, records, key[0]) for key in keys] for seed, keys in whole.items()
    }
    known = {seed: [cost for cost in each if cost is not None] for seed, each in costs.items()}
    return Trials(
        record=records[next(iter(whole.values()))[0]],
        seeds=list(whole),
        utterances=utterances,
        speakers=[first[u].speaker for u in utterances],
        words=np.array([first[u].words for u in utterances]),
        errors=np.array([[each[u].errors for u in utterances] for each in scored.values()]),
        skipped=max(sum(records[key].skipped for key in keys) for keys in whole.values()),
        heard=max(sum(records[key].heard for key in keys) for keys in whole.values()),
        seconds={seed: sum(each) for seed, each in known.items()} if known == costs else None,
    )


def _seconds(matrix: Matrix, records: Mapping[Key, Record], cell: Cell) -> float | None:
    """Of a cell's training and of all that it needs, each counted once."""
    found = [records.get(matrix.keys(each)[0]) for each in matrix.with_needs([cell])]
    known = [record.seconds for record in found if record is not None]
    return math.fsum(known) if len(known) == len(found) else None
