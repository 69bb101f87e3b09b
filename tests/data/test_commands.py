import builtins
import filecmp
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from codert.data.audio import read_audio
from codert.data.commands.corpus import prepare
from codert.data.commands.espeak import Engine
from codert.data.commands.grammar import draw_sentence, vocabulary
from codert.data.commands.voices import ACCENTS, VOICES, draw_voice
from codert.data.manifest import Utterance, read_manifest
from codert.data.text import normalise
from codert.errors import InputError

SPLITS = ("train", "dev", "test")
HOURS, TEST_WORDS, DEV_WORDS = 0.02, 90, 40


def tiny(folder: Path, hours: float = HOURS, seed: int = 0, jobs: int = 1) -> Path:
    return prepare(folder, hours, seed, jobs, test_words=TEST_WORDS, dev_words=DEV_WORDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("espeakng_loader")
    return tiny(tmp_path_factory.mktemp("corpora") / "commands").parent


@pytest.fixture(scope="module")
def utterances(folder: Path) -> list[Utterance]:
    return read_manifest(folder / "manifest.tsv")


def test_no_sentence_is_in_two_splits() -> None:
    rng = np.random.default_rng(0)
    said = {split: {normalise(draw_sentence(split, rng)) for _ in range(400)} for split in SPLITS}
    assert not said["train"] & said["dev"]
    assert not said["train"] & said["test"]
    assert not said["dev"] & said["test"]


def test_all_words_are_trained_on_and_there_are_enough() -> None:
    rng = np.random.default_rng(0)
    words = {w for _ in range(5000) for w in normalise(draw_sentence("train", rng)).split()}
    assert words == vocabulary()
    assert 220 <= len(words) <= 300


def test_no_digits_are_left_in_the_text() -> None:
    assert all(word.replace("'", "").isalpha() for word in vocabulary())


def variants(split: str) -> list[str]:
    return [variant for versions in VOICES[split] for variant in versions]


def test_variants_are_in_one_split_only() -> None:
    everyone = [variant for split in SPLITS for variant in variants(split)]
    assert len(everyone) == len(set(everyone))
    rng = np.random.default_rng(0)
    for split in SPLITS:
        speakers = {draw_voice(split, rng)[0] for _ in range(10_000)}
        assert speakers == {f"{a}+{v}" for a in ACCENTS for v in variants(split)}


def test_every_voice_speaks_in_its_own_way() -> None:
    pytest.importorskip("espeakng_loader")
    sounds = set()
    for accent in ACCENTS.values():
        for variant in (v for split in SPLITS for v in variants(split)):
            with Engine() as engine:
                samples = engine.say("water bottle", f"{accent}+{variant}", 160, 50, 50)
            assert 0.4 < len(samples) / 22050 < 3
            assert 0.02 < np.abs(samples).max() <= 1
            sounds.add(samples.tobytes())
    assert len(sounds) == len(ACCENTS) * sum(len(variants(split)) for split in SPLITS)


def test_a_new_engine_does_not_remember_the_last_one() -> None:
    pytest.importorskip("espeakng_loader")
    with Engine() as engine:
        first = engine.say("add milk", "en+f4", 160, 50, 50)
        engine.say("and call boris", "en-us+m3", 190, 30, 50)
    with Engine() as engine:
        np.testing.assert_array_equal(engine.say("add milk", "en+f4", 160, 50, 50), first)


def test_the_amounts_are_as_asked(utterances: Sequence[Utterance]) -> None:
    def words(split: str) -> int:
        return sum(len(each.text.split()) for each in utterances if each.split == split)

    seconds = sum(each.seconds for each in utterances if each.split == "train")
    assert HOURS * 3600 <= seconds < HOURS * 3600 + 10
    assert TEST_WORDS <= words("test") < TEST_WORDS + 15
    assert DEV_WORDS <= words("dev") < DEV_WORDS + 15


def test_the_audio_is_what_the_manifest_says(folder: Path, utterances: Sequence[Utterance]) -> None:
    for each in utterances:
        samples = read_audio(each.audio)
        assert len(samples) / 16000 == pytest.approx(each.seconds, abs=1e-3)
        assert 0.25 < np.abs(samples).max() < 0.95
        assert each.text == normalise(each.text)
        assert each.speaker.split("+")[1] in variants(each.split)
    assert set(folder.rglob("*.wav")) == {each.audio for each in utterances}


def test_it_is_bit_equal_on_any_number_of_cores(folder: Path, tmp_path: Path) -> None:
    again = tiny(tmp_path / "commands", jobs=2).parent
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert files == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    assert filecmp.cmpfiles(folder, again, map(str, files), shallow=False)[1:] == ([], [])


def test_another_seed_says_other_things(tmp_path: Path, utterances: Sequence[Utterance]) -> None:
    other = read_manifest(tiny(tmp_path / "commands", seed=1))
    assert [each.text for each in other] != [each.text for each in utterances]


def test_a_finished_corpus_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codert.data.commands.corpus._build", None)
    assert tiny(folder) == folder / "manifest.tsv"
    with pytest.raises(InputError, match=r"holds a corpus of other settings \(.*\"hours\": 0.02"):
        tiny(folder, hours=0.03)


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match="holds something else"):
        tiny(tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_an_interrupted_preparation_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    commands = tmp_path / "commands"
    left = tmp_path / ".commands.building" / "train"  # what a kill leaves behind
    left.mkdir(parents=True)
    (left / "train-000000.wav").write_bytes(b"half")
    with monkeypatch.context() as patch:

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr("codert.data.commands.corpus.write_manifest", interrupt)
        with pytest.raises(KeyboardInterrupt):
            tiny(commands)
    assert not commands.exists()
    manifest = tiny(commands)
    assert manifest.read_bytes() == (folder / "manifest.tsv").read_bytes()
    assert json.loads((commands / "corpus.json").read_text())["hours"] == HOURS
    assert sorted(path.name for path in tmp_path.iterdir()) == [".commands.lock", "commands"]


def test_amounts_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="above 0"):
        tiny(tmp_path / "commands", hours=0)


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = builtins.__import__

    def without(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        if name == "espeakng_loader":
            raise ImportError(name)
        return genuine(name, globals, locals, fromlist, level)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'codert\[commands\]'"):
        Engine()


def test_an_unknown_voice_is_an_error_of_ours() -> None:
    pytest.importorskip("espeakng_loader")
    with Engine() as engine, pytest.raises(InputError, match="no voice 'en-gb"):
        engine.say("hello", "en-gb+m1", 160, 50, 50)


def test_phones_are_those_of_the_voices_language() -> None:
    pytest.importorskip("espeakng_loader")
    with Engine() as engine:
        assert engine.phones("cat", "en-us") == ["k", "æ", "t"]
        assert engine.phones("b", "en-us") == ["b", "iː"]
        # Several clauses are several calls of the library; stress is left out.
        assert engine.phones("cat. Cat!", "en-us") == 2 * ["k", "æ", "t"]
        assert engine.phones("cat", "de")[-1] == "t"
        assert engine.phones("", "en-us") == []
