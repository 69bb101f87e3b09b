"""Utterances of one split as batches of features and labels."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from codert.data.audio import AudioError, in_file, read_audio
from codert.data.config import DataConfig
from codert.data.feature_cache import FeatureCache, even_sample, spoken_faster
from codert.data.features import Fbank, FeatureConfig, Features, mean_and_deviation
from codert.data.manifest import Utterance
from codert.data.text import normalise
from codert.data.wordpieces import BLANK, WordPieces
from codert.errors import InputError

_UNCOVERED = "no word-piece covers"
# Without a cache batches are made before audio is read: what is so many times as long as said
# could take all memory.
_MISTAKEN = 2.0
# Lengths are moved by up to this share before they are sorted, so that batches mix anew.
_JITTER = 0.1


@dataclass(frozen=True)
class Skipped:
    """An utterance that is left out, and why."""

    id: str
    reason: str


@dataclass
class Batch:
    """B utterances, padded with zeros; of a training all with a transcript, or all without.

    Args:
        index: its place in the epoch.
        ids: B ids.
        features: (B, T, F) float32.
        frame_lengths: (B,) int64.
        labels: (B, U) int64.
        label_lengths: (B,) int64.
    """

    index: int
    ids: list[str]
    features: Tensor
    frame_lengths: Tensor
    labels: Tensor
    label_lengths: Tensor

    @property
    def transcribed(self) -> bool:
        """Whether there are labels."""
        return self.labels.shape[1] > 0

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`."""
        return Batch(
            self.index,
            self.ids,
            self.features.to(device),
            self.frame_lengths.to(device),
            self.labels.to(device),
            self.label_lengths.to(device),
        )


