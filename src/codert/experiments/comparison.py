"""An experiment's table: the mean over seeds, what was gained over the reference, and what for."""

from statistics import mean, stdev
from typing import Literal, TypedDict

import numpy as np

from codert.errors import InputError
from codert.evaluation.significance import compare_over_seeds, mapsswe
from codert.experiments.matrix import Matrix
from codert.experiments.records import RESULTS
from codert.experiments.trials import Trials, trials_of


class Row(TypedDict):
    """How well one recogniser of one plan did; rates in percent, null where none applies.

    Attributes:
        corpus: that it was trained and scored on.
        plan: in the matrix.
        strategy: a label.
        recogniser: of the plan.
        role: student or teacher.
        split: that it was scored on.
        encoder_params: weights of its encoder.
        total_params: weights that a device needs.
        seeds: of which all folds are recorded.
        wer: the mean over seeds of the word error rate, the folds of each taken together.
        wer_sd: its standard deviation over seeds; null for one.
        wer_by_seed: of each of `seeds`.
        wer_by_fold: of each fold, the mean over seeds; empty where there are no folds.
        skipped: utterances that could not be scored, of the seed that has most.
        heard: those that were trained on or chosen by, of a split other than dev, likewise.
        reference: the plan that it is compared with.
        werr: relative reduction against the reference, over the seeds that both have.
        werr_ci: its 95 % interval over seeds and speakers; null where the reference makes too few
            errors for one.
        p: of the two being equally good, likewise.
        mapsswe: p over utterances, for these models.
        werr_by_seed: of each seed that both have; null where the reference makes no error.
        seconds: of computing for one seed, on average, all folds and what the plan needs included.
        cost: computing as a multiple of the reference's, over the seeds that both have.
    """

    corpus: str
    plan: str
    strategy: str
    recogniser: str
    role: Literal["student", "teacher"]
    split: str
    encoder_params: int
    total_params: int
    seeds: list[int]
    wer: float
    wer_sd: float | None
    wer_by_seed: list[float]
    wer_by_fold: list[float]
    skipped: int
    heard: int
    reference: str
    werr: float | None
    werr_ci: list[float] | None
    p: float | None
    mapsswe: float | None
    werr_by_seed: list[float | None] | None
    seconds: float | None
    cost: float | None


def rows_of(matrix: Matrix, against: str | None = None) -> list[Row]:
    """The table, from the records alone: the runs need not be there.

    Args:
        matrix: the experiment and its folder.
        against: the plan to compare with, in place of the experiment's reference.

    Raises:
        InputError: there are no records, an unknown plan, one that was recorded with other
            settings, or two that were scored on different utterances.
    """
    reference = matrix.reference(against)
    matrix.check_recorded()
    records = matrix.records.read()
    rows = []
    for corpus in matrix.experiment.corpora:
        found = [
            trials
            for plan, each in matrix.plans.items()
            for recogniser in each.plan.made
            if (trials := trials_of(matrix, records, corpus, plan, recogniser))
        ]
        # A plan stands for what its student does, where it has one.
        of_reference = [trials for trials in found if trials.record.plan == reference]
        base = min(of_reference, key=lambda t: t.record.role != "student", default=None)
        rows += [_row(trials, reference, base) for trials in found]
    if not rows:
        raise InputError(
            f"{matrix.records.folder}: nothing of {matrix.experiment.name} is recorded yet; "
            "run it without --table"
        )
    return rows


def _row(trials: Trials, reference: str, base: Trials | None) -> Row:
    record, rates = trials.record, trials.rates()
    row = Row(
        corpus=record.corpus,
        plan=record.plan,
        strategy=record.strategy,
        recogniser=record.recogniser,
        role=record.role,
        split=record.split,
        encoder_params=record.encoder_params,
        total_params=record.total_params,
        seeds=trials.seeds,
        wer=mean(rates),
        wer_sd=stdev(rates) if len(rates) > 1 else None,
        wer_by_seed=rates,
        wer_by_fold=trials.rates_by_fold(),
        skipped=trials.skipped,
        heard=trials.heard,
        reference=reference,
        werr=None,
        werr_ci=None,
        p=None,
        mapsswe=None,
        werr_by_seed=None,
        seconds=mean(trials.seconds.values()) if trials.seconds else None,
        cost=_cost(trials, base) if base else None,
    )
    if base is not None and base is not trials:
        _compare(row, trials, base)
    return row


def _cost(trials: Trials, base: Trials) -> float | None:
    if not trials.seconds or not base.seconds:
        return None
    both = trials.seconds.keys() & base.seconds.keys()
    of_reference = sum(base.seconds[seed] for seed in both)
    return sum(trials.seconds[seed] for seed in both) / of_reference if of_reference else None


def _compare(row: Row, trials: Trials, base: Trials) -> None:
    """Fill in what was gained over the reference."""
    if trials.utterances != base.utterances or not np.array_equal(trials.words, base.words):
        raise InputError(
            f"{trials.record.plan} and {base.record.plan} were scored on different utterances or "
            f"transcripts of {trials.record.corpus}; give both the same test speakers, or remove "
            f"the lines of one from {RESULTS}, to score it again"
        )
    both = [seed for seed in trials.seeds if seed in base.seeds]
    errors, before = trials.of(both), base.of(both)
    if not both or not before.any():
        return  # no errors that could be avoided
    if len(both) > 1 or len(trials.utterances) > 1:
        gain = compare_over_seeds(before, errors, trials.speakers)
        row["werr"], row["werr_ci"], row["p"] = gain.werr, gain.interval, gain.p
    row["mapsswe"] = mapsswe(before.sum(0), errors.sum(0))
    row["werr_by_seed"] = [
        100 * (int(b.sum()) - int(e.sum())) / int(b.sum()) if b.any() else None
        for b, e in zip(before, errors, strict=True)
    ]
