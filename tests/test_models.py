"""The recognisers under models/ are what their cards say, and transcribe."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from codert.cli import main
from codert.models.folder import load_recogniser

MODELS = Path(__file__).parents[1] / "models"
FOLDERS = sorted(path.parent for path in MODELS.glob("*/config.json"))


def test_they_are_small_enough_to_clone() -> None:
    assert FOLDERS
    assert sum(path.stat().st_size for path in MODELS.rglob("*")) <= 10e6


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_has_the_weights_that_its_card_counts(folder: Path) -> None:
    recogniser, card = load_recogniser(folder)
    text = (folder / "README.md").read_text(encoding="utf-8")
    weights = sum(weight.numel() for weight in recogniser.encoder.parameters())
    weights += sum(weight.numel() for weight in recogniser.front_end.parameters())
    assert f"| weights of the encoder | {weights:,} |" in text
    assert card.understands in text


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_hears_nothing_in_silence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(16000, np.float32), 16000)
    assert main(["transcribe", str(folder), str(tmp_path / "silence.wav"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == ""
