"""The entropy of a recogniser's logits: the encoder's, the decoder's, and the joint's.

The observation behind CoDERT (Swaminathan et al., 2021, arXiv 2106.07734, abstract): encoder
logits have a high entropy, which the decoder's lower one suppresses in the joint's.

The entropy of encoder and of decoder logits depends on the gauge: (e + c, d - c) is the same
joint for any vector c. So both are given twice, as trained and centred, with the mean decoder
logits of the data moved into the encoder logits. The joint's entropy is the same in both.

Shapes: B batch, T input frames, F features, T' encoder frames, U labels, V symbols.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from codert.errors import InputError
from codert.lattice import full_precision, inside
from codert.models import Recogniser
from codert.transducer import occupancies

Inputs = tuple[Tensor, Tensor, Tensor, Tensor]
"""Features (B, T, F), frame lengths (B,), labels (B, U), label lengths (B,)."""


@dataclass(frozen=True, eq=False)
class Entropies:
    """The entropies of one utterance, in nats.

    Attributes:
        encoder: of the encoder logits at each frame, (T',).
        decoder: of the decoder logits at each label position, (U+1,).
        joint: of each cell, (T', U+1).
        occupancy: how likely the alignment passes through each cell, (T', U+1).
    """

    encoder: Tensor
    decoder: Tensor
    joint: Tensor
    occupancy: Tensor

    @property
    def joint_by_frame(self) -> Tensor:
        """Of the cells that the alignment passes at each frame, (T',)."""
        return (self.occupancy * self.joint).sum(1) / self.occupancy.sum(1)

    @property
    def decoder_by_frame(self) -> Tensor:
        """Of the decoder logits in the cells that the alignment passes, (T',)."""
        return self.occupancy @ self.decoder / self.occupancy.sum(1)


@dataclass(frozen=True)
class MeanEntropy:
    """Mean entropies over a set of utterances, in nats.

    Attributes:
        encoder: of the encoder logits, over frames.
        decoder: of the decoder logits, over label positions.
        joint: of the joint logits, over the cells that the alignments pass.
    """

    encoder: float
    decoder: float
    joint: float

    @classmethod
    def of(cls, utterances: Sequence[Entropies]) -> "MeanEntropy":
        """The means over all frames, positions and passed cells of `utterances`.

        Raises:
            InputError: none of them can be aligned with its labels.
        """
        passed = sum(float(u.occupancy.sum()) for u in utterances)
        if not passed:
            raise InputError("no utterance can be aligned with its text; choose others")
        joint = sum(float((u.occupancy * u.joint).sum()) for u in utterances)
        return cls(
            encoder=float(torch.cat([u.encoder for u in utterances]).mean()),
            decoder=float(torch.cat([u.decoder for u in utterances]).mean()),
            joint=joint / passed,
        )


@dataclass(frozen=True)
class EntropySummary:
    """The mean entropies of a recogniser in both gauges.

    Attributes:
        as_trained: of the logits as they are.
        centred: with the data's mean decoder logits moved into the encoder logits.
        uniform: the most that any of them can be, log V.
    """

    as_trained: MeanEntropy
    centred: MeanEntropy
    uniform: float


@torch.no_grad()
def entropies(
    recogniser: Recogniser,
    features: Tensor,
    frame_lengths: Tensor,
    labels: Tensor,
    label_lengths: Tensor,
    decoder_mean: Tensor | None = None,
) -> list[Entropies]:
    """The entropies of each utterance of a batch.

    Args:
        recogniser: in evaluation mode.
        features: (B, T, F).
        frame_lengths: (B,).
        labels: (B, U).
        label_lengths: (B,).
        decoder_mean: (V,), moved from decoder to encoder logits; see `mean_decoder_logits`.

    Returns:
        B utterances, without padding. Occupancies, and what is weighted by them, are 0 or nan
        where no alignment is possible.

    Raises:
        ValueError: labels that do not fit the recogniser.
    """
    encoded = recogniser.encode(features, frame_lengths)
    predicted = recogniser.decoder(labels)
    lattice = recogniser.lattice(encoded, predicted, label_lengths)
    moved = 0 if decoder_mean is None else decoder_mean
    encoder = _entropy(encoded.logits + moved)
    decoder = _entropy(predicted.logits - moved)
    joint, node = lattice.entropy(), occupancies(lattice, labels).node
    sizes = zip(encoded.lengths.tolist(), (label_lengths + 1).tolist(), strict=True)
    return [
        Entropies(encoder[b, :t], decoder[b, :u], joint[b, :t, :u], node[b, :t, :u])
        for b, (t, u) in enumerate(sizes)
    ]


@torch.no_grad()
def mean_decoder_logits(recogniser: Recogniser, batches: Sequence[Inputs]) -> Tensor:
    """The mean decoder logits over all label positions of `batches`, (V,)."""
    total, positions = torch.zeros(()), 0
    for _, _, labels, label_lengths in batches:
        logits = full_precision(recogniser.decoder(labels).logits)
        real = logits[inside(label_lengths + 1, logits.shape[1])]
        total, positions = total.to(real) + real.sum(0), positions + len(real)
    return total / positions


def summarise(recogniser: Recogniser, batches: Sequence[Inputs]) -> EntropySummary:
    """The mean entropies over `batches`, as trained and centred.

    Args:
        recogniser: in evaluation mode.
        batches: gone through once for the mean decoder logits, then once for each gauge.

    Raises:
        InputError: no utterance can be aligned with its labels.
        ValueError: labels that do not fit the recogniser.
    """
    mean = mean_decoder_logits(recogniser, batches)
    as_trained = [u for batch in batches for u in entropies(recogniser, *batch)]
    centred = [u for batch in batches for u in entropies(recogniser, *batch, decoder_mean=mean)]
    return EntropySummary(MeanEntropy.of(as_trained), MeanEntropy.of(centred), math.log(len(mean)))


def _entropy(logits: Tensor) -> Tensor:
    entropy: Tensor = torch.special.entr(full_precision(logits).softmax(-1)).sum(-1)
    return entropy
