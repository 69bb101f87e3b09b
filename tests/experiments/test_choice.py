"""Choosing a student: from recorded results, of runs that are there, within what is measured."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from codert.cli import main
from codert.config import plain
from codert.data.features import FeatureConfig
from codert.data.wordpieces import WordPieceConfig, WordPieces
from codert.decoding.transcriber import Transcriber
from codert.evaluation.scoring import UtteranceScore
from codert.evaluation.speed import real_time_factor
from codert.experiments.records import RESULTS, Records
from codert.files import digest_of
from codert.lattice import BLANK
from codert.models import RecogniserConfig
from codert.models.encoder import LSTMEncoderConfig
from codert.models.folder import WEIGHTS, WORDPIECES, Card, save_recogniser
from codert.models.predictor import StatelessPredictorConfig
from codert.models.recogniser import Recogniser

from .tiny import RECORD

SVG = "http://www.w3.org/2000/svg"


@pytest.fixture(scope="module")
def widths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of untrained recognisers, by name; narrow, wide, widest."""
    texts = ["SEVEN DOGS", "NINE CATS AND A DOG", "SAD EGGS"]
    pieces = WordPieces.train(texts, WordPieceConfig(size=18))
    folders = {}
    for name, width in (("narrow", 8), ("wide", 64), ("widest", 128)):
        folders[name] = tmp_path_factory.mktemp(name)
        config = RecogniserConfig(
            LSTMEncoderConfig(channels=8, layers=1, width=width), StatelessPredictorConfig(width=8)
        )
        features = FeatureConfig(mels=20)
        card = Card(config, len(pieces), plain(features), "student", "alone", "tones", updates=3)
        recogniser = Recogniser.build(config, 20, len(pieces))
        # Untrained, it would babble and take long.
        recogniser.encoder.projection.bias.data[BLANK] = 100
        save_recogniser(folders[name], recogniser, card)
        pieces.save(folders[name] / WORDPIECES)
    return folders


@pytest.fixture
def results(tmp_path: Path, widths: dict[str, Path]) -> Any:
    """Records a plan with so many errors in each of two utterances of ten words, and its run."""

    def add(
        plan: str,
        errors: Iterable[int],
        *,
        width: str,
        out: str = "out",
        ids: str = "ab",
        **keys: Any,
    ) -> Path:
        scores = [
            UtteranceScore(i, "s", "", "", e, 10, 0, 0) for i, e in zip(ids, errors, strict=True)
        ]
        wrong = sum(each.errors for each in scores)
        record = replace(RECORD, plan=plan, errors=wrong, words=20, wer=5.0 * wrong, **keys)
        Records(tmp_path / out).add(record, scores)
        folder = tmp_path / out / record.cell.name / record.recogniser
        shutil.copytree(widths[width], folder)
        return folder

    return add


@pytest.fixture
def choose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """What the command says; its status, and JSON or the error."""

    def run(*words: str | Path) -> Any:
        capsys.readouterr()
        status = main(["choose", "--json", *map(str, words or [tmp_path / "out"])])
        out, err = capsys.readouterr()
        return json.loads(out) if status == 0 else err

    return run


def test_the_best_that_fits_is_chosen_and_the_curve_shows_what_more_would_bring(
    results: Any, choose: Any, tmp_path: Path
) -> None:
    narrow = results("narrow", [5, 5], width="narrow")
    wide = results("wide", [2, 2], width="wide")
    results("worse", [9, 9], width="wide")
    results("widest", [0, 1], width="widest")
    results("teacher", [0, 0], width="narrow", role="teacher", recogniser="teacher")
    out = tmp_path / "out"
    everything = choose(out)
    assert everything["chosen"]["plan"] == "widest"
    assert (everything["corpus"], everything["split"]) == ("tones", "test")
    assert everything["machine"]
    points = everything["points"]
    sizes = [point["mb"] for point in points]
    assert sizes == sorted(sizes)
    # As good a teacher is in the table, but no student.
    assert [p["plan"] for p in points if p["on_curve"]] == ["narrow", "wide", "widest"]
    for point in points:
        weights = Path(point["folder"]) / WEIGHTS
        assert point["mb"] == weights.stat().st_size / 1e6
        assert 0 < point["rtf"] < 10
        assert point["fits"]

    mb = (wide / WEIGHTS).stat().st_size / 1e6
    within = choose(out, "--max-mb", str(mb))
    assert within["chosen"]["folder"] == str(wide)
    assert within["chosen"]["wer"] == 20
    assert not next(p for p in within["points"] if p["plan"] == "widest")["fits"]
    assert choose(out, "--max-mb", str(mb * 0.99))["chosen"]["folder"] == str(narrow)


