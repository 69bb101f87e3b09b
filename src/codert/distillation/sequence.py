"""Distillation of sequences: how likely the student finds what its teacher would write.

Sources: Kim and Rush (2016), arXiv 1606.07947; for transducers, with the full sum over alignments
of an N-best list, arXiv 2303.05958.
"""

import torch
from torch import Tensor

from codert.lattice import Lattice, full_precision
from codert.lattice.cells import NEVER, exact
from codert.transducer import transducer_loss


def sequence_loss(teacher: Tensor, student: Lattice, labels: Tensor, utterances: Tensor) -> Tensor:
    """The student's -log P of its teacher's hypotheses, per label, a scalar.

    An utterance's hypotheses are weighted by the teacher's probabilities of them, made to sum to
    1. So of one hypothesis it is the transducer loss with that for a transcript.

    Args:
        teacher: log P of each hypothesis, (H,), such as the negative of its `transducer_loss`;
            detach it for the gradient to reach the student only.
        student: (H, T, U+1) cells, an utterance's frames repeated for each of its hypotheses.
        labels: the hypotheses, (H, U), as for `transducer_loss`.
        utterances: which utterance each is of, (H,), from 0.

    Returns:
        What all utterances come to by the labels that the teacher expects in them, in each at
        least 1. Hypotheses without an alignment are left out; 0 where there are no others.

    Raises:
        ValueError: labels that do not fit the lattice, or other than H numbers.
    """
    H = len(labels)
    if teacher.shape != (H,) or utterances.shape != (H,):
        raise ValueError(
            f"of {H} hypotheses the teacher gives {tuple(teacher.shape)} log-probabilities and "
            f"utterances are {tuple(utterances.shape)}; write one for each"
        )
    losses = transducer_loss(student, labels)
    # Not isfinite, so that nan is kept.
    possible = (losses != torch.inf) & (teacher != -torch.inf)
    log_p = full_precision(teacher).masked_fill(~possible, NEVER)
    together = utterances[:, None] == utterances  # (H, H)
    total = torch.where(together, log_p, -torch.inf).logsumexp(1)
    weights = (log_p - total).exp() * possible
    with exact(weights.device):
        labels_of = weights * student.label_lengths.to(weights.device)
        expected = together.to(weights.dtype) @ labels_of
    count = (weights * expected.clamp_min(1)).sum().clamp_min(1)
    return (weights * torch.where(possible, losses, 0)).sum() / count
