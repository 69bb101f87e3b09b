"""Distillation of the posterior over alignments: which path the labels take, and no more.

It does not ask how likely the labels are, so it does not depend on how sure a teacher is of them.

Source: Chang et al., "Revisiting the Entropy Semiring for Neural Speech Recognition" (2023), arXiv
2312.10087, which distils alignments; how it is computed here: `path_relative_entropy`.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from codert.distillation.divergences import check_divergence
from codert.distillation.frames import Frames
from codert.distillation.lattice import check_one_batch
from codert.lattice import Lattice
from codert.transducer import path_relative_entropy

OfPaths = Literal["kl", "reverse_kl"]


def path_posterior_loss(
    teacher: Lattice,
    student: Lattice,
    labels: Tensor,
    divergence: OfPaths = "kl",
    temperature: float = 1.0,
    shift: int = 0,
) -> Tensor:
    """The divergence per arc between two posteriors over the paths of the labels, a scalar.

    Args:
        teacher: of (B, T, U+1) cells; `detached()` for the gradient to reach the student only.
        student: of as many cells.
        labels: (B, U), as for `transducer_loss`.
        divergence: kl, of the student from the teacher, or reverse_kl; others have no closed form.
        temperature: divides the logits; the loss is multiplied by its square.
        shift: the student's frame t is the teacher's t + shift; below 0 all labels are to come so
            much later. Of frames that only one of the two has nothing is asked.

    Returns:
        What all utterances come to by the number of their arcs, T + U in each path; 0 where no
        utterance has an alignment.

    Raises:
        ValueError: lattices of different sizes, labels that do not fit them, or no such
            divergence.
    """
    check_divergence(divergence, temperature, 0.5, get_args(OfPaths))
    check_one_batch(teacher, student)
    sizes = teacher.shape[1], student.shape[1]
    frames = Frames.of(sizes, teacher.frame_lengths, student.frame_lengths, shift)
    lengths = teacher.frame_lengths, student.frame_lengths
    # To ask a GPU whether they are equal would make it wait; a copy does not.
    if shift or not lengths[0].is_cpu or not torch.equal(*lengths):
        teacher = teacher.frames(frames.teacher, frames.lengths)
        student = student.frames(frames.student, frames.lengths)
    p, q = teacher.tempered(temperature), student.tempered(temperature)
    if divergence == "reverse_kl":
        p, q = q, p
    arcs = student.frame_lengths + student.label_lengths
    total = arcs.masked_fill(student.frame_lengths == 0, 0).sum().clamp_min(1)
    return path_relative_entropy(p, q, labels).sum() / total * temperature**2
