"""Distillation of one part of the logits: the encoder's, as in CoDERT, or the decoder's.

Source: Swaminathan et al., "CoDERT" (2021), arXiv 2106.07734, abstract, for the encoder's. The
divergence, its temperature and its weight are choices of codert.
"""

from torch import Tensor

from codert.distillation.divergences import Divergence, compare
from codert.distillation.frames import paired, real
from codert.lattice.cells import check_lengths, exact


def encoder_logit_loss(
    teacher: Tensor,
    student: Tensor,
    frame_lengths: Tensor,
    divergence: Divergence = "kl",
    temperature: float = 1.0,
    alpha: float = 0.5,
    shift: int = 0,
    ratio: int = 1,
    teacher_lengths: Tensor | None = None,
) -> Tensor:
    """The mean divergence per frame between two encoders' logits, a scalar.

    Args:
        teacher: (B, T, V); detach it for the gradient to reach the student only.
        student: (B, T, V), or fewer frames with a ratio.
        frame_lengths: (B,), the student's; what lies behind may be anything, nan included.
        divergence: a key of `DIVERGENCES`.
        temperature: divides the logits; the loss is multiplied by its square.
        alpha: of the alpha-divergence.
        shift: the student's frame t learns from the teacher's t + shift.
        ratio: the teacher's frames for each of the student's, all of which teach it; the shift
            is counted in the teacher's.
        teacher_lengths: (B,), where they are others than the student's.

    Returns:
        The mean over the batch's pairs of frames; 0 where it has none.

    Raises:
        ValueError: the two encoders differ in frames or symbols, or there is no such divergence.
    """
    if teacher.shape[::2] != student.shape[::2]:
        raise _differ("encoder", teacher, student)
    rows = paired(teacher, student, frame_lengths, shift, ratio, teacher_lengths)
    return _mean(*rows, divergence, temperature, alpha)


def decoder_logit_loss(
    teacher: Tensor,
    student: Tensor,
    label_lengths: Tensor,
    divergence: Divergence = "kl",
    temperature: float = 1.0,
    alpha: float = 0.5,
) -> Tensor:
    """The mean divergence per label position between two decoders' logits, a scalar.

    Args:
        teacher: (B, U+1, V); detach it for the gradient to reach the student only.
        student: (B, U+1, V).
        label_lengths: (B,), each utterance having one position more; what lies behind may be
            anything, nan included.
        divergence: a key of `DIVERGENCES`.
        temperature: divides the logits; the loss is multiplied by its square.
        alpha: of the alpha-divergence.

    Returns:
        The mean over the batch's label positions; 0 where it has none.

    Raises:
        ValueError: the two decoders differ in positions or symbols, the lengths do not fit them,
            or there is no such divergence.
    """
    if teacher.shape != student.shape:
        raise _differ("decoder", teacher, student)
    check_lengths("label_lengths", label_lengths, len(student), student.shape[1] - 1)
    lengths = label_lengths.to(student.device) + 1
    rows = real(teacher, lengths), real(student, lengths)
    return _mean(*rows, divergence, temperature, alpha)


def _mean(
    teacher: Tensor, student: Tensor, divergence: Divergence, temperature: float, alpha: float
) -> Tensor:
    with exact(student.device):
        each = compare(teacher, student, divergence, temperature, alpha)
    return each.sum() / max(1, len(each))


def _differ(part: str, teacher: Tensor, student: Tensor) -> ValueError:
    return ValueError(
        f"the teacher's {part} logits are {tuple(teacher.shape)} and the student's "
        f"{tuple(student.shape)}; give both one batch and one set of word-pieces"
    )
