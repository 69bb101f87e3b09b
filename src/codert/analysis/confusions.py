"""Which word-pieces an encoder confuses, where labels are emitted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from codert.analysis.distribution import Numbers
from codert.analysis.pronunciation import Phones
from codert.analysis.reading import Reading
from codert.analysis.similarity import phone_distance
from codert.lattice import BLANK

_SHOWN = 5  # rivals


@dataclass(frozen=True)
class Rival:
    """A label that the encoder takes for another.

    Attributes:
        piece: the word-piece.
        probability: its mean in the encoder logits where the other one is emitted.
        distance: from its phones to the other's, 0 to 1; null where either has none.
    """

    piece: str
    probability: float
    distance: float | None


@dataclass(frozen=True)
class Confused:
    """A word-piece and what the encoder takes it for, at the frames that emit it.

    Attributes:
        piece: the word-piece.
        phones: its pronunciation; null where it is not known.
        count: how often it is emitted.
        itself: its own mean probability in the encoder logits there.
        blank: the blank's.
        rivals: the likeliest other labels.
    """

    piece: str
    phones: str | None
    count: int
    itself: float
    blank: float
    rivals: tuple[Rival, ...]


class Confusions:
    """Collects readings into the mean probability of every symbol where each label is emitted."""

    def __init__(self, symbols: int, moved: Tensor | None = None) -> None:
        """Of V symbols, with `moved` (V,) taken from decoder to encoder logits."""
        self._sums = torch.zeros(symbols, symbols, dtype=torch.float64)
        self._moved = moved
        self.counts = np.zeros(symbols, np.int64)

    def add(self, reading: Reading) -> None:
        """Count the labels of one more utterance."""
        logits = reading.encoder_logits[reading.emitted].double()
        if self._moved is not None:
            logits = logits + self._moved.to(logits)
        labels = reading.labels.cpu()
        self._sums.index_add_(0, labels, logits.softmax(-1).cpu())
        self.counts += np.bincount(labels.numpy(), minlength=len(self.counts))

    @property
    def matrix(self) -> Numbers:
        """The mean probability of each symbol where a label is emitted, (V, V); 0 where none is."""
        matrix: Numbers = self._sums.numpy() / np.maximum(self.counts, 1)[:, None]
        return matrix

    def table(self, symbols: Sequence[str], phones: Mapping[int, Phones]) -> tuple[Confused, ...]:
        """All labels that were emitted, the commonest first, with their likeliest rivals."""
        matrix = self.matrix
        order = np.argsort(-self.counts, kind="stable")
        return tuple(self._row(int(i), matrix[i], symbols, phones) for i in order if self.counts[i])

    def _row(
        self, label: int, p: Numbers, symbols: Sequence[str], phones: Mapping[int, Phones]
    ) -> Confused:
        order = [int(i) for i in np.argsort(-p, kind="stable") if i not in (label, BLANK)]
        return Confused(
            piece=symbols[label],
            phones=" ".join(phones[label]) if label in phones else None,
            count=int(self.counts[label]),
            itself=float(p[label]),
            blank=float(p[BLANK]),
            rivals=tuple(
                Rival(
                    symbols[i],
                    float(p[i]),
                    phone_distance(phones[label], phones[i])
                    if label in phones and i in phones
                    else None,
                )
                for i in order[:_SHOWN]
            ),
        )
