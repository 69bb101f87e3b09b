"""Utterances of one split as batches of features and labels."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from codert.data.audio import AudioError
from codert.data.augmentation import Augmentation
from codert.data.batches import Batch, by_length, mixed
from codert.data.config import DataConfig
from codert.data.feature_source import CachedFeatures, DirectFeatures, FeatureSource
from codert.data.features import FeatureConfig, Features, even_sample, mean_and_deviation
from codert.data.manifest import Utterance
from codert.data.skipped import Skipped, none_left, too_long, unusable_text
from codert.data.text import normalise
from codert.data.wordpieces import WordPieces
from codert.data.workers import made_ahead
from codert.errors import InputError


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
        self._training, self._seed = training, seed
        self._budget = features.frames(config.batch_seconds)
        self._augmentation = (
            Augmentation(seed, config.speeds, config.noise, config.spec_augment)
            if training
            else Augmentation()
        )
        everything, most = list(utterances), config.max_seconds
        self._source: FeatureSource
        if config.cache and self._augmentation.noise is None:
            # What is known to be too long is not even read.
            short = [each for each in everything if not too_long(each.seconds, most)]
            self._source = CachedFeatures(cache, short, features, self._augmentation, most)
        else:
            self._source = DirectFeatures(features, self._augmentation, most, training)
        for utterance in everything:
            text = normalise(utterance.text)
            if reason := (
                too_long(utterance.seconds, most)
                or self._source.objection(utterance)
                or unusable_text(text, pieces, training, config.untranscribed)
            ):
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
        speeds, utterances = set(self._augmentation.speeds), self.utterances.values()
        return sum(self._source.frames(each, speed) for speed in speeds for each in utterances)

    def none_left(self) -> InputError:
        """The error where nothing can be used."""
        return none_left(self._named, self.skipped)

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
        made = (self._batch(index, ids, epoch) for index, ids in plan)
        whole = (batch for batch in made if batch is not None)
        yield from made_ahead(whole) if self._source.slow else whole

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
        ids, speed = list(self.utterances), self._augmentation.speed
        lengths = np.array(
            [self._source.frames(each, speed(id, epoch)) for id, each in self.utterances.items()]
        )
        if not self._training:
            return by_length(ids, lengths, self._budget)
        silent = np.array([not self.texts[id] for id in ids])
        rng = np.random.default_rng([self._seed, epoch])
        return mixed(ids, lengths, silent, self._budget, rng)

    def _heard(self, id: str, epoch: int) -> Features | None:
        """The features of an utterance as this epoch hears them, or None if it is broken."""
        try:
            return self._source.features(self.utterances[id], epoch)
        except AudioError as error:
            self.skip({id: str(error)})
            return None

    def _batch(self, index: int, ids: Sequence[str], epoch: int) -> Batch | None:
        """A batch of those that can be heard, or None if nobody can."""
        heard = {id: self._heard(id, epoch) for id in ids}
        usable = {
            id: self._augmentation.masked(x, id, epoch) for id, x in heard.items() if x is not None
        }
        return Batch.padded(index, usable, self._labels) if usable else None
