"""For all tests: one thread and no spinning, set before torch is imported; Triton interpreted."""

import os

# Whatever the shell says: figures must not depend on it, nor on the order of tests.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["MPLBACKEND"] = "Agg"

import torch

# Before Triton is imported: without a GPU its kernels are interpreted.
os.environ.setdefault("TRITON_INTERPRET", "0" if torch.cuda.is_available() else "1")

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import settings as hypothesis_settings

from codert.data.manifest import Utterance, write_manifest

from .tiny import RATE, TINY, spoken

# The machine may be busy, and a failure must come back.
hypothesis_settings.register_profile("shared machine", deadline=None, derandomize=True)
hypothesis_settings.load_profile("shared machine")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What needs a GPU is skipped where there is none."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a GPU")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    utterances = []
    for i in range(40):
        split = "train" if i < 28 else "dev" if i < 34 else "test"
        words = ["".join(rng.choice(list("ABCDE"), 2)) for _ in range(rng.integers(1, 4))]
        text = " ".join(words)
        audio = folder / f"{split}-{i}.wav"
        soundfile.write(audio, spoken(text) + 0.003 * rng.standard_normal(len(spoken(text))), RATE)
        utterances.append(Utterance(f"{split}-{i}", audio, text, f"s{i % 4}", split, 1.0))
    write_manifest(folder / "manifest.tsv", utterances)
    return folder / "manifest.tsv"


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings of two tiny models."""
    path = tmp_path_factory.mktemp("settings") / "tiny.yaml"
    path.write_text(TINY, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where features are kept."""
    return tmp_path_factory.mktemp("cache")
