"""What a recogniser says of utterances whose text is known.

Shapes: B batch, T input frames, F features, T' encoder frames, U labels, V symbols, N cells.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from codert.lattice import full_precision, inside
from codert.models import Recogniser
from codert.models.joint import Joint
from codert.transducer import best_path, occupancies

Inputs = tuple[Tensor, Tensor, Tensor, Tensor]
"""Features (B, T, F), frame lengths (B,), labels (B, U), label lengths (B,)."""


@dataclass(frozen=True, eq=False)
class Reading:
    """An utterance as a recogniser reads it, without padding.

    Attributes:
        labels: (U,).
        encoder_logits: (T', V).
        decoder_logits: (U+1, V).
        joint_entropy: of each cell in nats, (T', U+1).
        occupancy: how likely the alignment passes through each cell, (T', U+1).
        emitted: the frame of each label on the best path, (U,).
        joint: the recogniser's, and what it reads of encoder and decoder, (T', J) and (U+1, J).
    """

    labels: Tensor
    encoder_logits: Tensor
    decoder_logits: Tensor
    joint_entropy: Tensor
    occupancy: Tensor
    emitted: Tensor
    joint: tuple[Joint, Tensor, Tensor]

    @torch.no_grad()
    def joint_logits(self, frames: Tensor, positions: Tensor) -> Tensor:
        """Of the cells (frames[n], positions[n]), (N, V)."""
        joint, encoder, decoder = self.joint
        return full_precision(joint.logits(encoder[frames], decoder[positions]))

    @property
    def aligned(self) -> bool:
        """Whether the labels can be aligned with the frames, and all is finite."""
        return bool(
            (self.occupancy.sum(1) > 0).all()
            and len(self.occupancy)
            and self.encoder_logits.isfinite().all()
            and self.joint_entropy.isfinite().all()
        )


@torch.no_grad()
def read(
    recogniser: Recogniser,
    features: Tensor,
    frame_lengths: Tensor,
    labels: Tensor,
    label_lengths: Tensor,
) -> list[Reading]:
    """The readings of a batch.

    Args:
        recogniser: in inference mode.
        features: (B, T, F).
        frame_lengths: (B,).
        labels: (B, U).
        label_lengths: (B,).

    Returns:
        B readings. Occupancies are 0 where no alignment is possible.

    Raises:
        ValueError: labels that do not fit the recogniser.
    """
    encoded = recogniser.encode(features, frame_lengths)
    predicted = recogniser.decoder(labels)
    lattice = recogniser.lattice(encoded, predicted, label_lengths)
    entropy, node = lattice.entropy(), occupancies(lattice, labels).node
    emitted = best_path(lattice, labels)
    sizes = zip(encoded.lengths.tolist(), label_lengths.tolist(), strict=True)
    return [
        Reading(
            labels=labels[b, :u],
            encoder_logits=full_precision(encoded.logits[b, :t]),
            decoder_logits=full_precision(predicted.logits[b, : u + 1]),
            joint_entropy=entropy[b, :t, : u + 1],
            occupancy=node[b, :t, : u + 1],
            emitted=emitted[b, :u],
            joint=(recogniser.joint, encoded.joint[b, :t], predicted.joint[b, : u + 1]),
        )
        for b, (t, u) in enumerate(sizes)
    ]


@torch.no_grad()
def mean_decoder_logits(recogniser: Recogniser, labels: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """The mean decoder logits over all label positions, (V,), in float64.

    Moved from the decoder logits into the encoder logits, it centres the gauge.

    Args:
        recogniser: in inference mode.
        labels: batches of labels (B, U) and their lengths (B,).
    """
    total, positions = torch.zeros((), dtype=torch.float64), 0
    for each, lengths in labels:
        logits = recogniser.decoder(each).logits
        real = logits[inside(lengths + 1, logits.shape[1])].double()
        total, positions = total.to(real) + real.sum(0), positions + len(real)
    return total / positions
