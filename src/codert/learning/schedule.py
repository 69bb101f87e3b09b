"""What changes over a run, as functions of its progress from 0 to 1."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class RateSchedule:
    """Linear warm-up to a peak, then a half cosine down to a hundredth of it.

    Attributes:
        peak: the largest learning rate.
        warmup: the part of the run before it.
    """

    peak: float = 4e-3
    warmup: float = 0.15

    def __post_init__(self) -> None:
        """Raises ValueError where no such schedule can be."""
        if self.peak <= 0 or not 0 <= self.warmup < 1:
            raise ValueError("peak is above 0, and warmup from 0 to less than 1")

    def at(self, progress: float) -> float:
        """The learning rate at a progress of 0 to 1."""
        if progress < self.warmup:
            return self.peak * (0.04 + 0.96 * progress / self.warmup)
        fall = (progress - self.warmup) / (1 - self.warmup)
        return self.peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, fall))))


@dataclass(frozen=True)
class EdgeSchedule:
    """An edge's weight: 0 before `start`, whole after `ramp` more.

    Attributes:
        start: the part of the run without the edge.
        ramp: the part of the run over which it comes up.
    """

    start: float = 0.0
    ramp: float = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError unless both are parts of a run."""
        if not (0 <= self.start <= 1 and 0 <= self.ramp <= 1):
            raise ValueError("start and ramp are from 0 to 1")

    def at(self, progress: float) -> float:
        """The factor at a progress of 0 to 1."""
        if progress < self.start:
            return 0.0
        return min(1.0, (progress - self.start) / self.ramp) if self.ramp else 1.0
