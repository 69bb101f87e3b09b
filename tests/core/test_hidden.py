"""Distillation of hidden layers, against frame after frame."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from codert.distillation import Distance, hidden_loss

from .test_frames import LENGTHS, SHIFTS, pairs_of, teacher_lengths

D = 5


def layer(lengths: list[int], seed: int) -> Tensor:
    """(B, T, D) with nan in its padding."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.full((len(lengths), max(lengths), D), math.nan, dtype=torch.float64)
    for row, length in zip(x, lengths, strict=True):
        row[:length] = torch.randn(length, D, generator=generator, dtype=torch.float64)
    return x.requires_grad_()


def brute(teacher: Tensor, student: Tensor, distance: Distance, shift: int, ratio: int) -> Tensor:
    each = []
    of_teacher = teacher_lengths(ratio, 0)
    for b, (ahead, length) in enumerate(zip(of_teacher, LENGTHS, strict=True)):
        for t, s in pairs_of(ahead, length, shift, ratio):
            x, y = teacher[b, t], student[b, s]
            if distance == "mse":
                each.append((x - y) @ (x - y) / D)
            else:
                each.append(1 - x @ y / (x.norm() * y.norm()))
    return torch.stack(each).mean() if each else torch.zeros((), dtype=torch.float64)


@pytest.mark.parametrize("distance", ["mse", "cosine"])
@pytest.mark.parametrize("ratio", [1, 2])
@pytest.mark.parametrize("shift", SHIFTS)
def test_it_is_the_mean_over_pairs_of_frames(distance: Any, ratio: int, shift: int) -> None:
    teacher, student = layer(teacher_lengths(ratio, 0), 1), layer(LENGTHS, 2)
    ends = torch.tensor(teacher_lengths(ratio, 0))
    found = hidden_loss(teacher, student, torch.tensor(LENGTHS), distance, shift, ratio, ends)
    expected = brute(teacher, student, distance, shift, ratio)
    assert_close(found, expected)
    if expected.requires_grad:
        for a, b in zip(
            torch.autograd.grad(found, [teacher, student]),
            torch.autograd.grad(expected, [teacher, student]),
            strict=True,
        ):
            assert bool(a.isfinite().all())
            assert_close(a, b)


@pytest.mark.parametrize("distance", ["mse", "cosine"])
def test_equal_layers_cost_nothing_and_silence_is_no_trouble(distance: Any) -> None:
    x = layer(LENGTHS, 1)
    assert_close(hidden_loss(x, x, torch.tensor(LENGTHS), distance).item(), 0.0)
    zeros = torch.zeros(1, 3, D, requires_grad=True)
    loss = hidden_loss(zeros.detach(), zeros, torch.tensor([3]), distance)
    (gradient,) = torch.autograd.grad(loss, [zeros])
    assert bool(loss.isfinite())
    assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("distance", ["mse", "cosine"])
def test_its_gradients(distance: Any) -> None:
    def loss(teacher: Tensor, student: Tensor) -> Tensor:
        return hidden_loss(teacher, student, torch.tensor([3, 2]), distance)

    sides = [torch.randn(2, 3, D, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(loss, sides)


def test_what_does_not_fit_is_refused() -> None:
    x, lengths = torch.zeros(1, 3, D), torch.tensor([3])
    with pytest.raises(ValueError, match="project one to the other's width"):
        hidden_loss(x, x[..., 1:], lengths)
    with pytest.raises(ValueError, match="write mse or cosine"):
        hidden_loss(x, x, lengths, "l1")  # type: ignore[arg-type]
