"""How sure a word error rate, or a difference between two, is.

Source: Bisani & Ney, "Bootstrap estimates for confidence intervals in ASR performance
evaluation" (ICASSP 2004). `bootstrap_interval` and `compare` draw what they are given with
replacement, the latter one fewer than there are: speakers with all that they said, where `by_drawn`
made the counts. So their figures are about the drawing of the test speech: a model trained again
from another seed is outside them. `compare_over_seeds`, of which `compare` is the case of one
seed, draws seeds and speakers. `mapsswe` draws nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from codert.errors import InputError

Number = TypeVar("Number", int, float)

# Draws held at once: 8 MiB.
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Interval:
    """A 95 % interval, in percent."""

    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """A system against a reference system on the same utterances.

    Attributes:
        werr: relative reduction of the word error rate, in percent; negative where it rose.
        low: lower end of its 95 % interval; -inf where the reference system makes none of its
            errors in more than a fortieth of the samples, and the system does in those.
        high: upper end, likewise.
        p: two-sided, for the hypothesis that both make equally many errors; in (0, 1].
    """

    werr: float
    low: float
    high: float
    p: float

    @property
    def interval(self) -> list[float] | None:
        """Both ends; None where one is not finite."""
        return [self.low, self.high] if math.isfinite(self.low) else None


def by_drawn(speakers: Sequence[str], *counts: Sequence[Number]) -> list[list[Number]]:
    """What is drawn: counts of utterances, each summed by speaker where there are several.

    What one speaker says is no independent drawing, so intervals over utterances are too narrow.
    """
    if len(set(speakers)) == 1:
        return [list(each) for each in counts]
    sums: list[dict[str, Number]] = [{} for _ in counts]
    for by_speaker, each in zip(sums, counts, strict=True):
        for speaker, count in zip(speakers, each, strict=True):
            by_speaker[speaker] = by_speaker.get(speaker, 0) + count
    return [list(by_speaker.values()) for by_speaker in sums]


def bootstrap_interval(
    errors: npt.ArrayLike, words: npt.ArrayLike, *, samples: int = 10_000, seed: int = 0
) -> Interval:
    """The 95 % percentile interval of a word error rate, in percent.

    Args:
        errors: of each speaker or utterance, (N,).
        words: of their references, (N,).
        samples: drawings of N of them.
        seed: of the drawings.

    Raises:
        InputError: the two differ in length, there are no words, or one utterance alone.
    """
    counts = _counts(errors, words)
    _check_many(counts.shape[1])
    if not counts[1].any():
        raise InputError("the references have no words; score utterances in which some are said")
    wrong, total = _resampled_sums(counts, samples, seed)
    return _interval(wrong, total)


def compare(
    reference_errors: npt.ArrayLike,
    system_errors: npt.ArrayLike,
    *,
    samples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """A system against a reference system by paired bootstrap; the words said cancel.

    The share of samples in which the difference is 0 or of the rarer sign, doubled, is p; one
    is added to count and samples, so that it is never 0. So p falls below 0.05 where the
    interval leaves 0 out; but it is never below 2 / 2^n, n being those drawn in which the two
    differ, for no test of that many signs can say more. Of fewer than six a bootstrap knows little:
    its interval is too narrow.

    Args:
        reference_errors: of the reference system in each speaker's speech or utterance, (N,).
        system_errors: of the system in the same, (N,).
        samples: drawings, as of `compare_over_seeds` from one seed.
        seed: of the drawings; the same one draws the same.

    Raises:
        InputError: the two differ in length, the reference system makes no errors, or there is one
            alone.
    """
    a, b = _counts(reference_errors, system_errors)
    each = [str(i) for i in range(len(a))]
    return compare_over_seeds(a[None], b[None], each, samples=samples, seed=seed)


def compare_over_seeds(
    reference_errors: npt.ArrayLike,
    system_errors: npt.ArrayLike,
    speakers: Sequence[str],
    *,
    samples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Two systems that were trained from several seeds, by a paired bootstrap over both.

    Each sample draws seeds and, independently, speakers with all that they said (the "pigeonhole
    bootstrap" of Owen, Annals of Applied Statistics 2007); both systems get the same draw, and p is
    as in `compare`. One fewer is drawn than there are, as else the variance of few would come out
    too small, by a third for three seeds (Rao & Wu, JASA 1988). With one seed the figures are
    about the speakers alone. Where all are of one speaker, utterances are drawn in their place.

    No bootstrap knows more seeds than it is given: where seeds differ more than the systems do,
    the interval ends at the seeds' own best and worst, which the truth lies outside of in a
    quarter of all cases with three seeds and in a sixteenth with five. Where seeds hardly differ
    but by what each makes of each speaker, that is counted several times, and the interval is too
    wide (docs/architecture.md, "Experiments").

    Args:
        reference_errors: of the reference system from each seed in each utterance, (S, N).
        system_errors: of the system, with the same seeds and utterances, (S, N).
        speakers: of each utterance, N.
        samples: drawings.
        seed: of the drawings.

    Raises:
        InputError: the shapes differ, the reference system makes no errors, or there is one seed
            and one utterance alone.
    """
    a, b = np.asarray(reference_errors, np.int64), np.asarray(system_errors, np.int64)
    if a.ndim != 2 or a.shape != b.shape or a.shape[1] != len(speakers):
        raise InputError(
            f"counts of {a.shape} and {b.shape} seeds and utterances of {len(speakers)} speakers; "
            "give both for the same ones"
        )
    drawn = speakers if len(set(speakers)) > 1 else [str(i) for i in range(len(speakers))]
    names, index = np.unique(np.asarray(drawn), return_inverse=True)
    _check_many(len(names) * len(a))
    by_speaker = np.zeros((2, len(names), len(a)), np.int64)
    for said_by, counts in zip(index, np.stack([a, b], axis=-1).swapaxes(0, 1), strict=True):
        by_speaker[:, said_by] += counts.T
    _check_errors(by_speaker[0])
    generator = np.random.default_rng(seed)
    rows = max(1, _CHUNK // len(names))
    sums = []
    for start in range(0, samples, rows):
        many = min(rows, samples - start)
        drawn_speakers, drawn_seeds = (
            _times_drawn(generator, n, many) for n in (len(names), len(a))
        )
        sums.append(np.stack([((drawn_speakers @ x) * drawn_seeds).sum(1) for x in by_speaker]))
    return _comparison(by_speaker, np.concatenate(sums, axis=1))


def mapsswe(reference_errors: npt.ArrayLike, system_errors: npt.ArrayLike) -> float:
    """p of the matched-pairs sentence-segment word error test, two-sided, in [0, 1].

    After Gillick & Cox, "Some statistical issues in the comparison of speech recognition
    algorithms" (ICASSP 1989) and Pallett, Fisher & Fiscus (ICASSP 1990): the mean difference of
    errors over independent segments, against its standard error, by the normal distribution. A
    segment is an utterance here, not a stretch between words that both recognised; as in NIST's
    sc_stats, those without an error of either are left out. With several seeds sum the errors of
    each utterance over them first: what several models do to one utterance is no independent
    segment. p is then about utterances, given these models. Of few segments the normal distribution
    knows too much, so p is never below 2 / 2^n, n being the segments in which the two differ: no
    test of that many signs can say more.

    Args:
        reference_errors: of the reference system in each utterance, (N,).
        system_errors: of the system in the same utterances, (N,).

    Raises:
        InputError: the two differ in length.
    """
    counts = _counts(reference_errors, system_errors)
    avoided = (counts[0] - counts[1])[counts.any(0)]
    if not avoided.any() or len(avoided) == 1:
        return 1.0
    least = _least(avoided)
    deviation = float(avoided.std(ddof=1))
    if deviation == 0:
        return least
    w = float(avoided.mean()) * math.sqrt(len(avoided)) / deviation
    return max(least, math.erfc(abs(w) / math.sqrt(2)))


def _counts(first: npt.ArrayLike, second: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Two counts of each utterance, (2, N)."""
    a, b = np.asarray(first, np.int64), np.asarray(second, np.int64)
    if a.ndim != 1 or a.shape != b.shape:
        raise InputError(
            f"counts of {a.shape} and {b.shape} utterances; give both for the same utterances"
        )
    return np.stack([a, b])


def _check_many(drawn: int) -> None:
    if drawn == 1:
        raise InputError("one drawn again and again says nothing of others; give two or more")


def _check_errors(reference: npt.NDArray[np.int64]) -> None:
    if not reference.any():
        raise InputError("the reference system makes no errors, so none can be avoided")


def _comparison(counts: npt.NDArray[np.int64], resampled: npt.NDArray[np.int64]) -> Comparison:
    """From the counts of both systems by what is drawn, (2, N, ...), and their sums in each
    sample, (2, samples)."""
    differences = (counts[0] - counts[1]).reshape(counts.shape[1], -1).sum(1)
    reference, system = resampled
    avoided = reference - system
    # Where there is no error to avoid, those that are made are infinitely many more.
    none = np.where(avoided < 0, -np.inf, 0.0)
    reduced = np.where(reference > 0, 100 * avoided / np.maximum(reference, 1), none)
    with np.errstate(invalid="ignore"):  # between -inf and anything
        bounds = np.percentile(reduced, [2.5, 97.5])
    low, high = np.nan_to_num(bounds, nan=-np.inf, neginf=-np.inf)
    against = min(int((avoided <= 0).sum()), int((avoided >= 0).sum()))
    return Comparison(
        werr=100 * float(differences.sum() / counts[0].sum()),
        low=float(low),
        high=float(high),
        p=min(1.0, max(_least(differences), 2 * (1 + against) / (1 + len(avoided)))),
    )


def _least(differences: npt.NDArray[np.int64]) -> float:
    """The least p that signs of so many differences can have."""
    return min(1.0, 2.0 * 0.5 ** int(np.count_nonzero(differences)))


def _times_drawn(generator: np.random.Generator, many: int, rows: int) -> npt.NDArray[np.int64]:
    """How often each of so many comes when one fewer is drawn, in each sample."""
    return generator.multinomial(max(1, many - 1), np.full(many, 1 / many), size=rows)


def _resampled_sums(
    counts: npt.NDArray[np.int64], samples: int, seed: int
) -> npt.NDArray[np.int64]:
    """Sums over N utterances drawn with replacement, (2, N) to (2, samples)."""
    generator = np.random.default_rng(seed)
    utterances = counts.shape[1]
    rows = max(1, _CHUNK // utterances)
    sums = []
    for start in range(0, samples, rows):
        drawn = generator.integers(utterances, size=(min(rows, samples - start), utterances))
        sums.append(np.stack([count[drawn].sum(1) for count in counts]))
    return np.concatenate(sums, axis=1)


def _interval(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> Interval:
    """Of 100 * part / whole; a sample whose whole is 0 has no rate and is left out."""
    some = whole > 0
    low, high = np.percentile(100 * part[some] / whole[some], [2.5, 97.5])
    return Interval(float(low), float(high))
