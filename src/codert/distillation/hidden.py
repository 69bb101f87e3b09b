"""Distillation of a hidden layer: the student's frames follow its teacher's (Romero et al., 2015).

Source: "FitNets", arXiv 1412.6550. A student of another width is projected to its teacher's first,
by weights that learn along.
"""

from typing import Literal, get_args

from torch import Tensor
from torch.nn.functional import cosine_similarity

from codert.distillation.frames import paired

Distance = Literal["mse", "cosine"]


def hidden_loss(
    teacher: Tensor,
    student: Tensor,
    frame_lengths: Tensor,
    distance: Distance = "mse",
    shift: int = 0,
    ratio: int = 1,
    teacher_lengths: Tensor | None = None,
) -> Tensor:
    """The mean distance per frame between two layers, a scalar.

    Args:
        teacher: (B, T, D); detach it for the gradient to reach the student only.
        student: (B, T, D), or fewer frames with a ratio.
        frame_lengths: (B,), the student's; what lies behind may be anything, nan included.
        distance: the mean squared difference over D, or 1 less the cosine of the angle.
        shift: the student's frame t learns from the teacher's t + shift.
        ratio: the teacher's frames for each of the student's, all of which teach it; the shift
            is counted in the teacher's.
        teacher_lengths: (B,), where they are others than the student's.

    Returns:
        The mean over the batch's pairs of frames; 0 where it has none.

    Raises:
        ValueError: the two differ in frames or width, or there is no such distance.
    """
    if distance not in get_args(Distance):
        raise ValueError(f"distance is {distance!r}; write {' or '.join(get_args(Distance))}")
    if teacher.shape[::2] != student.shape[::2]:
        raise ValueError(
            f"the teacher's layer is {tuple(teacher.shape)} and the student's "
            f"{tuple(student.shape)}; give both one batch, and project one to the other's width"
        )
    teacher, student = paired(teacher, student, frame_lengths, shift, ratio, teacher_lengths)
    if distance == "mse":
        each = (teacher - student).square().mean(-1)
    else:
        each = 1 - cosine_similarity(teacher, student, dim=-1)
    return each.sum() / max(1, len(each))