class Dataset:
    """The usable utterances of one split.

    What cannot be used never stops a training: it is in `skipped` with the reason. All
    that is drawn depends on the seed, the epoch and the utterance's id alone, so a run goes
    on from (epoch, number of batches) as if it had not been stopped.
    """

    def __init__(
        self,
        utterances: Iterable[Utterance],
        pieces: WordPieces,
        features: FeatureConfig,
        config: DataConfig,
        cache: Path,
        *,
        training: bool,
        seed: int = 0,
    ) -> None:
        """Look through `utterances` and fill or open the feature cache in folder `cache`.

        Raises:
            InputError: no utterance is left, or the cache cannot be written.
        """
        self.skipped: list[Skipped] = []
        self.utterances: dict[str, Utterance] = {}
        self.texts: dict[str, str] = {}
        self._config, self._training, self._seed = config, training, seed
        self._features, self._fbank = features, Fbank(features)
        self._speeds = config.speeds if training else (1.0,)
        self._noise = config.noise if training else None
        self._caches: dict[float, FeatureCache] = {}
        everything = list(utterances)
        # What is known to be too long is not even read.
        short = [each for each in everything if not self._too_long(each.seconds)]
        if config.cache and self._noise is None:
            try:
                for speed in self._speeds:
                    self._caches[speed] = FeatureCache.open(cache, short, features, speed)
            except InputError as error:
                on_the_fly = "data.cache: false computes features on the fly and keeps none"
                raise InputError(f"{error}; {on_the_fly}") from None
        for utterance in everything:
            text = normalise(utterance.text)
            if reason := self._objection(utterance, text, pieces):
                self.skipped.append(Skipped(utterance.id, reason))
            else:
                self.utterances[utterance.id] = utterance
                self.texts[utterance.id] = text
        split = f" of split {everything[0].split}" if everything else ""
        self._named = f"{len(everything)} utterances{split}"
        if not self.utterances:
            raise self.none_left()
        # Arrays, not lists: of all of LibriSpeech these would take half a gigabyte.
        self._labels = {
            id: np.array(pieces.encode(text), np.int32) for id, text in self.texts.items()
        }

    def _objection(self, utterance: Utterance, text: str, pieces: WordPieces) -> str | None:
        if too_long := self._too_long(utterance.seconds):
            return too_long
        for cache in self._caches.values():
            if utterance.id in cache.unreadable:
                return cache.unreadable[utterance.id]
        # Not what a manifest says, where the audio has been read.
        if self._caches:
            if too_long := self._too_long(self._cached_seconds(utterance.id)):
                return too_long
        elif not os.path.isfile(utterance.audio):  # which raises nothing
            return f"{utterance.audio}: no such file"
        if not text and not self._training:
            return "no text"
        if not text and not self._config.untranscribed:
            return "no text; with data.untranscribed: true an edge teaches from it"
        if self._training and (character := pieces.uncovered(text)):
            return f"{_UNCOVERED} {character!r}"
        return None

    def _cached_seconds(self, id: str) -> float:
        """The least that a recording with these features can last, at its own speed."""
        speed = min(self._caches, key=lambda each: abs(each - 1))
        # Frames are rounded: so many less a half, and at another speed those of its own.
        frames = int((self._caches[speed].frames(id) - 0.5) * speed + 0.5)
        return frames * self._features.shift_ms / 1000

    def _too_long(self, seconds: float) -> str | None:
        most = self._config.max_seconds
        return f"{seconds:.1f} s of audio; max_seconds is {most:g}" if seconds > most else None

    def __len__(self) -> int:
        """The number of utterances."""
        return len(self.utterances)

    @property
    def digest(self) -> str:
        """Of the ids and labels of all utterances: what a run that is resumed must find again."""
        digest = hashlib.blake2b(digest_size=16)
        for id, labels in self._labels.items():
            digest.update(f"{id}\0{len(labels)}\0".encode() + labels.tobytes())
        return digest.hexdigest()

    @property
    def frames(self) -> int:
        """Of the features of all utterances, at every speed."""
        return sum(self._frames(id, s) for s in set(self._speeds) for id in self.utterances)

    def none_left(self) -> InputError:
        """The error where nothing can be used."""
        why = f"; the last: {self.skipped[-1].reason}" if self.skipped else ""
        if _UNCOVERED in why:
            why += "; to train word-pieces on these texts, settings have wordpieces.size and "
            why += "neither wordpieces.model nor start"
        return InputError(f"none of {self._named} can be used{why}")

    def skip(self, reasons: Mapping[str, str]) -> None:
        """Note utterances, by their ids, that were found to be broken."""
        known = {each.id for each in self.skipped}
        self.skipped += [Skipped(id, why) for id, why in reasons.items() if id not in known]

    def batches_in(self, epoch: int) -> int:
        """The number of batches of an epoch."""
        return len(self._plan(epoch))

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number `start` on.

        In training, utterances of about the same length come together, those without a text by
        themselves, and the batches in random order; otherwise each comes once, the short ones
        first. A recording that turns out to be broken is added to `skipped`.
        """
        plan = list(enumerate(self._plan(epoch)))[start:]
        if self._caches:
            made: Iterator[Batch | None] = (self._batch(i, ids, epoch) for i, ids in plan)
        else:
            made = self._made_ahead(plan, epoch)
        yield from (batch for batch in made if batch is not None)

    def mean_and_deviation(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (F,) of the features, over a fixed sample of utterances.

        Raises:
            InputError: none of the sample can be read.
        """
        sample = even_sample(list(self.utterances))
        heard = (self._heard(id, 0) for id in sample)
        try:
            mean, deviation = mean_and_deviation(each for each in heard if each is not None)
        except AudioError:
            raise self.none_left() from None
        return torch.from_numpy(mean), torch.from_numpy(deviation)

    def _plan(self, epoch: int) -> list[list[str]]:
        """The ids of each batch, a function of the seed and the epoch."""
        ids = list(self.utterances)
        lengths = np.array([self._length(id, epoch) for id in ids])
        budget = self._features.frames(self._config.batch_seconds)
        if not self._training:
            return _grouped(ids, lengths, np.argsort(lengths, kind="stable"), budget)
        rng = np.random.default_rng([self._seed, epoch])
        jittered = lengths * rng.uniform(1 - _JITTER, 1 + _JITTER, len(ids))
        order = np.argsort(jittered, kind="stable")
        silent = np.array([not self.texts[id] for id in ids])[order]
        batches = [
            batch
            for those in (order[~silent], order[silent])
            for batch in _grouped(ids, lengths, those, budget)
        ]
        return [batches[i] for i in rng.permutation(len(batches))]

    def _length(self, id: str, epoch: int) -> int:
        return self._frames(id, self._speed(id, epoch))

    def _frames(self, id: str, speed: float) -> int:
        if self._caches:
            return self._caches[speed].frames(id)
        return self._features.frames(self.utterances[id].seconds / speed)

    def _speed(self, id: str, epoch: int) -> float:
        if len(self._speeds) == 1:
            return self._speeds[0]
        return self._speeds[self._digest("speed", epoch, id) % len(self._speeds)]

    def _heard(self, id: str, epoch: int) -> Features | None:
        """The features of an utterance as this epoch hears them, or None if it is broken."""
        speed = self._speed(id, epoch)
        if self._caches:
            return self._caches[speed][id]
        try:
            utterance = self.utterances[id]
            samples = read_audio(utterance.audio, self._features.rate)
            seconds = len(samples) / self._features.rate
            if too_long := self._too_long(seconds):
                raise AudioError(too_long)
            with in_file(utterance.audio):
                if self._training and seconds > _MISTAKEN * utterance.seconds:
                    raise AudioError(
                        f"{seconds:.1f} s of audio, and its batch was made for "
                        f"{utterance.seconds:.3g} s; mend its seconds in the manifest"
                    )
                samples = spoken_faster(samples, speed)
                if self._noise is not None:
                    samples = self._noise(samples, self._stream("noise", epoch, id))
                return self._fbank(samples)
        except AudioError as error:
            self.skip({id: str(error)})
            return None

    def _masked(self, features: Features, epoch: int, id: str) -> Features:
        if not self._training or self._config.spec_augment is None:
            return features
        return self._config.spec_augment(features, self._stream("masks", epoch, id))

    def _stream(self, purpose: str, epoch: int, id: str) -> np.random.Generator:
        return np.random.default_rng(self._digest(purpose, epoch, id))

    def _digest(self, purpose: str, epoch: int, id: str) -> int:
        """What the draws for an utterance start from, the same in every process."""
        content = f"{self._seed} {purpose} {epoch} {id}".encode()
        return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")

    def _batch(self, index: int, ids: Sequence[str], epoch: int) -> Batch | None:
        heard = {id: self._heard(id, epoch) for id in ids}
        usable = {id: self._masked(x, epoch, id) for id, x in heard.items() if x is not None}
        if not usable:
            return None
        labels = [self._labels[id] for id in usable]
        frame_lengths = torch.tensor([len(each) for each in usable.values()])
        label_lengths = torch.tensor([len(each) for each in labels])
        B, T, U = len(usable), int(frame_lengths.max()), int(label_lengths.max())
        padded = torch.zeros(B, T, self._features.mels)
        padded_labels = torch.full((B, U), BLANK)
        for row, (features, sequence) in enumerate(zip(usable.values(), labels, strict=True)):
            padded[row, : len(features)] = torch.from_numpy(features)
            padded_labels[row, : len(sequence)] = torch.from_numpy(sequence)
        return Batch(index, list(usable), padded, frame_lengths, padded_labels, label_lengths)

    def _made_ahead(
        self, plan: Sequence[tuple[int, Sequence[str]]], epoch: int
    ) -> Iterator[Batch | None]:
        """One batch is made in a thread while the one before is trained on."""
        with ThreadPoolExecutor(1) as thread:
            coming = None
            for index, ids in plan:
                here, coming = coming, thread.submit(self._batch, index, ids, epoch)
                if here is not None:
                    yield here.result()
            if coming is not None:
                yield coming.result()


def _grouped(
    ids: Sequence[str],
    lengths: np.ndarray[tuple[int], np.dtype[np.int64]],
    order: Iterable[int],
    budget: int,
) -> list[list[str]]:
    """Batches in `order`, of at most `budget` frames with padding, or of one utterance."""
    batches: list[list[str]] = []
    longest = 0
    for i in order:
        longest = max(longest, int(lengths[i]))
        if batches and (len(batches[-1]) + 1) * longest <= budget:
            batches[-1].append(ids[i])
        else:
            batches.append([ids[i]])
            longest = int(lengths[i])
    return batches
