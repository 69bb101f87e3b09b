"""For tests of learning: a teacher that is finished."""

from pathlib import Path

import pytest
import torch

from codert.learning.run import train

from ..tiny import tiny_plan


@pytest.fixture(scope="session")
def teacher(
    corpus: Path, cache: Path, settings: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Its folder."""
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    plan = tiny_plan("teacher", settings)
    return train(plan, [corpus], folder, cache, torch.device("cpu")).recognisers["teacher"]
