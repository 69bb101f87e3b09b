"""Edges of the plan: what one recogniser is taught by another, a class for each thing matched."""

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from codert.distillation import Cells, Divergence, centred, encoder_logit_loss, lattice_loss
from codert.learning.schedule import EdgeSchedule
from codert.models.recogniser import Outputs


@dataclass(frozen=True)
class _Edge:
    """What all edges have.

    Attributes:
        teacher: `from`, the recogniser that teaches.
        student: `to`, the live recogniser that learns.
        weight: beside the transducer loss per label.
        schedule: how the weight comes up and goes down over the run.
        gradient: whether a live teacher learns from the edge as well. With `student` the edge
            reaches no decoder that both share; a front end that both share it does reach.
        divergence: how the two are compared.
        temperature: of both sides' logits.
    """

    teacher: str = field(metadata={"key": "from"})
    student: str = field(metadata={"key": "to"})
    weight: float = 1.0
    schedule: EdgeSchedule = EdgeSchedule()  # noqa: RUF009 (frozen)
    gradient: Literal["student", "both"] = "student"
    divergence: Divergence = "kl"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Raises ValueError where no such edge can be."""
        if self.teacher == self.student:
            raise ValueError(f"from and to are both {self.teacher}; name two recognisers")
        if self.temperature <= 0 or self.weight < 0:
            raise ValueError("temperature is above 0 and weight at least 0")

    def loss(
        self, teacher: Outputs, student: Outputs, labels: Tensor, label_lengths: Tensor
    ) -> Tensor:
        """What the student still has to learn, a scalar; labels (B, U), their lengths (B,)."""
        raise NotImplementedError


@dataclass(frozen=True)
class EncoderLogitEdge(_Edge):
    """CoDERT's: the encoder logits, per frame.

    Attributes:
        gauge: `centred` moves each side's mean decoder logits into its encoder logits.
    """

    match: Literal["encoder_logits"] = "encoder_logits"
    gauge: Literal["as_trained", "centred"] = "as_trained"

    def loss(
        self, teacher: Outputs, student: Outputs, labels: Tensor, label_lengths: Tensor
    ) -> Tensor:
        """See `encoder_logit_loss`."""

        def logits(of: Outputs) -> Tensor:
            if self.gauge == "as_trained":
                return of.encoded.logits
            decoder = of.predicted.logits
            if self.gradient == "student" and teacher.predicted is student.predicted:
                decoder = decoder.detach()  # it is the teacher's as well
            return centred(of.encoded.logits, decoder, label_lengths)

        taught = logits(teacher)
        return encoder_logit_loss(
            taught if self.gradient == "both" else taught.detach(),
            logits(student),
            student.encoded.lengths,
            self.divergence,
            self.temperature,
        )


@dataclass(frozen=True)
class LatticeEdge(_Edge):
    """The whole lattice, per cell.

    Attributes:
        cells: which cells weigh how much; see `lattice_loss`.
    """

    match: Literal["lattice"] = "lattice"
    cells: Cells = "teacher"

    def loss(
        self, teacher: Outputs, student: Outputs, labels: Tensor, label_lengths: Tensor
    ) -> Tensor:
        """See `lattice_loss`."""
        taught, learning = teacher.lattice, student.lattice
        if self.gradient == "student":
            taught = taught.detached()
            if teacher.predicted is student.predicted:
                # A shared decoder is the teacher's as well: through it the student would
                # pull the teacher towards itself.
                learning = learning.with_encoder_only()
        return lattice_loss(taught, learning, labels, self.divergence, self.temperature, self.cells)


Edge = EncoderLogitEdge | LatticeEdge
