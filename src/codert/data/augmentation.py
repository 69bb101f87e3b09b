"""Changes to what is heard that leave what is said."""

import hashlib
from dataclasses import dataclass

import numpy as np

from codert.data.audio import Samples, resampled
from codert.data.features import Features


@dataclass(frozen=True)
class SpecAugment:
    """Stripes of time and of frequency, filled with the utterance's mean.

    A mask is up to `time_width` frames or `frequency_width` bands wide.
    """

    time_masks: int
    time_width: int
    frequency_masks: int
    frequency_width: int

    def __post_init__(self) -> None:
        """Refuse negative counts and widths."""
        if min(self.time_masks, self.time_width, self.frequency_masks, self.frequency_width) < 0:
            raise ValueError("masks and widths must be 0 or more")

    def __call__(self, features: Features, rng: np.random.Generator) -> Features:
        """A copy of `features` (T, mels) with masks drawn from `rng`."""
        masked = features.copy()
        frames, mels = features.shape
        mean = features.mean()
        for _ in range(self.time_masks):
            masked[_stripe(frames, self.time_width, rng)] = mean
        for _ in range(self.frequency_masks):
            masked[:, _stripe(mels, self.frequency_width, rng)] = mean
        return masked


def _stripe(length: int, width: int, rng: np.random.Generator) -> slice:
    size = int(rng.integers(min(width, length) + 1))
    start = int(rng.integers(length - size + 1))
    return slice(start, start + size)


@dataclass(frozen=True)
class Noise:
    """Noise from white to brown, at `low_db` to `high_db` decibels below the signal."""

    low_db: float
    high_db: float

    def __post_init__(self) -> None:
        """Refuse an empty range."""
        if self.low_db > self.high_db:
            raise ValueError("low_db must not be above high_db")

    def __call__(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """`samples` (N,) with noise drawn from `rng`; silence stays silent."""
        # Power falls with f to the colour: 0 is white, 1 pink, 2 brown.
        colour = rng.uniform(0.0, 2.0)
        decibels = rng.uniform(self.low_db, self.high_db)
        size = -(-len(samples) // 2048) * 2048  # such lengths transform fast
        spectrum = rng.standard_normal(size + 2, dtype=np.float32).view(np.complex64)
        rank = np.maximum(np.arange(len(spectrum), dtype=np.float32), 1.0)
        noise = np.fft.irfft(spectrum * rank ** np.float32(-colour / 2))[: len(samples)]
        level = np.sqrt(np.mean(np.square(samples)) / np.mean(np.square(noise)))
        return samples + noise.astype(np.float32) * np.float32(level * 10 ** (-decibels / 20))


def spoken_faster(samples: Samples, speed: float) -> Samples:
    """`samples` (N,) as (N / speed,): faster and higher, as a tape played faster."""
    return resampled(samples, speed, 1.0)


@dataclass(frozen=True)
class Augmentation:
    """What each epoch changes; drawn by the seed, the epoch and the utterance's id alone.

    Attributes:
        seed: of all draws.
        speeds: factors of which one is drawn.
        noise: on the samples, or None.
        masks: on the features, or None.
    """

    seed: int = 0
    speeds: tuple[float, ...] = (1.0,)
    noise: Noise | None = None
    masks: SpecAugment | None = None

    def speed(self, id: str, epoch: int) -> float:
        """The factor that an utterance is spoken faster by."""
        if len(self.speeds) == 1:
            return self.speeds[0]
        return self.speeds[self._digest("speed", id, epoch) % len(self.speeds)]

    def noisy(self, samples: Samples, id: str, epoch: int) -> Samples:
        """An utterance's `samples` (N,) with its noise."""
        return self.noise(samples, self._rng("noise", id, epoch)) if self.noise else samples

    def masked(self, features: Features, id: str, epoch: int) -> Features:
        """An utterance's `features` (T, mels) with its masks."""
        return self.masks(features, self._rng("masks", id, epoch)) if self.masks else features

    def _rng(self, purpose: str, id: str, epoch: int) -> np.random.Generator:
        return np.random.default_rng(self._digest(purpose, id, epoch))

    def _digest(self, purpose: str, id: str, epoch: int) -> int:
        """What the draws for an utterance start from, the same in every process."""
        content = f"{self.seed} {purpose} {epoch} {id}".encode()
        return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")
