"""The recursion's compiled forms against the plain one, which other tests hold to enumeration."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from torch import Tensor
from torch.testing import assert_close

from codert.transducer import recursion, recursion_torch, transducer_loss

from .brute_force import JOINTS, Case, arc_scores, cases, dense_loss, few, gradients, make_case

joints = pytest.mark.parametrize("joint", JOINTS)


def form(package: str) -> Callable[..., tuple[Tensor, ...]]:
    """The recursion that a package compiles; Triton's is interpreted where there is no GPU."""
    pytest.importorskip(package)
    module = importlib.import_module(f"codert.transducer.recursion_{package}")
    device = "cuda" if package == "triton" and torch.cuda.is_available() else "cpu"

    def forward_backward(*arguments: Tensor) -> tuple[Tensor, ...]:
        results = module.forward_backward(*(x.to(device) for x in arguments))
        return tuple(x.cpu() for x in results)

    return forward_backward


compiled = pytest.mark.parametrize("package", ["numba", "triton"])


@compiled
@few
@given(cases(least_frames=0))
def test_compiled_and_plain_recursions_agree(package: str, case: Case) -> None:
    blank, label = (x.detach() for x in arc_scores(case.logits(), case.labels))
    arguments = blank, label, case.frame_lengths, case.label_lengths
    for mine, plain in zip(
        form(package)(*arguments),
        recursion_torch.forward_backward(*arguments),
        strict=True,
    ):
        assert_close(mine, plain, rtol=1e-9, atol=1e-12)
    # All sum in float64, so in float32 only their input and output are rounded.
    arguments = blank.float(), label.float(), case.frame_lengths, case.label_lengths
    for mine, plain in zip(
        form(package)(*arguments),
        recursion_torch.forward_backward(*arguments),
        strict=True,
    ):
        assert mine.dtype == plain.dtype == torch.float32
        assert_close(mine, plain, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("package", ["numba", "torch", "triton"])
def test_recursions_read_strided_scores(package: str) -> None:
    case = make_case("additive", [4, 3], [2, 3])
    blank, label = (x.detach() for x in arc_scores(case.logits(), case.labels))
    blank_t, label_t = (x.mT.contiguous().mT for x in (blank, label))
    lengths = case.frame_lengths, case.label_lengths
    recursive = form(package)
    for mine, theirs in zip(
        recursive(blank_t, label_t, *lengths), recursive(blank, label, *lengths), strict=True
    ):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("package", ["torch", "triton"])
@joints
def test_each_recursion_alone_trains(
    joint: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if package == "triton" and torch.cuda.is_available():
        pytest.skip("what is on the CPU cannot go through a GPU's kernel")
    form(package)
    monkeypatch.setitem(recursion._FORMS, "cpu", package)
    case = make_case(joint, [4, 2, 1], [1, 3, 0], more_frames=1, more_labels=1)
    loss, expected = transducer_loss(case.lattice(), case.labels), dense_loss(case)
    assert_close(loss, expected)
    for mine, theirs in zip(gradients(loss, case), gradients(expected, case), strict=True):
        assert_close(mine, theirs)


def test_steps_of_the_scan_compose_in_any_order() -> None:
    pytest.importorskip("triton")
    from .scan_orders import both_orders

    generator = torch.Generator().manual_seed(0)
    steps = 10 * torch.randn(6, 64, generator=generator, dtype=torch.float64)
    steps[torch.rand(6, 64, generator=generator) < 0.2] = -torch.inf
    first, last = both_orders(steps)
    assert_close(first, last)
    a, b, arcs, entered = first[0], first[1], steps[0::2], steps[1::2]
    assert_close(a, arcs.sum(0))
    paths = [entered[0] + arcs[1] + arcs[2], entered[1] + arcs[2], entered[2]]
    assert_close(b, torch.stack(paths).logsumexp(0))


@pytest.mark.slow
def test_the_kernel_compiles_for_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("gpu_binary.py"))],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert all(int(size) > 1000 for size in result.stdout.split())
    assert len(result.stdout.split()) == 4


@pytest.mark.gpu
@few
@given(cases(least_frames=0))
def test_on_a_gpu_the_recursion_is_the_reference(case: Case) -> None:
    blank, label = (x.detach() for x in arc_scores(case.logits(), case.labels))
    arguments = blank, label, case.frame_lengths, case.label_lengths
    for mine, plain in zip(
        recursion.forward_backward(*(x.cuda() for x in arguments)),
        recursion_torch.forward_backward(*arguments),
        strict=True,
    ):
        assert mine.is_cuda
        assert_close(mine.cpu(), plain, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("package", ["numba", "torch", "triton"])
def test_recursions_keep_nan(package: str) -> None:
    case = make_case("additive", [4, 3], [2, 3])
    blank, label = (x.detach() for x in arc_scores(case.logits(), case.labels))
    lengths = case.frame_lengths, case.label_lengths
    before = recursion_torch.forward_backward(blank, label, *lengths)
    blank[0, 1, 1] = torch.nan
    for mine, other in zip(form(package)(blank, label, *lengths), before, strict=True):
        assert mine[0].isnan().any()
        assert_close(mine[1], other[1])  # the other utterance is as it was
