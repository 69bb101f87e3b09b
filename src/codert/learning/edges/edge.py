"""What all edges have."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor, nn

from codert.distillation import Divergence, check_divergence
from codert.learning.schedule import EdgeSchedule
from codert.models.recogniser import Outputs, Recogniser

# The frame rates that an edge can join: a teacher's may be a multiple of its student's, or any.
Rates = Literal["equal", "multiple", "any"]
# What an edge can read of its two ends: what the joint does, or the heads' logits of it.
Read = Literal["encoder", "encoder_head", "decoder", "decoder_head"]


@dataclass(frozen=True)
class BaseEdge:
    """What all edges have.

    Attributes:
        teacher: `from`, the recogniser that teaches.
        student: `to`, the live recogniser that learns.
        weight: beside the transducer loss per label.
        schedule: how the weight comes up and goes down over the run.
        gradient: whether a live teacher learns from the edge as well. With `student` the edge
            reaches no decoder that both share; a front end that both share it does reach.
        temperature: of both sides' logits.
    """

    rates: ClassVar[Rates] = "equal"

    teacher: str = field(metadata={"key": "from"})
    student: str = field(metadata={"key": "to"})
    weight: float = 1.0
    schedule: EdgeSchedule = EdgeSchedule()  # noqa: RUF009 (frozen)
    gradient: Literal["student", "both"] = "student"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Raises ValueError where no such edge can be."""
        if self.teacher == self.student:
            raise ValueError(f"from and to are both {self.teacher}; name two recognisers")
        if self.temperature <= 0 or self.weight < 0:
            raise ValueError("temperature is above 0 and weight at least 0")

    @property
    def reads(self) -> frozenset[Read]:
        """What it compares, which is what its student learns by."""
        return frozenset(("encoder", "decoder"))

    @property
    def layer(self) -> int:
        """The layer of its teacher's encoder that it reads; -1 is the last, as the joint does."""
        return -1

    @property
    def needs_labels(self) -> bool:
        """Whether it compares what is said of labels: without a transcript, of its teacher's."""
        return True

    def projection(self, teacher: Recogniser, student: Recogniser) -> nn.Module | None:
        """Weights of the edge's own, that its student's outputs pass through; None for none.

        Raises:
            ValueError: the two do not have what it matches.
        """
        return None

    def projected(self, student: Outputs, projection: nn.Module) -> Outputs:
        """A student's outputs (see `loss`) passed through them."""
        raise NotImplementedError

    def loss(
        self, teacher: Outputs, student: Outputs, labels: Tensor, label_lengths: Tensor
    ) -> Tensor:
        """What the student still has to learn, a scalar; labels (B, U), their lengths (B,)."""
        raise NotImplementedError


@dataclass(frozen=True)
class DivergenceEdge(BaseEdge):
    """An edge that compares distributions over symbols.

    Attributes:
        divergence: how the two are compared.
        alpha: of the alpha-divergence, 0.01 to 0.99.
    """

    divergence: Divergence = "kl"
    alpha: float = 0.5

    def __post_init__(self) -> None:
        """Raises ValueError where no such edge can be."""
        super().__post_init__()
        check_divergence(self.divergence, self.temperature, self.alpha)
        if self.alpha != DivergenceEdge.alpha and self.divergence != "alpha":
            raise ValueError(f"alpha is of divergence: alpha, not of {self.divergence}; remove it")


def ratio(teacher: Outputs, student: Outputs) -> int:
    """The teacher's frames for each of the student's."""
    return student.recogniser.encoder.subsampling // teacher.recogniser.encoder.subsampling
