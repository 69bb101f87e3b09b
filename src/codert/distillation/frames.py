"""Which frame of the teacher's teaches which of the student's."""

from typing import NamedTuple

import torch
from torch import Tensor

from codert.lattice import full_precision, inside
from codert.lattice.cells import check_lengths


class Frames(NamedTuple):
    """Pairs of frames, in order.

    Attributes:
        teacher: indices, (N,).
        student: indices, (N,).
        lengths: how many pairs lie inside each utterance, (B,).
    """

    teacher: Tensor
    student: Tensor
    lengths: Tensor

    @classmethod
    def of(
        cls,
        sizes: tuple[int, int],
        teacher_lengths: Tensor,
        student_lengths: Tensor,
        shift: int = 0,
        ratio: int = 1,
    ) -> "Frames":
        """The student's frame t learns from the teacher's frames ratio * t + shift + i, i < ratio.

        A student of a lower frame rate so learns from all frames of its teacher's, each counting
        as much as any other: its KL to them is that to their mixture and a constant. Frames that
        only one of the two has are left out.

        Args:
            sizes: frames of the batch, the teacher's and the student's.
            teacher_lengths: (B,).
            student_lengths: (B,).
            shift: in frames of the teacher's; above 0 the student is to say earlier what its
                teacher says, below 0 it may wait.
            ratio: the teacher's frames for each of the student's.

        Raises:
            ValueError: the sizes do not fit the ratio.
        """
        of_teacher, of_student = sizes
        if ratio < 1 or of_student != -(-of_teacher // ratio):
            raise ValueError(
                f"the teacher has {of_teacher} frames, the student {of_student}, and the ratio is "
                f"{ratio}; give both one frame rate, or the ratio of the two"
            )
        ahead, behind = max(0, shift), max(0, -shift)
        count = max(0, min(of_teacher - ahead, ratio * of_student - behind))
        pair = torch.arange(count, device=student_lengths.device)
        ends = torch.minimum(teacher_lengths - ahead, ratio * student_lengths - behind)
        return cls(pair + ahead, (pair + behind) // ratio, ends.clamp(0, count))


def paired(
    teacher: Tensor,
    student: Tensor,
    frame_lengths: Tensor,
    shift: int,
    ratio: int,
    teacher_lengths: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The frames of two encoders that are to be compared, side by side, (N, D) each.

    Args:
        teacher: (B, T, D).
        student: (B, T, D), or fewer frames with a ratio.
        frame_lengths: (B,), the student's.
        shift: see `Frames.of`, as for the ratio.
        ratio: the teacher's frames for each of the student's.
        teacher_lengths: (B,), where they are others than the student's.

    Raises:
        ValueError: the sizes do not fit the ratio, or the lengths the frames.
    """
    B, T = student.shape[:2]
    check_lengths("frame_lengths", frame_lengths, B, T)
    if teacher_lengths is not None:
        check_lengths("teacher_lengths", teacher_lengths, B, teacher.shape[1])
    lengths = frame_lengths.to(student.device)
    of_teacher = lengths if teacher_lengths is None else teacher_lengths.to(student.device)
    sizes = teacher.shape[1], student.shape[1]
    frames = Frames.of(sizes, of_teacher, lengths, shift, ratio)
    if shift or ratio > 1:
        teacher = teacher.index_select(1, frames.teacher)
        student = student.index_select(1, frames.student)
    return real(teacher, frames.lengths), real(student, frames.lengths)


def real(x: Tensor, lengths: Tensor) -> Tensor:
    """What of `x` (B, N, D) lies inside the lengths (B,), (M, D), in full precision.

    Selected before any arithmetic: a nan in the padding would reach the gradient.
    """
    return full_precision(x[inside(lengths, x.shape[1])])
