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
    """An edge's weight: 0 before `start`, whole after `ramp` more; from `end` on it fades to 0.

    Attributes:
        start: the part of the run without the edge.
        ramp: the part of the run over which it comes up.
        end: where in the run it begins to fade.
        fade: the part of the run over which it goes down.
    """

    start: float = 0.0
    ramp: float = 0.0
    end: float = 1.0
    fade: float = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError unless all are parts of a run, in order."""
        if not (min(self.ramp, self.fade) >= 0 and 0 <= self.start <= self.end <= 1):
            raise ValueError(
                "start and end are from 0 to 1, in this order; ramp and fade not below 0"
            )

    def at(self, progress: float) -> float:
        """The factor at a progress of 0 to 1."""
        if progress < self.start:
            return 0.0
        up = (progress - self.start) / self.ramp if self.ramp else 1.0
        if progress <= self.end:
            return min(1.0, up)
        return min(up, max(0.0, 1 - (progress - self.end) / self.fade)) if self.fade else 0.0
