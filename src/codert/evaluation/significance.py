"""How sure a word error rate, or a difference between two, is.

Source: Bisani & Ney, "Bootstrap estimates for confidence intervals in ASR performance
evaluation" (ICASSP 2004). Utterances are drawn with replacement, so all figures here are about
the drawing of the test utterances: a model trained again from another seed is outside them.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codert.errors import InputError

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
        low: lower end of its 95 % interval.
        high: upper end.
        p: two-sided, for the hypothesis that both make equally many errors; in (0, 1].
    """

    werr: float
    low: float
    high: float
    p: float


def bootstrap_interval(
    errors: npt.ArrayLike, words: npt.ArrayLike, *, samples: int = 10_000, seed: int = 0
) -> Interval:
    """The 95 % percentile interval of a word error rate, in percent.

    Args:
        errors: of each utterance, (N,).
        words: of each utterance's reference, (N,).
        samples: drawings of N utterances.
        seed: of the drawings.

    Raises:
        InputError: the two differ in length, or there are no words.
    """
    counts = _counts(errors, words)
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
    interval leaves 0 out.

    Args:
        reference_errors: of the reference system in each utterance, (N,).
        system_errors: of the system in the same utterances, (N,).
        samples: drawings of N utterances.
        seed: of the drawings; the same one draws the same utterances.

    Raises:
        InputError: the two differ in length, or the reference system makes no errors.
    """
    counts = _counts(reference_errors, system_errors)
    if not counts[0].any():
        raise InputError("the reference system makes no errors, so none can be avoided")
    reference, system = _resampled_sums(counts, samples, seed)
    avoided = reference - system
    interval = _interval(avoided, reference)
    observed, all_errors = int(counts[0].sum() - counts[1].sum()), int(counts[0].sum())
    against = min(int((avoided <= 0).sum()), int((avoided >= 0).sum()))
    return Comparison(
        werr=100 * observed / all_errors,
        low=interval.low,
        high=interval.high,
        p=min(1.0, 2 * (1 + against) / (1 + samples)),
    )


def _counts(first: npt.ArrayLike, second: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Two counts of each utterance, (2, N)."""
    a, b = np.asarray(first, np.int64), np.asarray(second, np.int64)
    if a.ndim != 1 or a.shape != b.shape:
        raise InputError(
            f"counts of {a.shape} and {b.shape} utterances; give both for the same utterances"
        )
    return np.stack([a, b])


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
