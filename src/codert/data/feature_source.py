"""Where an epoch's features come from: a cache on disk, or the audio each time."""

import os
from collections.abc import Sequence
from pathlib import Path

from codert.data.audio import AudioError, in_file, read_audio
from codert.data.augmentation import Augmentation, spoken_faster
from codert.data.feature_cache import FeatureCache
from codert.data.features import Fbank, FeatureConfig, Features
from codert.data.manifest import Utterance
from codert.data.skipped import too_long
from codert.errors import InputError

# Without a cache batches are made before audio is read: what is so many times as long as said
# could take all memory.
_MISTAKEN = 2.0


class CachedFeatures:
    """Features that were computed once for each speed; without noise."""

    slow = False  # whether batches are better made ahead

    def __init__(
        self,
        folder: Path,
        utterances: Sequence[Utterance],
        config: FeatureConfig,
        augmentation: Augmentation,
        max_seconds: float,
    ) -> None:
        """Fill or open the caches in `folder`, which hold `utterances` and no others.

        Raises:
            InputError: the folder cannot be written to, or the disk is full.
        """
        self._shift_ms, self._augmentation = config.shift_ms, augmentation
        self._max_seconds = max_seconds
        try:
            self._caches = {
                speed: FeatureCache.open(folder, utterances, config, speed)
                for speed in augmentation.speeds
            }
        except InputError as error:
            on_the_fly = "data.cache: false computes features on the fly and keeps none"
            raise InputError(f"{error}; {on_the_fly}") from None

    def objection(self, utterance: Utterance) -> str | None:
        """Why its audio could not be read, or that it is too long, whatever a manifest says."""
        for cache in self._caches.values():
            if utterance.id in cache.unreadable:
                return cache.unreadable[utterance.id]
        speed = min(self._caches, key=lambda each: abs(each - 1))
        # The least that so many frames can have been at their own speed: they were rounded.
        frames = int((self.frames(utterance, speed) - 0.5) * speed + 0.5)
        return too_long(frames * self._shift_ms / 1000, self._max_seconds)

    def frames(self, utterance: Utterance, speed: float) -> int:
        """T of an utterance at one of the speeds."""
        return self._caches[speed].frames(utterance.id)

    def features(self, utterance: Utterance, epoch: int) -> Features:
        """The features (T, mels) of an utterance, at the epoch's speed."""
        return self._caches[self._augmentation.speed(utterance.id, epoch)][utterance.id]


class DirectFeatures:
    """Features that are computed anew from the audio each time."""

    slow = True

    def __init__(
        self, config: FeatureConfig, augmentation: Augmentation, max_seconds: float, training: bool
    ) -> None:
        """Read nothing yet; in `training` much more audio than a manifest says is refused."""
        self._fbank, self._augmentation = Fbank(config), augmentation
        self._max_seconds, self._training = max_seconds, training

    def objection(self, utterance: Utterance) -> str | None:
        """That there is no such file."""
        there = os.path.isfile(utterance.audio)  # which raises nothing
        return None if there else f"{utterance.audio}: no such file"

    def frames(self, utterance: Utterance, speed: float) -> int:
        """T of an utterance at a speed, if it is as long as its manifest says."""
        return self._fbank.config.frames(utterance.seconds / speed)

    def features(self, utterance: Utterance, epoch: int) -> Features:
        """The features (T, mels) of an utterance, at the epoch's speed and with its noise.

        Raises:
            AudioError: the recording cannot be used, or is longer than it may be.
        """
        rate = self._fbank.config.rate
        samples = read_audio(utterance.audio, rate)
        seconds = len(samples) / rate
        if reason := too_long(seconds, self._max_seconds):
            raise AudioError(reason)
        with in_file(utterance.audio):
            if self._training and seconds > _MISTAKEN * utterance.seconds:
                raise AudioError(
                    f"{seconds:.1f} s of audio, and its batch was made for "
                    f"{utterance.seconds:.3g} s; mend its seconds in the manifest"
                )
            samples = spoken_faster(samples, self._augmentation.speed(utterance.id, epoch))
            return self._fbank(self._augmentation.noisy(samples, utterance.id, epoch))


# Both are asked alike: what objects to an utterance, how many frames it has, and its features.
FeatureSource = CachedFeatures | DirectFeatures
