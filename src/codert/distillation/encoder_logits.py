"""The auxiliary loss of CoDERT: the student's encoder logits follow the teacher's.

Source: Swaminathan et al., "CoDERT" (2021), arXiv 2106.07734, abstract. The divergence, its
temperature and its weight are choices of codert.
"""

from torch import Tensor

from codert.distillation.divergences import DIVERGENCES, Divergence
from codert.lattice import full_precision, inside
from codert.lattice.cells import exact


def encoder_logit_loss(
    teacher: Tensor,
    student: Tensor,
    frame_lengths: Tensor,
    divergence: Divergence = "kl",
    temperature: float = 1.0,
) -> Tensor:
    """The mean divergence per frame between two encoders' logits, a scalar.

    Args:
        teacher: (B, T, V); detach it for the gradient to reach the student only.
        student: (B, T, V).
        frame_lengths: (B,); what lies behind may be anything, nan included.
        divergence: a key of `DIVERGENCES`.
        temperature: divides the logits; the loss is multiplied by its square, which keeps the
            size of the gradient (Hinton et al., 2015, arXiv 1503.02531, section 2.1).

    Returns:
        The mean over the batch's frames; 0 where it has none.

    Raises:
        ValueError: the two encoders differ in frames or symbols.
    """
    if teacher.shape != student.shape:
        raise ValueError(
            f"the teacher's encoder logits are {tuple(teacher.shape)} and the student's "
            f"{tuple(student.shape)}; give both encoders one frame rate and one set of word-pieces"
        )
    # Selected before any arithmetic: a nan in the padding would reach the gradient.
    frames = inside(frame_lengths.to(student.device), student.shape[1])
    teacher, student = full_precision(teacher[frames]), full_precision(student[frames])
    with exact(student.device):
        per_frame = DIVERGENCES[divergence](teacher / temperature, student / temperature)
    return per_frame.sum() / max(1, len(per_frame)) * temperature**2
