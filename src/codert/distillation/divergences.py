"""How far a student's logits are from its teacher's.

Each function takes the teacher's and the student's logits, (..., V), and gives one
non-negative value for each position, (...), with gradients to both.
"""

import math
from collections.abc import Callable, Collection, Mapping
from functools import partial
from types import MappingProxyType
from typing import Literal, get_args

import torch
from torch import Tensor

Divergence = Literal["kl", "reverse_kl", "jensen_shannon", "alpha", "l2", "cosine"]
# Those of two distributions, also where no logits are left of them.
OfProbabilities = Literal["kl", "reverse_kl", "jensen_shannon", "alpha"]


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


def alpha_divergence(teacher: Tensor, student: Tensor, alpha: float = 0.5) -> Tensor:
    """(1 - sum_v P^alpha Q^(1 - alpha)) / (alpha (1 - alpha)), P being the teacher's.

    Between reverse_kl (alpha to 0) and kl (alpha to 1), and bounded where those are not; at 0.5
    four times the squared Hellinger distance. In float32 its gradient is good to a percent from
    0.01 to 0.99, and noise much nearer to 0 or 1; its value at these only from 0.001 nats or so.

    Source: Cichocki and Amari (2010), "Families of Alpha- Beta- and Gamma- Divergences",
    section 2.1.
    """
    log_teacher, log_student = teacher.log_softmax(-1), student.log_softmax(-1)
    lowest = torch.finfo(log_teacher.dtype).min  # of nothing but -inf the derivative would be nan
    powers = (alpha * log_teacher + (1 - alpha) * log_student).clamp_min(lowest)
    return by_affinity(powers.logsumexp(-1), alpha)


def by_affinity(log_affinity: Tensor, alpha: float) -> Tensor:
    """The alpha-divergence from log sum_v P^alpha Q^(1 - alpha).

    Where rounding puts that above 0 it is a little below 0; at 0 its gradient would be lost.
    """
    return -torch.expm1(log_affinity) / (alpha * (1 - alpha))


def l2(teacher: Tensor, student: Tensor) -> Tensor:
    """Mean squared difference of the logits, each centred over the V symbols.

    A constant added to all logits of a frame changes no probability, so it must not count.
    """
    difference = teacher - student
    return (difference - difference.mean(-1, keepdim=True)).square().mean(-1)


def cosine(teacher: Tensor, student: Tensor) -> Tensor:
    """1 less the cosine of the logits, each centred over the V symbols; at most 2.

    It knows directions alone: logits that are a multiple of the teacher's cost nothing.
    """
    a, b = (x - x.mean(-1, keepdim=True) for x in (teacher, student))
    return 1 - torch.nn.functional.cosine_similarity(a, b, dim=-1)


def compare(
    teacher: Tensor,
    student: Tensor,
    divergence: Divergence = "kl",
    temperature: float = 1.0,
    alpha: float = 0.5,
) -> Tensor:
    """A divergence by its name: (..., V) and (..., V) logits to (...).

    Args:
        teacher: logits.
        student: logits.
        divergence: a key of `DIVERGENCES`.
        temperature: divides the logits; the result is multiplied by its square, which keeps the
            size of the gradient (Hinton et al., 2015, arXiv 1503.02531, section 2.1). Of l2 the
            two cancel.
        alpha: of the alpha-divergence; others do not read it.

    Raises:
        ValueError: see `check_divergence`.
    """
    check_divergence(divergence, temperature, alpha)
    function = DIVERGENCES[divergence]
    if divergence == "alpha":
        function = partial(alpha_divergence, alpha=alpha)
    return function(teacher / temperature, student / temperature) * temperature**2


def check_divergence(
    divergence: str,
    temperature: float,
    alpha: float,
    possible: Collection[str] = get_args(Divergence),
) -> None:
    """Raises ValueError where there is no such divergence, naming those that are `possible`."""
    if divergence not in possible:
        raise ValueError(f"divergence is {divergence!r}; write {' or '.join(possible)}")
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature is {temperature}; write a number above 0")
    if divergence == "cosine" and temperature != 1:
        raise ValueError("the cosine does not feel a temperature; remove temperature")
    if divergence == "alpha" and not 0.01 <= alpha <= 0.99:
        raise ValueError(
            f"alpha is {alpha}; write 0.01 to 0.99, or divergence: reverse_kl for 0, kl for 1"
        )


def _expected(log_p: Tensor, value: Tensor) -> Tensor:
    """What is impossible counts for nothing, whatever its value."""
    return (log_p.exp() * value.masked_fill(log_p == -torch.inf, 0)).sum(-1)


DIVERGENCES: Mapping[Divergence, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        "kl": kl,
        "reverse_kl": reverse_kl,
        "jensen_shannon": jensen_shannon,
        "alpha": alpha_divergence,
        "l2": l2,
        "cosine": cosine,
    }
)
