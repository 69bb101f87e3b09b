"""The commands, as a person types them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from codert.cli import main
from codert.data.wordpieces import WordPieceConfig, WordPieces
from codert.files import LOCK, held

from ..tiny import RECIPES


@pytest.mark.parametrize(
    "words",
    [
        ["train", str(RECIPES / "tandem-shared.yaml")],
        [],
        ["prepare"],
        ["prepare", "commands"],
        ["prepare", "amazon-queen"],
        ["prepare", "librispeech"],
        ["prepare", "common-words"],
        ["evaluate"],
        ["analyze"],
        ["transcribe"],
        ["demo"],
        ["experiment"],
        ["estimate"],
        ["choose"],
        ["export"],
    ],
)
def test_every_command_has_help_with_an_example(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([*words, "--help"])
    assert end.value.code == 0
    assert "example: codert" in " ".join(capsys.readouterr().out.split())


@pytest.fixture
def trained(corpus: Path, settings: Path, cache: Path, tmp_path: Path) -> Path:
    status = main(
        [
            *("train", str(RECIPES / "tandem.yaml"), "--settings", str(settings)),
            *("--data", str(corpus), "--out", str(tmp_path / "runs"), "--cache", str(cache)),
            *("--set", "training.epochs=1"),
        ]
    )
    assert status == 0
    return tmp_path / "runs" / "tandem"


def test_train_evaluate_transcribe(
    trained: Path,
    corpus: Path,
    cache: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    capsys.readouterr()
    runs = [str(trained / "teacher"), str(trained / "student")]
    assert main(["evaluate", *runs, "--data", str(corpus), "--cache", str(cache), "--json"]) == 0
    teacher, student = json.loads(capsys.readouterr().out)
    assert teacher["werr"] is None
    assert student["p"] is not None
    assert 0 < student["encoder_params"] < teacher["encoder_params"]
    assert student["wer_ci"][0] <= student["wer"] <= student["wer_ci"][1]

    words = ["evaluate", runs[1], "--data", str(corpus), "--cache", str(cache), "--json"]
    assert main([*words, "--beam", "1"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["wer"] == student["wer"]
    assert main([*words, "--beam", "3"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["words"] == student["words"]

    words = ["analyze", *runs, "--data", str(corpus), "--cache", str(cache)]
    assert main([*words, "--out", str(trained / "analysis"), "--json"]) == 0
    analyses = json.loads(capsys.readouterr().out)
    assert [each["run"] for each in analyses] == runs
    assert analyses[1]["agreement"]["against"] == runs[0]
    assert json.loads((trained / "analysis" / "analysis.json").read_text()) == analyses
    assert "codert" in (trained / "analysis" / "report.html").read_text()
    assert main([*words, "--split", "dev"]) == 0
    assert "entropy is above the joint logits': " in capsys.readouterr().out

    audio = next(corpus.parent.glob("test-*.wav"))
    missing = corpus.parent / "missing.wav"
    status = main(["transcribe", runs[1], str(missing), str(audio), "--json"])
    out, err = capsys.readouterr()
    assert status == 2
    assert "missing.wav" in err
    assert json.loads(out)["audio"] == str(audio)
    assert main(["transcribe", runs[1], str(audio), "--beam", "2"]) == 0
    err = capsys.readouterr().err
    assert "trained to understand" in err
    assert "streaming" not in err


def test_a_run_is_all_its_recognisers_and_what_they_heard_is_told(
    trained: Path, corpus: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(trained), "--data", str(corpus), "--cache", str(cache)]
    assert main([*words, "--json"]) == 0
    out, err = capsys.readouterr()
    assert [row["role"] for row in json.loads(out)] == ["teacher", "student"]
    assert "was trained on" not in err
    assert main([*words, "--set", "data.test_speakers=[s1]"]) == 0
    out, err = capsys.readouterr()
    assert "student was trained on, or chosen by, " in err
    assert "utterances mean little" in out
    assert main([*words, "--set", "data.speaker=[s1]"]) == 2
    assert "data.speaker" in capsys.readouterr().err
    assert main([*words, "--set", "date.test_speakers=[s1]"]) == 2
    assert "--set: date is not a known key; did you mean 'data'?" in capsys.readouterr().err
    # What is alike by name is told apart by its folder: two rows in two tables, and a reference.
    student = str(trained / "student")
    assert main(["evaluate", student, student, *words[2:]]) == 0
    assert capsys.readouterr().out.count(student) == 5
    assert main(["evaluate", str(corpus.parent), "--data", str(corpus)]) == 2
    assert "nor a run's" in capsys.readouterr().err


def test_word_pieces_of_another_model_are_refused(
    trained: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    WordPieces.train(["AB CD EF GH"] * 9, WordPieceConfig(size=12)).save(
        trained / "student" / "wordpieces.model"
    )
    audio = next(corpus.parent.glob("test-*.wav"))
    assert main(["transcribe", str(trained / "student"), str(audio)]) == 2
    assert "has 12 word-pieces and the recogniser 9" in capsys.readouterr().err


@pytest.mark.parametrize("device", ["tpu", "mps", "cuda:99"])
def test_a_device_that_is_not_there(
    device: str, corpus: Path, settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(RECIPES / "alone.yaml"), "--settings", str(settings)]
    words += ["--data", str(corpus), "--out", str(tmp_path), "--device", device]
    assert main(words) == 2
    assert f"--device {device}: " in capsys.readouterr().err


def test_settings_of_edges_are_checked_where_there_is_no_edge(
    corpus: Path, settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(RECIPES / "alone.yaml"), "--settings", str(settings)]
    words += ["--data", str(corpus), "--out", str(tmp_path), "--set", "edge.match=colapsed"]
    assert main(words) == 2
    assert "colapsed" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out.startswith("codert ")


def test_what_does_not_stream_is_marked(
    corpus: Path,
    cache: Path,
    settings: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["train", str(RECIPES / "full-context.yaml"), "--settings", str(settings)]
    words += ["--data", str(corpus), "--out", str(tmp_path), "--cache", str(cache)]
    assert main([*words, "--set", "training.epochs=1"]) == 0
    runs = [str(tmp_path / "full-context" / name) for name in ("teacher", "student")]
    capsys.readouterr()
    assert main(["evaluate", *runs, "--data", str(corpus), "--cache", str(cache)]) == 0
    table = capsys.readouterr().out
    assert "teacher (not streaming)" in table
    assert "student (not streaming)" not in table
    assert all(f"{kind} %" in table for kind in ("substituted", "deleted", "inserted", "CER"))
    audio = next(corpus.parent.glob("test-*.wav"))
    assert main(["transcribe", runs[0], str(audio)]) == 0
    assert "not streaming" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["train", "no.yaml", "--data", "m.tsv", "--out", "r"], "no.yaml: no such file"),
        (["evaluate", "no/run", "--data", "m.tsv"], "m.tsv"),
        (["analyze", "no/run", "--data", "m.tsv"], "m.tsv"),
        (["transcribe", "no/run", "a.wav"], "not a recogniser"),
        (["prepare", "librispeech", "--parts", "dev", "--out", "d"], "no part of LibriSpeech"),
        (["prepare", "commands", "--seed", "-1", "--out", "d"], "the seed is -1; write 0 or more"),
        (
            ["train", str(RECIPES / "alone.yaml"), "--data", "m", "--out", "r", "--set", "x"],
            "key.key=value",
        ),
        (
            ["train", str(RECIPES / "alone.yaml"), "--data", "m", "--out", "r", "--name", "../x"],
            "'../x' is to name a folder; use letters, digits, - and _; --name gives",
        ),
    ],
)
def test_bad_input_is_one_clear_line(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    err = capsys.readouterr().err
    assert complaint in err
    assert "Traceback" not in err


def test_manifests_with_the_same_ids_are_refused(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twice = ["--data", str(corpus), "--data", str(corpus)]
    train = ["train", str(RECIPES / "alone.yaml"), "--out", str(tmp_path / "run")]
    for words in (["evaluate", "no/run"], train):
        assert main([*words, *twice]) == 2
        assert "id 'train-0' is both " in capsys.readouterr().err


def test_what_does_not_fit_a_plan_names_its_file_and_its_key(
    trained: Path,
    corpus: Path,
    settings: Path,
    cache: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = RECIPES / "static.yaml"
    words = [
        *("train", str(recipe), "--settings", str(settings), "--data", str(corpus)),
        *("--out", str(tmp_path), "--cache", str(cache)),
        *("--set", f"recognisers.teacher.frozen={trained / 'teacher'}"),
    ]
    assert main([*words, "--set", "models.small.encoder.strides=[2]"]) == 2
    said = f"codert: {recipe}: edges[0]: 'teacher' has one frame for 4 of the features' and 'stud"
    assert said in capsys.readouterr().err
    assert main([*words, "--set", "recognisers.student.start.decoder=nowhere"]) == 2
    said = f"codert: {recipe}: recognisers.student.start.decoder: nowhere: no recogniser is there"
    assert said in capsys.readouterr().err


def test_a_split_that_is_not_there_is_named(
    trained: Path,
    corpus: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["evaluate", str(trained / "student"), "--data", str(corpus), "--split", "exam"]
    assert main(words) == 2
    assert "there are: dev, test, train" in capsys.readouterr().err


def test_the_package_runs_as_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "codert", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    assert done.stdout.startswith("usage: codert ")
    assert done.stderr == ""


def test_a_reader_that_has_enough_is_no_error(corpus: Path, tmp_path: Path) -> None:
    words = ["prepare", "common-words", "--words", "9", "--data", str(corpus), "--out"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "codert", *words, str(tmp_path), "--json"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(("option", "value"), [("--for", "9"), ("--for", ""), ("--jobs", "0")])
def test_an_experiments_times_and_counts_are_checked(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["experiment", "file.yaml", option, value])
    assert f"argument {option}: {value!r}: write " in capsys.readouterr().err


def test_a_run_is_trained_by_one_at_a_time(
    corpus: Path, settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(RECIPES / "alone.yaml"), "--settings", str(settings)]
    words += ["--data", str(corpus), "--out", str(tmp_path)]
    with held(tmp_path / "alone" / LOCK):
        assert main(words) == 2
    assert "alone: another codert works there; wait for it" in capsys.readouterr().err
