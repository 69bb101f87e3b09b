"""Many numbers as a few: mean and quantiles; how sure a mean is."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codert.errors import InputError

Numbers = npt.NDArray[np.float64]

# Of the quantiles; in percent.
STEPS = tuple(range(0, 101, 5))


@dataclass(frozen=True)
class Distribution:
    """How numbers are spread.

    Attributes:
        count: how many there are.
        mean: of them.
        quantiles: at 0, 5, ..., 100 %; the smallest, every twentieth part, the largest.
    """

    count: int
    mean: float
    quantiles: tuple[float, ...]

    @classmethod
    def of(cls, values: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> "Distribution":
        """Of values (N,), each as often as its weight (N,) says, or once.

        Raises:
            InputError: there are none.
        """
        x = np.asarray(values, np.float64)
        w = np.ones_like(x) if weights is None else np.asarray(weights, np.float64)
        if not w.sum() > 0:
            raise InputError("nothing to measure: no utterance has what is asked for")
        order = np.argsort(x, kind="stable")
        below = np.cumsum(w[order]) / w.sum()
        # Where the distribution function reaches each step; the least of those with a weight.
        at = np.searchsorted(below, np.asarray(STEPS) / 100 - 1e-12)
        first = int(np.flatnonzero(w[order])[0])
        quantiles = x[order][np.clip(at, first, len(x) - 1)]
        return cls(len(x), float((w * x).sum() / w.sum()), tuple(map(float, quantiles)))


@dataclass(frozen=True)
class Difference:
    """By how much one mean is above another.

    Attributes:
        mean: the difference.
        low: lower end of its 95 % interval, by drawing speakers (utterances, where all are of
            one) again with replacement; null where no more than one has what is measured, which
            says nothing of others.
        high: upper end, likewise.
        share: the difference as a share of the first mean.
    """

    mean: float
    low: float | None
    high: float | None
    share: float

    @property
    def held(self) -> bool | None:
        """Whether the interval is above 0; None where there is none."""
        return None if self.low is None else self.low > 0

    def __str__(self) -> str:
        """As in 0.12 [0.10, 0.14]."""
        ends = "of one alone" if self.low is None else f"[{self.low:.2f}, {self.high:.2f}]"
        return f"{self.mean:.2f} {ends}"

    @classmethod
    def of(
        cls,
        first: npt.ArrayLike,
        second: npt.ArrayLike,
        sizes: npt.ArrayLike,
        *,
        samples: int = 2000,
        seed: int = 0,
    ) -> "Difference":
        """Of means over all that is drawn: speakers, or utterances.

        Args:
            first: the sum over each, (N,).
            second: likewise, (N,).
            sizes: over how much each one's sums go, (N,).
            samples: drawings of N of them.
            seed: of the drawings.

        Raises:
            InputError: there is nothing.
        """
        a, b, n = (np.asarray(x, np.float64) for x in (first, second, sizes))
        if not n.sum() > 0:
            raise InputError("nothing to measure: no utterance has what is asked for")
        mean = float((a - b).sum() / n.sum())
        share = mean * float(n.sum() / a.sum()) if a.any() else 0.0
        if np.count_nonzero(n) == 1:
            return cls(mean, None, None, share)
        # One drawing at a time, so that memory does not grow with samples x N.
        generator = np.random.default_rng(seed)
        drawn = np.empty(samples)
        for i in range(samples):
            rows = generator.integers(len(n), size=len(n))
            size = n[rows].sum()
            drawn[i] = (a - b)[rows].sum() / size if size > 0 else np.nan
        low, high = np.nanpercentile(drawn, [2.5, 97.5])
        return cls(mean, float(low), float(high), share)
