"""The benchmarks: what they measure, and that what they compare is the same."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from bench import BENCHMARKS, fallen
from loss import SYSTEMS, Inputs, check, step
from measure import measured
from table import filled, table

BENCHMARKS_FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize("system", ["dense", "warprnnt_numba", "torchaudio", "fast_rnnt"])
@pytest.mark.parametrize("joint", ["additive", "mlp"])
def test_every_system_computes_the_same(system: str, joint: str) -> None:
    if system != "dense":
        pytest.importorskip(system)
    inputs = Inputs.of(joint, 2, 7, 3, 6)
    losses, gradients = step(SYSTEMS["codert"], inputs)
    others, other_gradients = step(SYSTEMS[system], inputs)
    assert_close(others, losses)
    for found, expected in zip(other_gradients, gradients, strict=True):
        assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("joint", ["additive", "mlp"])
def test_the_check_against_float64_can_fail(joint: str) -> None:
    inputs = Inputs.of(joint, 2, 7, 3, 6)
    losses, gradients = step(SYSTEMS["codert"], inputs)
    check(inputs, losses, gradients)
    with pytest.raises(AssertionError):
        check(inputs, losses + 0.01, gradients)
    for i in range(len(gradients)):
        wrong = [g + 0.01 * (j == i) for j, g in enumerate(gradients)]
        with pytest.raises(AssertionError):
            check(inputs, losses, tuple(wrong))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_seen_at_its_peak() -> None:
    def work() -> None:
        held = torch.ones(25_000_000)  # 100 MB
        held.add_(1)
        del held
        torch.ones(1000)

    assert 95 < measured(work, runs=2).peak_mb < 120


def test_ratios_that_fell_are_named() -> None:
    stored = {"same": 2.0, "noisy": 2.0, "fell": 3.0, "gone": 1.0}
    lines = fallen({"same": 2.0, "noisy": 1.5, "fell": 1.0, "new": 9.0}, stored)
    assert lines == ["fell: fell from 3.0 to 1.0", "gone: gone (1.0)"]


def test_a_ratio_that_should_be_small_falls_when_it_grows() -> None:
    row = {"plan": "tandem", "ratio_time": 0.5, "loader_ratio": 8.0}
    ratios = BENCHMARKS["step"].ratios("step", [row])
    assert ratios == {
        "step plan=tandem loader_ratio": 8.0,
        "step plan=tandem 1/ratio_time": 2.0,
    }


def test_a_table_takes_its_place() -> None:
    page = "a\n<!-- loss -->\nold\n<!-- end of loss -->\nz\n"
    rows = table([{"system": "dense", "seconds": 0.12345}])
    assert filled(page, "loss", rows) == (
        "a\n<!-- loss -->\n| system | seconds |\n| --- | ---: |\n| dense | 0.123 |\n"
        "<!-- end of loss -->\nz\n"
    )
    with pytest.raises(SystemExit, match="no place"):
        filled(page, "step", rows)


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("script", ["loss", "distillation"])
def test_from_the_command_line(script: str, device: str) -> None:
    command = [sys.executable, str(BENCHMARKS_FOLDER / f"{script}.py"), "--threads", "1"]
    command += ["--short", "--device", device, "--shapes", "4x60x20x64", "--json", "-"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = json.loads(printed)
    assert rows
    assert BENCHMARKS[script].ratios(script, rows)
    assert all(row["seconds"] > 0 for row in rows)
