import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codert.data import feature_cache
from codert.data.audio import read_audio
from codert.data.feature_cache import FeatureCache
from codert.data.features import Fbank, FeatureConfig, mean_and_deviation
from codert.data.manifest import Utterance

from .conftest import MakeUtterance

CONFIG = FeatureConfig(mels=20)


def in_a_process(utterances: list[Utterance], folder: Path, before: str = "") -> list[str]:
    """The command that builds a cache, after some other statements."""
    rows = [asdict(each) | {"audio": str(each.audio)} for each in utterances]
    script = f"""
import json, os, signal, resource
from pathlib import Path
from codert.data import feature_cache
from codert.data.features import FeatureConfig, mean_and_deviation
from codert.data.manifest import Utterance
from codert.errors import InputError
rows = json.loads({json.dumps(rows)!r})
utterances = [Utterance(**(row | {{"audio": Path(row["audio"])}})) for row in rows]
{before}
try:
    feature_cache.FeatureCache.open(Path({str(folder)!r}), utterances, FeatureConfig(mels=20))
except InputError as error:
    print(error)
"""
    return [sys.executable, "-c", script]


def test_it_holds_the_features_of_each_utterance(
    tmp_path: Path, make_utterance: MakeUtterance
) -> None:
    utterances = [make_utterance(0.1 * n) for n in range(1, 6)]
    cache = FeatureCache.open(tmp_path / "cache", utterances, CONFIG)
    for each in utterances:
        features = Fbank(CONFIG)(read_audio(each.audio))
        assert cache[each.id].dtype == np.float32
        assert cache.frames(each.id) == len(features)
        np.testing.assert_allclose(cache[each.id], features, rtol=1e-3, atol=1e-3)
    assert cache.unreadable == {}


def test_a_second_opening_computes_nothing(
    tmp_path: Path, make_utterance: MakeUtterance, monkeypatch: pytest.MonkeyPatch
) -> None:
    utterances = [make_utterance()]
    first = FeatureCache.open(tmp_path / "cache", utterances, CONFIG)
    monkeypatch.setattr("codert.data.feature_cache._build", None)
    second = FeatureCache.open(tmp_path / "cache", utterances, CONFIG)
    np.testing.assert_array_equal(first["u0"], second["u0"])


def test_other_settings_or_other_audio_make_another_cache(
    tmp_path: Path, make_utterance: MakeUtterance
) -> None:
    utterance = make_utterance(0.5)

    def frames(config: FeatureConfig = CONFIG, speed: float = 1.0) -> int:
        return FeatureCache.open(tmp_path / "cache", [utterance], config, speed).frames("u0")

    assert frames() == 50
    assert frames(speed=1.25) == 40
    assert frames(replace(CONFIG, shift_ms=5.0)) == 100
    utterance.audio.write_bytes(make_utterance(0.7).audio.read_bytes())
    assert frames() == 70


def test_audio_that_was_rewritten_makes_another_cache(
    tmp_path: Path, make_utterance: MakeUtterance
) -> None:
    utterance = make_utterance()
    before = FeatureCache.open(tmp_path / "cache", [utterance], CONFIG)["u0"]
    utterance.audio.write_bytes(make_utterance().audio.read_bytes())
    later = utterance.audio.stat().st_mtime + 1
    os.utime(utterance.audio, (later, later))
    after = FeatureCache.open(tmp_path / "cache", [utterance], CONFIG)["u0"]
    assert before.shape == after.shape
    assert (before != after).any()


def test_what_cannot_be_read_is_told_with_the_reason(
    tmp_path: Path, make_utterance: MakeUtterance
) -> None:
    utterances = [make_utterance() for _ in range(3)] + [make_utterance(0.01)]
    utterances[0].audio.write_bytes(b"RIFF broken")
    utterances[1].audio.unlink()
    cache = FeatureCache.open(tmp_path / "cache", utterances, CONFIG)
    assert list(cache.unreadable) == ["u0", "u1", "u3"]
    assert "not readable as audio" in cache.unreadable["u0"]
    assert "no such file" in cache.unreadable["u1"]
    assert "one window takes 25 ms" in cache.unreadable["u3"]
    assert cache.frames("u2") == 50


