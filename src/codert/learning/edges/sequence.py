"""The edge that matches sequences: what the teacher would write, whatever was said."""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from codert.decoding import beam_search, greedy
from codert.distillation import sequence_loss
from codert.lattice import Lattice
from codert.learning.edges.edge import BaseEdge, Rates
from codert.learning.edges.written import inference, padded
from codert.models.recogniser import Outputs
from codert.transducer import transducer_loss


@dataclass(frozen=True)
class SequenceEdge(BaseEdge):
    """The teacher's N-best list, by the full sum over alignments; it needs no transcript.

    A beam proposes, and the teacher's full sums weigh. The teacher's decoder and joint run in
    inference mode; the frames of a live teacher's encoder are those that it learns from.

    Attributes:
        size: N; of 1 the best hypothesis is learnt like a transcript (pseudo-labels).
        width: of the beam.
    """

    rates: ClassVar[Rates] = "any"

    match: Literal["sequence"] = "sequence"
    size: int = 4
    width: int = 4

    def __post_init__(self) -> None:
        """Raises ValueError where no such edge can be."""
        super().__post_init__()
        if not 1 <= self.size <= self.width:
            raise ValueError("size is at least 1 and at most the width of the beam")
        if self.temperature != 1:
            raise ValueError("temperature is of logits, and sequences have none; remove it")
        if self.gradient == "both":
            raise ValueError("gradient is 'both', but none passes a search; write student")

    @property
    def needs_labels(self) -> bool:
        """It has the teacher's own, also where there is a transcript."""
        return False

    def loss(
        self, teacher: Outputs, student: Outputs, labels: Tensor, label_lengths: Tensor
    ) -> Tensor:
        """See `sequence_loss`."""
        with torch.no_grad(), inference(teacher.recogniser.decoder):
            found = _NBest.of(teacher, self.size, self.width)
            log_p = -transducer_loss(found.lattice(teacher), found.labels)
        lattice = found.lattice(student)
        # The decoder is the teacher's as well, or kept as others make it.
        if student.keeps_decoder or student.shares_decoder_with(teacher):
            lattice = lattice.with_encoder_only()
        return sequence_loss(log_p, lattice, found.labels, found.utterances)


class _NBest(NamedTuple):
    """The likeliest hypotheses of a batch, H in all.

    Attributes:
        labels: (H, U).
        lengths: (H,).
        utterances: which utterance each is of, (H,).
    """

    labels: Tensor
    lengths: Tensor
    utterances: Tensor

    @classmethod
    def of(cls, outputs: Outputs, size: int, width: int) -> "_NBest":
        """At most `size` of each utterance, from a beam; greedily from one of 1."""
        if width == 1:
            rows = list(enumerate(greedy(outputs.recogniser, outputs.encoded)))
        else:
            beams = beam_search(outputs.recogniser, outputs.encoded, width)
            rows = [(b, list(x.labels)) for b, beam in enumerate(beams) for x in beam[:size]]
        device = outputs.encoded.joint.device
        labels, lengths = padded([labels for _, labels in rows], device)
        return cls(labels, lengths, torch.tensor([b for b, _ in rows], device=device))

    def lattice(self, outputs: Outputs) -> Lattice:
        """Of the hypotheses, each beside its utterance's frames as a recogniser hears them."""
        recogniser, encoded = outputs.recogniser, outputs.encoded
        return recogniser.joint.lattice(
            encoded.joint.index_select(0, self.utterances),
            recogniser.decoder(self.labels).joint,
            encoded.lengths[self.utterances],
            self.lengths,
        )
