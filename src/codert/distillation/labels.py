"""Distillation of labels: what else each of them might have been, whenever it is said.

Both sides are asked where they say a label themselves, so it asks nothing of when: a teacher may
hear the whole utterance, or have another frame rate, and its student say everything later. It
compares joint distributions, so it does not depend on the gauge; docs/gauge.md. A choice of codert.
"""

import torch
from torch import Tensor

from codert.distillation.divergences import Divergence, compare
from codert.distillation.lattice import check_one_batch
from codert.lattice import BLANK, Lattice, inside
from codert.transducer import occupancies


def label_loss(
    teacher: Lattice,
    student: Lattice,
    labels: Tensor,
    divergence: Divergence = "kl",
    temperature: float = 1.0,
    alpha: float = 0.5,
) -> Tensor:
    """The mean divergence per label between what else it might have been, a scalar.

    Each side's distribution is that of its own likeliest frame of the label, without blank.

    Args:
        teacher: of (B, T, U+1, V) cells; `detached()` for the gradient to reach the student only.
        student: of as many label positions and symbols, and any number of frames.
        labels: (B, U), as for `transducer_loss`.
        divergence: a key of `DIVERGENCES`.
        temperature: divides the logits; the loss is multiplied by its square.
        alpha: of the alpha-divergence.

    Returns:
        The mean over the batch's labels; 0 where it has none. Utterances without an alignment are
        left out.

    Raises:
        ValueError: lattices of other labels or symbols, labels that do not fit them, or no such
            divergence.
    """
    check_one_batch(teacher, student)
    said = inside(student.label_lengths, labels.shape[1])
    when = []
    for lattice in (teacher, student):
        emitted = occupancies(lattice, labels).label.max(1) if lattice.shape[1] else None
        if emitted is None:
            said = torch.zeros_like(said)
            break
        said = said & (emitted.values != 0)  # nan is kept
        when.append(emitted.indices)
    b, u = said.nonzero().unbind(1)
    p, q = (
        lattice.at(b, t[b, u], u)[:, BLANK + 1 :]
        for lattice, t in zip((teacher, student), when, strict=True)
    )
    each = compare(p, q, divergence, temperature, alpha)
    return each.sum() / max(1, len(each))