def test_many_utterances_are_computed_by_several_processes(
    tmp_path: Path, make_utterance: MakeUtterance, monkeypatch: pytest.MonkeyPatch
) -> None:
    utterances = [make_utterance(0.05 + 0.01 * n) for n in range(70)]
    monkeypatch.setattr("codert.data.feature_cache.cores", lambda: 2)
    several = FeatureCache.open(tmp_path / "several", utterances, CONFIG)
    monkeypatch.setattr("codert.data.feature_cache.cores", lambda: 1)
    one = FeatureCache.open(tmp_path / "one", utterances, CONFIG)
    for each in utterances:
        np.testing.assert_array_equal(several[each.id], one[each.id])


@pytest.mark.parametrize("cut", [0, 3, 1500])
def test_a_killed_build_goes_on_where_it_was(
    cut: int, tmp_path: Path, make_utterance: MakeUtterance, monkeypatch: pytest.MonkeyPatch
) -> None:
    utterances = [make_utterance(), make_utterance(0.01), make_utterance(0.7)]
    kill = """
def killed(*arguments):
    yield from feature_cache._compute(feature_cache._Task(utterances[:2], *arguments[1:]))
    os.kill(os.getpid(), signal.SIGKILL)
feature_cache._computed = killed
"""
    died = subprocess.run(in_a_process(utterances, tmp_path / "cache", kill), check=False)
    assert died.returncode == -9
    [part] = (tmp_path / "cache").glob("*.part")
    os.truncate(part, part.stat().st_size - cut)  # as where the power was cut
    left = []
    computed = feature_cache._computed

    def counted(utterances: Sequence[Utterance], *more: Any) -> Iterator[Any]:
        left.append(len(utterances))
        return computed(utterances, *more)

    monkeypatch.setattr(feature_cache, "_computed", counted)
    cache = FeatureCache.open(tmp_path / "cache", utterances, CONFIG)
    assert left == [3 if cut else 1]
    fresh = FeatureCache.open(tmp_path / "fresh", utterances, CONFIG)
    assert cache.unreadable.keys() == fresh.unreadable.keys() == {"u1"}
    for id in ("u0", "u2"):
        np.testing.assert_array_equal(cache[id], fresh[id])
    assert {each.suffix for each in (tmp_path / "cache").iterdir()} == {".npy", ".json", ".lock"}


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize("left", [None, 0, 100, 200])
def test_what_was_lost_of_it_is_made_again(
    suffix: str, left: int | None, tmp_path: Path, make_utterance: MakeUtterance
) -> None:
    utterances = [make_utterance() for _ in range(3)]
    whole = FeatureCache.open(tmp_path / "cache", utterances, CONFIG)
    expected = {each.id: whole[each.id].copy() for each in utterances}
    [file] = (tmp_path / "cache").glob(f"*{suffix}")
    content = file.read_bytes()
    file.unlink()  # not written over: it is mapped
    if left is not None:
        file.write_bytes(content[:left] if left < len(content) else content[:-1])
    again = FeatureCache.open(tmp_path / "cache", utterances, CONFIG)
    for id, features in expected.items():
        np.testing.assert_array_equal(again[id], features)


def test_two_processes_at_once_build_one_cache(
    tmp_path: Path, make_utterance: MakeUtterance
) -> None:
    utterances = [make_utterance() for _ in range(20)]
    command = in_a_process(utterances, tmp_path / "cache")
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("features" in text for text in said) == 1
    cache = FeatureCache.open(tmp_path / "cache", utterances, CONFIG)
    assert all(cache.frames(each.id) == 50 for each in utterances)


def test_a_full_disk_names_the_folder(tmp_path: Path, make_utterance: MakeUtterance) -> None:
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))"
    utterances = [make_utterance(2.0)]
    command = in_a_process(utterances, tmp_path / "cache", limit)
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert re.match(f"{tmp_path / 'cache'}/.*: cannot be written: ", said)
    assert "free space or name another folder" in said
    assert FeatureCache.open(tmp_path / "cache", utterances, CONFIG).frames("u0") == 200
    assert {each.suffix for each in (tmp_path / "cache").iterdir()} == {".npy", ".json", ".lock"}


def test_mean_and_deviation_of_half_precision_are_those_of_the_features(
    tmp_path: Path, make_utterance: MakeUtterance
) -> None:
    utterances = [make_utterance() for _ in range(4)]
    cache = FeatureCache.open(tmp_path / "cache", utterances, CONFIG)
    mean, deviation = mean_and_deviation(cache[each.id] for each in utterances)
    frames = np.concatenate([Fbank(CONFIG)(read_audio(each.audio)) for each in utterances])
    np.testing.assert_allclose(mean, frames.mean(axis=0), atol=2e-3)
    np.testing.assert_allclose(deviation, frames.std(axis=0), atol=2e-3)
