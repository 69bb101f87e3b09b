"""`codert train`: how it ends, and how it goes on."""

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from codert.cli import main
from codert.data.batches import Batch
from codert.data.manifest import read_manifest, write_manifest
from codert.learning.trainer import Trainer

from ..tiny import RECIPES

Words = Callable[..., list[str]]


@pytest.fixture
def words(corpus: Path, settings: Path, cache: Path) -> Words:
    def train(out: Path, data: Path = corpus) -> list[str]:
        return [
            *("train", str(RECIPES / "alone.yaml"), "--settings", str(settings)),
            *("--data", str(data), "--out", str(out), "--cache", str(cache)),
            # Only who stops writes a checkpoint within an epoch.
            *("--set", "training.checkpoint_every=3600"),
        ]

    return train


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_a_training_that_was_asked_to_stop_goes_on_with_resume(
    asked: signal.Signals,
    words: Words,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    update = Trainer._update

    def interrupted(self: Trainer, group: list[Batch]) -> dict[str, torch.Tensor | float]:
        if self.position.updates == 3:
            signal.raise_signal(asked)
        return update(self, group)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_update", interrupted)
        assert main(words(tmp_path / "stopped")) == 130
    said = f"stopped; go on with the same command and --resume ({tmp_path / 'stopped' / 'alone'})"
    assert capsys.readouterr().out == f"codert: {said}\n"
    assert main([*words(tmp_path / "stopped"), "--resume"]) == 0
    assert main(words(tmp_path / "whole")) == 0
    stopped, whole = (
        load_file(tmp_path / out / "alone" / "student" / "weights.safetensors")
        for out in ("stopped", "whole")
    )
    torch.testing.assert_close(stopped, whole, rtol=0, atol=0)


def test_a_training_without_dev_says_that_the_last_weights_are_kept(
    corpus: Path,
    words: Words,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    manifest = tmp_path / "manifest.tsv"
    write_manifest(manifest, [each for each in read_manifest(corpus) if each.split == "train"])
    assert main(words(tmp_path, manifest)) == 0
    out, err = capsys.readouterr()
    assert out == (
        f"student: {tmp_path / 'alone' / 'student'}\n"
        "no utterance of split dev: no development WER; the last weights are kept\n"
    )
    # It is not only told when all is over.
    told = f"codert: {manifest}: no utterance of split dev (there are: train): the last weights"
    assert 0 <= err.find(told) < err.find("alone:")


def test_word_pieces_that_do_not_suit_name_the_recipe(
    corpus: Path, words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    over = ["--set", "wordpieces.size=5000"]
    assert main([*words(tmp_path, corpus), *over]) == 2
    said = r"^codert: .*alone\.yaml: wordpieces\.size 5000 is too large for so little text"
    assert re.search(said, capsys.readouterr().err, re.MULTILINE)


def test_a_training_says_the_best_word_error_rate_on_dev(
    words: Words,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("codert.learning.trainer.wer", lambda _: 12.34)
    assert main(words(tmp_path)) == 0
    out = capsys.readouterr().out
    assert out == f"student: {tmp_path / 'alone' / 'student'}, development WER 12.3%\n"
