"""The best student within a budget, and the curve of WER against size that it is a point of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import stdev
from typing import Literal, TypedDict

from codert.decoding.transcriber import Transcriber
from codert.errors import InputError
from codert.evaluation.speed import real_time_factor
from codert.experiments.candidates import Candidate, candidates


@dataclass(frozen=True)
class Budget:
    """The most that a recogniser may take; infinite where it does not matter.

    Attributes:
        mb: megabytes (of 1,000,000 bytes) of weights on disk.
        rtf: real-time factor on the machine that chooses.
    """

    mb: float = math.inf
    rtf: float = math.inf

    def excess(self, point: "Point") -> float:
        """The larger of the two shares of the budget that a recogniser takes; at most 1 fits."""
        return max(point["mb"] / self.mb, point["rtf"] / self.rtf)

    def __str__(self) -> str:
        """As a person says it."""
        limits = [f"{self.mb:g} MB"] if math.isfinite(self.mb) else []
        limits += [f"a real-time factor of {self.rtf:g}"] if math.isfinite(self.rtf) else []
        return " and ".join(limits) or "no limit"


class Point(TypedDict):
    """A recogniser as it was recorded and measured.

    Attributes:
        folder: of the recogniser from one of the seeds, as RUN of every command.
        experiment: by its name.
        plan: of the experiment.
        recogniser: of the plan.
        role: student or teacher; only students are chosen.
        total_params: weights that a device needs.
        mb: megabytes of its weights on disk.
        rtf: real-time factor, one thread and one utterance at a time.
        seeds: that it was trained from.
        wer: the mean over seeds of the word error rate, in percent.
        wer_sd: its standard deviation over seeds; null for one.
        fits: whether it is within the budget.
        on_curve: whether no student that is as small or smaller has as low a WER.
    """

    folder: str
    experiment: str
    plan: str
    recogniser: str
    role: Literal["student", "teacher"]
    total_params: int
    mb: float
    rtf: float
    seeds: list[int]
    wer: float
    wer_sd: float | None
    fits: bool
    on_curve: bool


class Choice(TypedDict):
    """What was chosen, and from what.

    Attributes:
        corpus: that all were trained and scored on.
        split: that the error rates are of.
        chosen: the best student that fits.
        points: all, the smallest first.
        left_out: what is not scored on all folds yet, and what has no run with the scored weights.
    """

    corpus: str
    split: str
    chosen: Point
    points: list[Point]
    left_out: list[str]


def choose(
    folders: Sequence[Path], split: str, budget: Budget, corpus: str | None = None
) -> Choice:
    """The student with the lowest recorded WER that fits, the smaller of two that are as good.

    Args:
        folders: of experiments, or of runs in them.
        split: that was scored; nothing is scored again.
        budget: that is to be kept to.
        corpus: that was scored, by its name in the experiment; None where there is but one.

    Raises:
        InputError: there are no results or no runs, they do not compare, or no student fits.
    """
    found, left_out = candidates(folders, split, corpus)
    points = sorted((_point(each, budget) for each in found), key=lambda p: (p["mb"], p["wer"]))
    students = [point for point in points if point["role"] == "student"]
    if not students:
        raise InputError(
            f"{folders[0]}: has results of teachers alone; name runs that have a student"
        )
    best = math.inf
    for point in students:
        point["on_curve"] = point["wer"] < best
        best = min(best, point["wer"])
    fitting = [point for point in students if point["fits"]]
    if not fitting:
        nearest = min(students, key=budget.excess)
        raise InputError(
            f"no student is within {budget}; the nearest is {nearest['folder']}: "
            f"{nearest['mb']:.3g} MB, real-time factor {nearest['rtf']:.2g}, "
            f"WER {nearest['wer']:.1f}%; raise the budget, or train a smaller one"
        )
    return Choice(
        corpus=found[0].record.corpus,
        split=split,
        chosen=min(fitting, key=lambda point: (point["wer"], point["mb"])),
        points=points,
        left_out=left_out,
    )


def _point(candidate: Candidate, budget: Budget) -> Point:
    record, rates = candidate.record, list(candidate.wer_by_seed.values())
    point = Point(
        folder=str(candidate.folder),
        experiment=record.experiment,
        plan=record.plan,
        recogniser=record.recogniser,
        role=record.role,
        total_params=record.total_params,
        mb=candidate.size / 1e6,
        rtf=real_time_factor(Transcriber.load(candidate.folder)),
        seeds=list(candidate.wer_by_seed),
        wer=candidate.wer,
        wer_sd=stdev(rates) if len(rates) > 1 else None,
        fits=False,
        on_curve=False,
    )
    point["fits"] = budget.excess(point) <= 1
    return point
