"""Checkpoints that cannot be gone on from."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save_file

from codert.errors import InputError
from codert.learning.plan import Plan
from codert.learning.run import train
from codert.learning.run_folder import CHECKPOINT

from ..tiny import tiny_plan

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def plan(settings: Path) -> Plan:
    return tiny_plan("alone", settings, training={"epochs": 1})


@pytest.fixture(scope="module")
def finished(
    plan: Plan, corpus: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    train(plan, [corpus], folder, cache, CPU)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return shutil.copytree(finished, tmp_path / "run")


Refused = Callable[[str], None]


@pytest.fixture
def refused(run: Path, plan: Plan, corpus: Path, cache: Path) -> Refused:
    def check(complaint: str) -> None:
        with pytest.raises(InputError, match=complaint) as error:
            train(plan, [corpus], run, cache, CPU, resume=True)
        assert str(error.value).startswith(f"{run / CHECKPOINT}: ")

    return check


@pytest.mark.parametrize("size", [0, 100, -1])
def test_a_checkpoint_that_was_cut_off_is_refused(size: int, run: Path, refused: Refused) -> None:
    content = (run / CHECKPOINT).read_bytes()
    (run / CHECKPOINT).write_bytes(content[:size])
    refused("cannot be resumed from: .*; train anew$")


def test_a_checkpoint_without_a_position_is_refused(run: Path, refused: Refused) -> None:
    shutil.copy(run / "student" / "weights.safetensors", run / CHECKPOINT)
    refused("cannot be resumed from: .*; train anew$")


@pytest.mark.parametrize(
    "lacking",
    [
        "weights/student/encoder",
        "optimiser/student/0/step",
        "optimiser/student/0/exp_avg",
        "optimiser/student/3/",
    ],
)
def test_a_checkpoint_that_lacks_a_tensor_is_refused(
    lacking: str, run: Path, refused: Refused
) -> None:
    path = run / CHECKPOINT
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load(path.read_bytes())
    for name in [name for name in tensors if name.startswith(lacking)]:
        del tensors[name]
    save_file(tensors, path, metadata)
    refused("is of another plan: ")


def test_a_checkpoint_of_another_plan_is_refused(
    run: Path, refused: Refused, settings: Path, corpus: Path, cache: Path
) -> None:
    wider = {"small": {"encoder": {"width": 12}}}
    plan = tiny_plan("alone", settings, models=wider, training={"epochs": 1})
    train(plan, [corpus], run.with_name("other"), cache, CPU)
    shutil.copy(run.with_name("other") / CHECKPOINT, run / CHECKPOINT)
    refused("is of another plan: ")
