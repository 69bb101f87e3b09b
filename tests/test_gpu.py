"""On a GPU: every loss and gradient is the CPU's, and plans train and decode there."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from codert.learning.run import train
from distillation import METHODS, Pair
from loss import SYSTEMS, Inputs, step

from .tiny import tiny_plan

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("shape", [(2, 7, 3, 6), (8, 150, 30, 500)])
@pytest.mark.parametrize("joint", ["additive", "mlp"])
def test_the_loss_is_the_same(joint: str, shape: tuple[int, int, int, int]) -> None:
    expected, expected_gradients = step(SYSTEMS["codert"], Inputs.of(joint, *shape))
    found, gradients = step(SYSTEMS["codert"], Inputs.of(joint, *shape, "cuda"))
    assert_close(found.cpu(), expected, rtol=1e-5, atol=1e-4)
    for mine, plain in zip(gradients, expected_gradients, strict=True):
        assert_close(mine.cpu(), plain, rtol=1e-3, atol=1e-4)


# Each device draws other samples.
@pytest.mark.parametrize("method", sorted(set(METHODS) - {"sampled_kl"}))
def test_every_method_is_the_same(method: str) -> None:
    def run(device: str) -> tuple[Tensor, list[Tensor]]:
        pair = Pair.of(2, 9, 4, 7, device)
        loss = METHODS[method](pair)
        torch.autograd.backward(loss.sum())
        gradients = [x.grad.cpu() for x in pair.leaves if x.grad is not None]
        return loss.detach().cpu(), gradients

    (expected, expected_gradients), (found, gradients) = run("cpu"), run("cuda")
    assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert len(gradients) == len(expected_gradients)
    for mine, plain in zip(gradients, expected_gradients, strict=True):
        assert_close(mine, plain, rtol=1e-3, atol=1e-5)


def test_sampled_cells_have_a_gradient() -> None:
    pair = Pair.of(2, 9, 4, 7, "cuda")
    torch.autograd.backward(METHODS["sampled_kl"](pair).sum())
    gradient = pair.student.encoder_logits.grad
    assert gradient is not None
    assert gradient.isfinite().all()
    assert gradient.any()


@pytest.mark.parametrize("recipe", ["tandem-shared", "mean-teacher", "mutual"])
def test_a_plan_trains_and_decodes(
    recipe: str, corpus: Path, settings: Path, cache: Path, tmp_path: Path
) -> None:
    plan = tiny_plan(recipe, settings)
    outcome = train(plan, [corpus], tmp_path, cache, torch.device("cuda"))
    assert set(outcome.best) >= set(plan.live)
    assert not outcome.skipped
