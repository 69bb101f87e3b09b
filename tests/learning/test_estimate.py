"""What a training would take, and the recipes of LibriSpeech up to their first updates."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile
import torch

from codert.cli import main
from codert.data.manifest import Utterance, write_manifest
from codert.errors import InputError
from codert.experiments.matrix import Matrix
from codert.learning.estimate import estimate
from codert.learning.recipe import read_plan
from codert.learning.run import train
from codert.learning.run_folder import CURVES
from codert.models.recogniser import Recogniser

from ..tiny import RECIPES, tiny_plan

CPU = torch.device("cpu")


def test_it_says_what_the_whole_training_takes(
    corpus: Path, settings: Path, tmp_path: Path
) -> None:
    training = {"epochs": 3, "accumulate": 2}
    plan = tiny_plan("tandem", settings, training=training, data={"speeds": [0.8, 1.0]})
    found = estimate(plan, [corpus], tmp_path / "cache", CPU, 2)
    assert not (tmp_path / "cache").exists()
    assert list(found.recognisers) == ["teacher", "student"]
    assert found.utterances == 28
    assert found.audio_hours == pytest.approx(28 / 3600)
    assert found.measured_updates == 2
    assert found.hours == pytest.approx(found.updates * found.step_seconds / 3600)
    assert found.peak_memory_gb > 0.01
    # 28 seconds at two speeds, 100 frames a second, 80 numbers of two bytes.
    assert found.features_gb == pytest.approx((28 + 35) * 100 * 80 * 2 / 1e9)
    encoders = sum(size.encoder_params for size in found.recognisers.values())
    assert found.gflops_per_audio_second == pytest.approx(6 * 25 * encoders / 1e9)
    run = train(plan, [corpus], tmp_path / "run", tmp_path / "cache", CPU)
    lines = (run.recognisers["student"].parent / CURVES).read_text().splitlines()
    # Lengths are the manifest's in one and the audio's in the other, so batches differ a little.
    assert abs(found.updates - json.loads(lines[-1])["update"]) <= 3


@pytest.mark.parametrize(
    ("hours", "said"), [(1234.5, "1,234 h"), (0.25, "15 min"), (0.0025, "9 s")]
)
def test_a_duration_has_the_unit_that_fits(
    hours: float, said: str, corpus: Path, settings: Path, tmp_path: Path
) -> None:
    found = estimate(tiny_plan("alone", settings), [corpus], tmp_path, CPU, 1)
    assert f"all updates: {said};" in str(replace(found, hours=hours))


def test_an_edge_that_starts_late_is_counted(
    corpus: Path, settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = {"from": "teacher", "to": "student", "match": "encoder_logits"}
    plan = tiny_plan("tandem", settings, edges=[late | {"schedule": {"start": 0.9}}])
    loss = Mock(wraps=plan.edges[0].loss)
    monkeypatch.setattr(type(plan.edges[0]), "loss", loss)
    estimate(plan, [corpus], tmp_path, CPU, 1)
    assert loss.call_count == 2


def test_one_update_is_no_measure(corpus: Path, settings: Path, tmp_path: Path) -> None:
    plan = tiny_plan("alone", settings, data={"batch_seconds": 1000})
    with pytest.raises(InputError, match=r"lower data\.batch_seconds"):
        estimate(plan, [corpus], tmp_path, CPU, 5)


def test_the_command_prints_it(
    corpus: Path, settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["estimate", str(RECIPES / "alone.yaml"), "--data", str(corpus), "--updates", "1"]
    words += ["--settings", str(settings), "--device", "cpu", "--cache", str(tmp_path)]
    assert main(words) == 0
    assert "in 28 utterances, 2 epochs" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recognisers"]["student"]["encoder_params"] > 0


@pytest.fixture(scope="module")
def librispeech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of manifests as `codert prepare librispeech` writes them, with few recordings.

    Utterances are as long as LibriSpeech's, 2 to 16 seconds and mostly long, with 2.7 words a
    second of as many kinds.
    """
    folder = tmp_path_factory.mktemp("librispeech")
    rng = np.random.default_rng(0)
    lengths = [2.0, 6.0, 11.0, 13.0, 15.0, 16.0]
    for number, seconds in enumerate(lengths):
        samples = 0.1 * rng.standard_normal(round(16000 * seconds))
        soundfile.write(folder / f"{number}.flac", samples, 16000)

    def utterances(part: str, many: int) -> Sequence[Utterance]:
        made = []
        for i in range(many):
            number = i % len(lengths)
            seconds, speaker = lengths[number], str(i % 7)
            letters = rng.integers(ord("A"), ord("Z") + 1, size=(round(2.7 * seconds), 5))
            text = " ".join(word.astype(np.uint8).tobytes().decode() for word in letters)
            audio, split = folder / f"{number}.flac", part.partition("-")[0]
            made.append(Utterance(f"{part}-{i}", audio, text, speaker, split, seconds))
        return made

    parts = {"train-clean-100": 90, "train-clean-360": 90, "train-other-500": 90}
    for part, many in (parts | {"dev-clean": 4, "test-clean": 4}).items():
        write_manifest(folder / f"{part}.tsv", utterances(part, many))
    return folder


@pytest.fixture(params=["librispeech-100", "librispeech-960"])
def matrix(request: Any, librispeech: Path, monkeypatch: pytest.MonkeyPatch) -> Matrix:
    monkeypatch.setenv("LIBRISPEECH", str(librispeech))
    return Matrix.read(RECIPES / "experiments" / f"{request.param}.yaml")


def test_the_recipes_of_librispeech_have_the_sizes_they_name(matrix: Matrix) -> None:
    plan = matrix.plans["tandem-shared"].plan
    V, F = plan.wordpieces.size, plan.features.mels
    built = {name: Recogniser.build(config, F, V) for name, config in plan.live.items()}
    target = {"librispeech-100": 3e6, "librispeech-960": 10e6}[matrix.experiment.name]
    assert built["student"].total_params == pytest.approx(target, rel=0.1)
    assert built["teacher"].encoder_params > 4 * built["student"].encoder_params


@pytest.mark.slow
@pytest.mark.parametrize("plan", ["alone", "tandem-shared"])
def test_the_recipes_of_librispeech_make_their_first_updates(
    plan: str, matrix: Matrix, librispeech: Path, tmp_path: Path
) -> None:
    name = f"{matrix.experiment.name}.yaml"
    over = {"data": {"batch_seconds": 20}}  # on one core in seconds
    recipe = read_plan(RECIPES / f"{plan}.yaml", RECIPES / "settings" / name, over)
    [manifests] = matrix.experiment.corpora.values()
    paths = [librispeech / Path(manifest).name for manifest in manifests]
    found = estimate(recipe, paths, tmp_path, CPU, 2)
    assert found.measured_updates == 2
    assert found.step_seconds > 0
