"""How far a student's logits are from its teacher's.

Each function takes the teacher's and the student's logits, (..., V), and gives one
non-negative value for each position, (...), with gradients to both.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

Divergence = Literal["kl", "reverse_kl", "jensen_shannon", "l2"]


def kl(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(teacher || student) in nats: the student covers all that the teacher thinks likely."""
    log_teacher, log_student = teacher.log_softmax(-1), student.log_softmax(-1)
    return _expected(log_teacher, log_teacher - log_student)


def reverse_kl(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(student || teacher) in nats: the student avoids what the teacher thinks unlikely."""
    return kl(student, teacher)


def jensen_shannon(teacher: Tensor, student: Tensor) -> Tensor:
    """The mean KL of both to their mixture, in nats; at most log 2."""
    log_teacher, log_student = teacher.log_softmax(-1), student.log_softmax(-1)
    lowest = torch.finfo(log_teacher.dtype).min  # of two of -inf the derivative would be nan
    log_mixture = torch.logaddexp(log_teacher.clamp_min(lowest), log_student) - math.log(2)
    return 0.5 * (
        _expected(log_teacher, log_teacher - log_mixture)
        + _expected(log_student, log_student - log_mixture)
    )


def l2(teacher: Tensor, student: Tensor) -> Tensor:
    """Mean squared difference of the logits, each centred over the V symbols.

    A constant added to all logits of a frame changes no probability, so it must not count.
    """
    difference = teacher - student
    return (difference - difference.mean(-1, keepdim=True)).square().mean(-1)


def _expected(log_p: Tensor, value: Tensor) -> Tensor:
    """What is impossible counts for nothing, whatever its value."""
    return (log_p.exp() * value.masked_fill(log_p == -torch.inf, 0)).sum(-1)


DIVERGENCES: Mapping[Divergence, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {"kl": kl, "reverse_kl": reverse_kl, "jensen_shannon": jensen_shannon, "l2": l2}
)
