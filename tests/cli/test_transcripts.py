"""What commands write down and count, of recognisers whose transcripts are known."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codert.cli import main
from codert.data.manifest import read_manifest, write_manifest

from ..evaluation.tiny import AB_OR_CD, CD, scribe


@pytest.fixture
def run(tmp_path: Path) -> str:
    return str(scribe(tmp_path / "ab-or-cd", AB_OR_CD))


@pytest.fixture
def audio(corpus: Path) -> Path:
    return next(corpus.parent.glob("test-*.wav"))


@pytest.fixture
def manifest(corpus: Path, tmp_path: Path) -> str:
    """Five words, the last of them in a recording said to be long."""
    said = [("AB CD", 1.0), ("AB", 1.0), ("AB E", 99.0)]
    test = [each for each in read_manifest(corpus) if each.split == "test"]
    utterances = [
        replace(each, text=text, speaker=each.id, seconds=seconds)
        for each, (text, seconds) in zip(test, said, strict=False)
    ]
    write_manifest(tmp_path / "manifest.tsv", utterances)
    return str(tmp_path / "manifest.tsv")


@pytest.fixture
def evaluate(manifest: str, cache: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command; its rows."""

    def go(*words: str) -> Any:
        everywhere = ("--data", manifest, "--cache", str(cache), "--json")
        assert main(["evaluate", *words, *everywhere]) == 0
        return json.loads(capsys.readouterr().out)

    return go


@pytest.mark.parametrize(("beam", "text"), [([], "AB"), (["--beam", "3"], "CD")])
def test_a_transcript_is_what_its_word_pieces_spell(
    beam: list[str], text: str, run: str, audio: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["transcribe", run, str(audio), *beam]
    assert main(words) == 0
    assert capsys.readouterr().out == f"{audio}\t{text}\n"
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"audio": str(audio), "text": text}


def test_a_recording_of_which_nothing_is_recognised_is_told(
    audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = str(scribe(tmp_path / "silent", {"": {"": 1.0}}))
    assert main(["transcribe", silent, str(audio)]) == 0
    written, said = capsys.readouterr()
    assert written == f"{audio}\t\n"
    assert f"codert: {audio}: no word was recognised" in said


def test_a_name_that_is_not_utf_8_is_escaped(
    run: str, audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = tmp_path / os.fsdecode(b"caf\xe9.wav")
    shutil.copy(audio, named)
    assert main(["transcribe", run, str(named)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/caf\\xe9.wav\tAB\n"
    assert main(["transcribe", run, str(named), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["audio"] == f"{tmp_path}/caf\\xe9.wav"


@pytest.mark.parametrize(("beam", "wer"), [([], 40), (["--beam", "3"], 80)])
def test_an_error_rate_is_that_of_the_transcripts(
    beam: list[str], wer: float, run: str, evaluate: Any
) -> None:
    [row] = evaluate(run, *beam)
    assert (row["wer"], row["words"]) == (wer, 5)


def test_a_reference_that_is_named_is_what_errors_are_compared_with(
    run: str, evaluate: Any, tmp_path: Path
) -> None:
    """Of its four errors in five words two are avoided; it is in no row of its own."""
    reference = scribe(tmp_path / "cd", CD)
    [row] = evaluate(run, "--reference", str(reference))
    assert (row["name"], row["werr"]) == ("ab-or-cd", 50)


@pytest.mark.parametrize("more", [[], ["--set", "data.max_seconds=0.1"]])
def test_no_utterance_is_too_long_to_be_scored(more: list[str], run: str, evaluate: Any) -> None:
    [row] = evaluate(run, *more)
    assert (row["words"], row["skipped"]) == (5, 0)
