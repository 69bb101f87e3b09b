"""Utterances put together: which go into a batch of an epoch, and how they are padded."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from codert.data.features import Features
from codert.lattice import BLANK

Lengths = np.ndarray[tuple[int], np.dtype[np.int64]]
Labels = np.ndarray[tuple[int], np.dtype[np.int32]]

# Lengths are moved by up to this share before they are sorted, so that batches mix anew.
_JITTER = 0.1


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

    @classmethod
    def padded(
        cls, index: int, features: Mapping[str, Features], labels: Mapping[str, Labels]
    ) -> "Batch":
        """Number `index`, of all in `features`: {id: (T, F)}, with their `labels`: {id: (U,)}."""
        sequences = [labels[id] for id in features]
        frame_lengths = torch.tensor([len(each) for each in features.values()])
        label_lengths = torch.tensor([len(each) for each in sequences])
        B, T, U = len(features), int(frame_lengths.max()), int(label_lengths.max())
        padded = torch.zeros(B, T, next(iter(features.values())).shape[1])
        padded_labels = torch.full((B, U), BLANK)
        for row, (each, sequence) in enumerate(zip(features.values(), sequences, strict=True)):
            padded[row, : len(each)] = torch.from_numpy(each)
            padded_labels[row, : len(sequence)] = torch.from_numpy(sequence)
        return cls(index, list(features), padded, frame_lengths, padded_labels, label_lengths)

    @property
    def transcribed(self) -> bool:
        """Whether there are labels."""
        return self.labels.shape[1] > 0

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`."""
        tensors = (self.features, self.frame_lengths, self.labels, self.label_lengths)
        return Batch(self.index, self.ids, *(each.to(device) for each in tensors))


def by_length(ids: Sequence[str], lengths: Lengths, budget: int) -> list[list[str]]:
    """The ids of each batch, short ones first, of N utterances of lengths (N,) in frames.

    A batch has at most `budget` frames, padding included, or one utterance.
    """
    return _grouped(ids, lengths, np.argsort(lengths, kind="stable"), budget)


def mixed(
    ids: Sequence[str],
    lengths: Lengths,
    silent: np.ndarray[tuple[int], np.dtype[np.bool_]],
    budget: int,
    rng: np.random.Generator,
) -> list[list[str]]:
    """As `by_length`, but batches of about the same length each come in random order.

    Those that are `silent` (N,), which have no text, come by themselves.
    """
    jittered = lengths * rng.uniform(1 - _JITTER, 1 + _JITTER, len(ids))
    order = np.argsort(jittered, kind="stable")
    batches = [
        batch
        for those in (order[~silent[order]], order[silent[order]])
        for batch in _grouped(ids, lengths, those, budget)
    ]
    return [batches[i] for i in rng.permutation(len(batches))]


def _grouped(
    ids: Sequence[str], lengths: Lengths, order: Iterable[int], budget: int
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
