"""The edge that matches a hidden layer of the encoder."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from codert.distillation import Distance, hidden_loss
from codert.learning.edges.edge import BaseEdge, Rates, Read, ratio
from codert.models.recogniser import Outputs, Recogniser


@dataclass(frozen=True)
class HiddenEdge(BaseEdge):
    """What an encoder's layer gives, per frame; through a learnt projection where widths differ.

    Attributes:
        teacher_layer: of the encoder behind the front end; 0 is the first, -1 the last.
        student_layer: likewise.
        distance: how the two are compared.
        shift: the student's frame t learns from the teacher's t + shift, in the teacher's frames.
    """

    rates: ClassVar[Rates] = "multiple"

    match: Literal["hidden"] = "hidden"
    teacher_layer: int = -1
    student_layer: int = -1
    distance: Distance = "mse"
    shift: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError where no such edge can be."""
        super().__post_init__()
        if self.temperature != 1:
            raise ValueError("temperature is of logits, and hidden layers have none; remove it")

    @property
    def reads(self) -> frozenset[Read]:
        """No decoder."""
        return frozenset(("encoder",))

    @property
    def layer(self) -> int:
        """As the plan says."""
        return self.teacher_layer

    @property
    def needs_labels(self) -> bool:
        """Encoders hear, they read nothing."""
        return False

    def projection(self, teacher: Recogniser, student: Recogniser) -> nn.Module | None:
        """From the student's width to its teacher's, where they differ.

        Raises:
            ValueError: one of them has no such layer.
        """
        widths = []
        for key, widths_of, layer in (
            ("teacher_layer", teacher.encoder.layer_widths, self.teacher_layer),
            ("student_layer", student.encoder.layer_widths, self.student_layer),
        ):
            if not -len(widths_of) <= layer < len(widths_of):
                raise ValueError(f"{key} is {layer}, and its encoder has {len(widths_of)} layers")
            widths.append(widths_of[layer])
        of_teacher, of_student = widths
        return nn.Linear(of_student, of_teacher) if of_student != of_teacher else None

    def projected(self, student: Outputs, projection: nn.Module) -> Outputs:
        """The student's outputs with its layer as its teacher's width has it."""
        layers = list(student.encoded.layers)
        layers[self.student_layer] = projection(layers[self.student_layer])
        return student._replace(encoded=student.encoded._replace(layers=tuple(layers)))

    def loss(
        self, teacher: Outputs, student: Outputs, labels: Tensor, label_lengths: Tensor
    ) -> Tensor:
        """See `hidden_loss`."""
        taught = teacher.encoded.layers[self.teacher_layer]
        return hidden_loss(
            taught if self.gradient == "both" else taught.detach(),
            student.encoded.layers[self.student_layer],
            student.encoded.lengths,
            self.distance,
            self.shift,
            ratio(teacher, student),
            teacher.encoded.lengths,
        )
