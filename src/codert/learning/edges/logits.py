"""Edges that match the logits of encoder or decoder by themselves."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from codert.distillation import (
    centred,
    centred_decoder,
    decoder_logit_loss,
    encoder_logit_loss,
)
from codert.learning.edges.edge import DivergenceEdge, Rates, Read, ratio
from codert.models.recogniser import Outputs


@dataclass(frozen=True)
class EncoderLogitEdge(DivergenceEdge):
    """CoDERT's: the encoder logits, per frame.

    Attributes:
        gauge: `centred` moves each side's mean decoder logits into its encoder logits.
        shift: the student's frame t learns from the teacher's t + shift, in the teacher's frames.
    """

    rates: ClassVar[Rates] = "multiple"

    match: Literal["encoder_logits"] = "encoder_logits"
    gauge: Literal["as_trained", "centred"] = "as_trained"
    shift: int = 0

    @property
    def reads(self) -> frozenset[Read]:
        """A centred gauge reads the decoder's besides."""
        heads: tuple[Read, ...] = ("encoder_head", "decoder_head")
        return frozenset(heads if self.gauge == "centred" else heads[:1])

    @property
    def needs_labels(self) -> bool:
        """The gauge does, which is the mean of decoder logits over the labels."""
        return self.gauge == "centred"

    def loss(
        self, teacher: Outputs, student: Outputs, labels: Tensor, label_lengths: Tensor
    ) -> Tensor:
        """See `encoder_logit_loss`."""

        def logits(of: Outputs) -> Tensor:
            if self.gauge == "as_trained":
                return of.encoded.logits
            decoder = of.predicted.logits
            if self.gradient == "student" and student.shares_decoder_with(teacher):
                decoder = decoder.detach()  # it is the teacher's as well
            return centred(of.encoded.logits, decoder, label_lengths)

        taught = logits(teacher)
        return encoder_logit_loss(
            taught if self.gradient == "both" else taught.detach(),
            logits(student),
            student.encoded.lengths,
            self.divergence,
            self.temperature,
            self.alpha,
            self.shift,
            ratio(teacher, student),
            teacher.encoded.lengths,
        )


@dataclass(frozen=True)
class DecoderLogitEdge(DivergenceEdge):
    """The decoder logits, per label position; of two decoders, none of them shared.

    Attributes:
        gauge: `centred` takes from each side's decoder logits their mean, which belongs to the
            encoder logits as well.
    """

    rates: ClassVar[Rates] = "any"

    match: Literal["decoder_logits"] = "decoder_logits"
    gauge: Literal["as_trained", "centred"] = "as_trained"

    @property
    def reads(self) -> frozenset[Read]:
        """No encoder."""
        return frozenset(("decoder_head",))

    def loss(
        self, teacher: Outputs, student: Outputs, labels: Tensor, label_lengths: Tensor
    ) -> Tensor:
        """See `decoder_logit_loss`."""
        taught, learning = teacher.predicted.logits, student.predicted.logits
        if self.gauge == "centred":
            taught = centred_decoder(taught, label_lengths)
            learning = centred_decoder(learning, label_lengths)
        return decoder_logit_loss(
            taught if self.gradient == "both" else taught.detach(),
            learning,
            label_lengths,
            self.divergence,
            self.temperature,
            self.alpha,
        )