def test_the_error_rate_is_the_mean_over_seeds_of_all_folds_together(
    results: Any, choose: Any
) -> None:
    for seed, errors in ((1, [2, 0]), (0, [4, 1])):
        for fold in (0, 1):
            # Folds of other sizes weigh by their words.
            ids = "ab" if fold == 0 else "cd"
            results("a", [errors[fold]] * 2, width="narrow", seed=seed, fold=fold, ids=ids)
    chosen = choose()["chosen"]
    assert chosen["seeds"] == [0, 1]
    assert chosen["wer"] == pytest.approx((25 + 10) / 2)
    assert chosen["wer_sd"] == pytest.approx(10.6, abs=0.01)
    # Not the luckiest seed: the first.
    assert chosen["folder"].endswith("tones/fold0/seed0/a/student")


def test_what_is_not_scored_on_all_folds_yet_is_left_out_and_named(
    results: Any, choose: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for plan, seed, folds in (("a", 0, 2), ("a", 1, 1), ("b", 0, 1)):
        for fold in range(folds):
            ids = "ab" if fold == 0 else "cd"
            results(plan, [4 + seed, 4], width="narrow", seed=seed, fold=fold, ids=ids)
    found = choose()
    assert [(point["plan"], point["seeds"]) for point in found["points"]] == [("a", [0])]
    assert [each.split(" in ")[0] for each in found["left_out"]] == [
        "a/student from seed 1",
        "b/student from seed 0",
    ]
    assert main(["choose", str(tmp_path / "out")]) == 0
    assert "scored on fold 0 of fold 0, 1." in capsys.readouterr().out
    for seed in range(2, 11):
        results("a", [4, 4], width="narrow", seed=seed, fold=0)
    assert len(choose()["left_out"]) == 11
    assert main(["choose", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert text.count("Left out: a/student") == 8 - text.count("Left out: b/student")
    assert "Left out: 3 more, which --json lists." in text


def test_some_runs_of_an_experiment_may_be_named(results: Any, choose: Any) -> None:
    a = results("a", [5, 5], width="narrow")
    b = results("b", [1, 1], width="narrow")
    results("b", [3, 3], width="narrow", seed=1)
    assert len(choose(a, b.parent)["points"]) == 2
    assert choose(a)["chosen"]["plan"] == "a"
    assert choose(b)["chosen"]["seeds"] == [0]
    assert choose(b.parents[1])["chosen"]["plan"] == "b"


def test_without_a_folder_all_of_runs_with_results_on_the_split_are_taken(
    results: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["choose", "--max-mb", "5", "--max-rtf", "9"]) == 2
    assert "runs: no experiment with results on split test" in capsys.readouterr().err
    results("a", [1, 1], width="narrow", out="runs/one")
    results("b", [0, 1], width="wide", out="runs/two")
    results("c", [0, 0], width="wide", out="runs/three", split="dev")
    assert main(["choose", "--max-mb", "5", "--max-rtf", "9", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["chosen"]["plan"] == "b"
    assert {point["plan"] for point in found["points"]} == {"a", "b"}


def test_of_several_corpora_one_is_named(
    results: Any, tmp_path: Path, choose: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    results("a", [1, 1], width="narrow", out="runs/one")
    results("b", [0, 1], width="wide", out="runs/two", corpus="queen")
    results("b", [0, 0], width="wide", out="runs/one", corpus="queen")
    assert "choose one with --corpus" in choose("--max-mb", "5")
    found = choose("--max-mb", "5", "--corpus", "tones")
    assert [point["plan"] for point in found["points"]] == ["a"]
    assert found["corpus"] == "tones"
    assert len(choose("--corpus", "queen")["points"]) == 2
    assert "no experiment with results on corpus an4, split test" in choose("--corpus", "an4")


def test_what_has_no_run_is_left_out_and_named_whatever_it_was_scored_on(
    results: Any, choose: Any
) -> None:
    results("a", [5, 5], width="narrow")
    for plan, keys in (
        ("absent", {}),
        ("elsewhere", {"ids": "ac"}),
        ("corpus", {"corpus": "queen"}),
        ("folds", {"fold": 0}),
        ("folds", {"fold": 1, "ids": "cd"}),
    ):
        shutil.rmtree(results(plan, [1, 1], width="wide", **keys))
    found = choose()
    assert [point["plan"] for point in found["points"]] == ["a"]
    named = {each.split(" in ")[0] for each in found["left_out"]}
    assert named == {f"{plan}/student" for plan in ("absent", "elsewhere", "corpus", "folds")}


def test_seeds_with_other_weights_than_were_scored_are_left_out_and_named(
    results: Any, choose: Any
) -> None:
    results("a", [5, 5], width="narrow")
    again = results("a", [1, 1], width="narrow", seed=1, updates=9)
    results("b", [1, 1], width="wide", updates=9)
    found = choose()
    assert [(point["plan"], point["seeds"]) for point in found["points"]] == [("a", [0])]
    assert len(found["left_out"]) == 2
    assert f"{again}: has 3 updates, and the recorded results are of 9" in found["left_out"][0]


def test_when_nothing_fits_the_nearest_is_named(results: Any, choose: Any, tmp_path: Path) -> None:
    narrow = results("narrow", [5, 5], width="narrow")
    results("wide", [2, 2], width="wide")
    err = choose(tmp_path / "out", "--max-mb", "0.0001", "--max-rtf", "9")
    assert "no student is within 0.0001 MB and a real-time factor of 9" in err
    assert f"the nearest is {narrow}: " in err
    assert "WER 50.0%" in err
    assert "within a real-time factor of 1e-09" in choose(tmp_path / "out", "--max-rtf", "1e-9")


def test_what_has_no_results_is_told_how_to_get_them(
    results: Any, choose: Any, tmp_path: Path
) -> None:
    assert "`codert experiment FILE` trains and scores" in choose(tmp_path)
    run = results("a", [5, 5], width="narrow")
    other = run.parents[1] / "b"
    shutil.copytree(run, other)
    assert f"codert experiment FILE --out {tmp_path / 'out'}" in choose(run, other)
    assert "no results on split dev (there are: tones test)" in choose(run, "--split", "dev")
    err = choose(run, "--corpus", "queen")
    assert "no results on corpus queen, split test (there are: tones test)" in err
    shutil.rmtree(run)
    err = choose()
    assert f"{run}: the run is not beside its results" in err
    assert "codert train recipes/alone.yaml" in err


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"corpus": "queen"}, "tones (a in "),
        ({"fold": 0}, "was scored on fold 0 and a/student from seed 0 in "),
        ({"ids": "ac"}, "were scored on different utterances"),
        ({"ids": "ac", "out": "other"}, "were scored on different utterances"),
        ({"role": "teacher", "corpus": "queen"}, "queen (b in "),
    ],
)
def test_what_cannot_be_compared_is_not_mixed(
    keys: dict[str, Any], complaint: str, results: Any, choose: Any, tmp_path: Path
) -> None:
    results("a", [5, 5], width="narrow")
    results("b", [1, 1], width="narrow", **keys)
    folders = [folder for folder in (tmp_path / "out", tmp_path / "other") if folder.exists()]
    err = choose(*folders)
    assert complaint in err
    assert "Traceback" not in err


def test_teachers_alone_are_no_students(results: Any, choose: Any) -> None:
    results("a", [5, 5], width="narrow", role="teacher")
    assert "teachers alone" in choose()


def test_text_and_picture(
    results: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results("narrow", [5, 5], width="narrow")
    results("wide", [2, 2], width="wide")
    monkeypatch.chdir(tmp_path)
    drawing = tmp_path / "curve.svg"
    assert main(["choose", "out", "--max-mb", "5", "--picture", str(drawing)]) == 0
    out = capsys.readouterr().out
    header, *rows = out.splitlines()
    assert header.split()[:6] == ["experiment", "plan", "recogniser", "role", "params", "MB"]
    assert rows[0].endswith("on the curve")
    assert rows[1].endswith("chosen")
    assert "chosen: out/tones/seed0/wide/student" in out
    assert SVG in drawing.read_text()
    first = drawing.read_bytes()
    assert main(["choose", "out", "--max-mb", "5", "--picture", str(drawing)]) == 0
    assert len(drawing.read_bytes()) == len(first)


@pytest.mark.parametrize("value", ["0", "-1", "nan", "x"])
def test_a_budget_is_a_number_above_0(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["choose", "out", f"--max-mb={value}"])
    assert "write a number above 0" in capsys.readouterr().err


def test_measuring_leaves_the_threads_as_they_were(widths: dict[str, Path]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert real_time_factor(Transcriber.load(widths["narrow"])) > 0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_results_file_that_is_broken_is_named(results: Any, choose: Any, tmp_path: Path) -> None:
    results("a", [5, 5], width="narrow")
    (tmp_path / "out" / RESULTS).write_text("{\n")
    assert f"{RESULTS}, line 1: not JSON" in choose()


def test_weights_that_were_not_scored_are_not_chosen(results: Any, choose: Any) -> None:
    folder = results("again", [5, 5], width="narrow", updates=9)
    assert "has 3 updates, and the recorded results are of 9" in choose()
    # As many updates say nothing where the line has a digest.
    scored = digest_of(folder / WEIGHTS)
    results("again", [5, 5], width="narrow", seed=1, weights=scored)
    results("again", [5, 5], width="narrow", seed=2, weights="0" * 64)
    found = choose()
    assert [point["seeds"] for point in found["points"]] == [[1]]
    assert "has other weights than were scored" in found["left_out"][1]
