"""The entropy of a recogniser's logits: the encoder's, the decoder's, and the joint's.

The observation behind CoDERT (Swaminathan et al., 2021, arXiv 2106.07734, abstract): encoder
logits have a high entropy, which the decoder's lower one suppresses in the joint's.

The entropy of encoder and of decoder logits depends on the gauge: (e + c, d - c) is the same
joint for any vector c. So both are given twice, as trained and centred, with the mean decoder
logits of the data moved into the encoder logits. The joint's entropy is the same in both.

Shapes: T' encoder frames, U labels, V symbols.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from codert.analysis.distribution import Difference, Distribution, Numbers
from codert.analysis.reading import Reading
from codert.errors import InputError
from codert.evaluation.significance import by_drawn
from codert.lattice import BLANK

Logits = Literal["encoder", "decoder", "joint"]
LOGITS: tuple[Logits, ...] = ("encoder", "decoder", "joint")

# Cells that alignments pass less often than this are left out of quantiles, not out of means.
_RARE = 1e-4


@dataclass(frozen=True, eq=False)
class Entropies:
    """The entropies of one utterance, in nats, on the CPU.

    Attributes:
        encoder: of the encoder logits at each frame, (T',).
        decoder: of the decoder logits at each label position, (U+1,).
        joint: of each cell, (T', U+1).
        occupancy: how likely the alignment passes through each cell, (T', U+1).
        emitted: the frame of each label on the best path, (U,).
    """

    encoder: Tensor
    decoder: Tensor
    joint: Tensor
    occupancy: Tensor
    emitted: Tensor

    @classmethod
    def of(cls, reading: Reading, moved: Tensor | None = None) -> "Entropies":
        """Of a reading, with `moved` (V,) taken from decoder to encoder logits."""
        c = 0 if moved is None else moved.to(reading.encoder_logits)
        return cls(
            _entropy(reading.encoder_logits + c).cpu(),
            _entropy(reading.decoder_logits - c).cpu(),
            reading.joint_entropy.cpu(),
            reading.occupancy.cpu(),
            reading.emitted.cpu(),
        )

    @property
    def joint_by_frame(self) -> Tensor:
        """Of the cells that the alignments pass at each frame, (T',)."""
        return (self.occupancy * self.joint).sum(1) / self.occupancy.sum(1)

    @property
    def decoder_by_frame(self) -> Tensor:
        """Of the decoder logits in the cells that the alignments pass, (T',)."""
        return self.occupancy @ self.decoder / self.occupancy.sum(1)

    @property
    def blank_cells(self) -> tuple[Tensor, Tensor]:
        """The best path's cells (t, u) at frames that emit no label; two of (N,)."""
        frames = torch.arange(len(self.encoder))
        frames = frames[~torch.isin(frames, self.emitted)]
        return frames, torch.searchsorted(self.emitted, frames)

    @property
    def label_cells(self) -> tuple[Tensor, Tensor]:
        """The best path's cells (t, u) that a label leaves; two of (U,)."""
        return self.emitted, torch.arange(len(self.emitted))

    def at(self, cells: tuple[Tensor, Tensor]) -> dict[Logits, Numbers]:
        """The entropies of all three logits in some cells (t, u)."""
        t, u = cells
        return {
            "encoder": _numbers(self.encoder[t]),
            "decoder": _numbers(self.decoder[u]),
            "joint": _numbers(self.joint[t, u]),
        }


@dataclass(frozen=True)
class Spread:
    """How one kind of logits' entropies are spread, in nats.

    Attributes:
        all: encoder logits over all frames; decoder logits over all label positions; joint
            logits over all cells, each as often as the alignments pass it.
        blank: over the best path's cells at frames that emit no label, or null.
        emitting: over the best path's cells that a label leaves, or null.
    """

    all: Distribution
    blank: Distribution | None
    emitting: Distribution | None


@dataclass(frozen=True)
class Suppression:
    """How much lower than the encoder's entropy another one is, in nats.

    Attributes:
        all: over all frames, the other one where the alignments pass.
        blank: over the best path's cells at frames that emit no label, or null.
        emitting: over the best path's cells that a label leaves, or null.
    """

    all: Difference
    blank: Difference | None
    emitting: Difference | None


@dataclass(frozen=True)
class Mass:
    """What the symbols have of the probability where the best path emits a label; means.

    Attributes:
        label: the label that is emitted.
        blank: the blank.
        rivals: all other labels.
    """

    label: float
    blank: float
    rivals: float


@dataclass(frozen=True)
class EntropySummary:
    """The entropies of a recogniser over a set of utterances, in one gauge.

    Attributes:
        encoder: of the encoder logits.
        decoder: of the decoder logits.
        joint: of the joint logits.
        joint_below_encoder: what the joint suppresses of the encoder's entropy.
        decoder_below_encoder: the decoder's entropy against the encoder's.
        encoder_mass: of label, blank and rivals in the encoder logits, or null without labels.
        joint_mass: likewise in the joint logits.
        uniform: the most that an entropy can be, log V.
    """

    encoder: Spread
    decoder: Spread
    joint: Spread
    joint_below_encoder: Suppression
    decoder_below_encoder: Suppression
    encoder_mass: Mass | None
    joint_mass: Mass | None
    uniform: float


class EntropyMeter:
    """Collects readings into an `EntropySummary`."""

    def __init__(self, moved: Tensor | None = None) -> None:
        """With `moved` (V,) taken from decoder to encoder logits."""
        self._moved = moved
        self._utterances: list[_Measured] = []
        self._speakers: list[str] = []
        self._symbols = 0

    def add(self, reading: Reading, speaker: str) -> None:
        """Measure one more utterance; intervals draw speakers."""
        self._symbols = reading.encoder_logits.shape[1]
        emitted = reading.emitted
        encoder = reading.encoder_logits[emitted]
        if self._moved is not None:
            encoder = encoder + self._moved.to(encoder)
        joint = reading.joint_logits(emitted, torch.arange(len(emitted), device=emitted.device))
        masses: dict[Logits, Numbers] = {
            "encoder": _masses(encoder, reading.labels),
            "joint": _masses(joint, reading.labels),
        }
        self._speakers.append(speaker)
        self._utterances.append(_Measured.of(Entropies.of(reading, self._moved), masses))

    def summary(self) -> EntropySummary:
        """Of all utterances so far.

        Raises:
            InputError: there were none.
        """
        if not self._utterances:
            raise InputError("no utterance can be aligned with its text; choose others")
        spread = {name: self._spread(name) for name in LOGITS}
        return EntropySummary(
            encoder=spread["encoder"],
            decoder=spread["decoder"],
            joint=spread["joint"],
            joint_below_encoder=self._below("joint"),
            decoder_below_encoder=self._below("decoder"),
            encoder_mass=self._mass("encoder"),
            joint_mass=self._mass("joint"),
            uniform=math.log(self._symbols),
        )

    def _spread(self, name: Logits) -> Spread:
        values, weights = zip(*(u.everywhere[name] for u in self._utterances), strict=True)
        blank = np.concatenate([u.blank[name] for u in self._utterances])
        emitting = np.concatenate([u.emitting[name] for u in self._utterances])
        everywhere = Distribution.of(np.concatenate(values), np.concatenate(weights))
        if name == "joint":
            total, passed = np.sum([u.joint_sum for u in self._utterances], 0)
            everywhere = replace(everywhere, mean=float(total / passed))
        return Spread(
            everywhere,
            Distribution.of(blank) if len(blank) else None,
            Distribution.of(emitting) if len(emitting) else None,
        )

    def _below(self, name: Logits) -> Suppression:
        over_frames = self._difference([u.frames for u in self._utterances], name)
        assert over_frames is not None  # an utterance that can be aligned has frames
        return Suppression(
            over_frames,
            self._difference([u.blank for u in self._utterances], name),
            self._difference([u.emitting for u in self._utterances], name),
        )

    def _difference(
        self, parts: Sequence[dict[Logits, Numbers]], name: Logits
    ) -> Difference | None:
        """The encoder's entropy minus another one in a part of each utterance."""
        sizes = [float(len(part["encoder"])) for part in parts]
        if not any(sizes):
            return None
        encoder = [float(part["encoder"].sum()) for part in parts]
        other = [float(part[name].sum()) for part in parts]
        return Difference.of(*by_drawn(self._speakers, encoder, other, sizes))

    def _mass(self, name: Logits) -> Mass | None:
        masses = np.concatenate([u.masses[name] for u in self._utterances])
        return Mass(*map(float, masses.mean(0))) if len(masses) else None


@dataclass(frozen=True, eq=False)
class _Measured:
    """What is kept of an utterance; by kind of logits where there are several."""

    everywhere: dict[Logits, tuple[Numbers, Numbers]]  # values and how often each counts
    frames: dict[Logits, Numbers]
    blank: dict[Logits, Numbers]
    emitting: dict[Logits, Numbers]
    joint_sum: tuple[float, float]  # of occupancy times entropy, and of occupancy
    masses: dict[Logits, Numbers]  # of label, blank and rivals, (U, 3)

    @classmethod
    def of(cls, entropies: Entropies, masses: dict[Logits, Numbers]) -> "_Measured":
        encoder, decoder = _numbers(entropies.encoder), _numbers(entropies.decoder)
        often = entropies.occupancy > _RARE
        joint, occupancy = _numbers(entropies.joint), _numbers(entropies.occupancy)
        return cls(
            everywhere={
                "encoder": (encoder, np.ones_like(encoder)),
                "decoder": (decoder, np.ones_like(decoder)),
                "joint": (_numbers(entropies.joint[often]), _numbers(entropies.occupancy[often])),
            },
            frames={
                "encoder": encoder,
                "decoder": _numbers(entropies.decoder_by_frame),
                "joint": _numbers(entropies.joint_by_frame),
            },
            blank=entropies.at(entropies.blank_cells),
            emitting=entropies.at(entropies.label_cells),
            joint_sum=(float((occupancy * joint).sum()), float(occupancy.sum())),
            masses=masses,
        )


def _masses(logits: Tensor, labels: Tensor) -> Numbers:
    """The probability of label, blank and all other symbols, (U, V) and (U,) to (U, 3)."""
    p = logits.softmax(-1)
    label, blank = p.gather(1, labels[:, None])[:, 0], p[:, BLANK]
    # Summed without the two, not 1 minus them: small masses would lose their digits.
    others = p.scatter(1, labels[:, None], 0)
    others[:, BLANK] = 0
    return _numbers(torch.stack([label, blank, others.sum(-1)], 1))


def _numbers(x: Tensor) -> Numbers:
    numbers: Numbers = x.double().cpu().numpy()
    return numbers


def _entropy(logits: Tensor) -> Tensor:
    entropy: Tensor = torch.special.entr(logits.softmax(-1)).sum(-1)
    return entropy
