"""The demo on a tiny corpus: every promised file, and going on where it was stopped."""

import json
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from codert.config import assignments
from codert.data.manifest import read_manifest, write_manifest
from codert.errors import InputError
from codert.evaluation.results import Result
from codert.experiments.demo import SYSTEMS, Demo
from codert.experiments.recipes import recipes_folder
from codert.learning.recipe import read_plan
from codert.reports.demo_report import aims

from ..tiny import RECIPES

KEYS = {"name", "strategy", "role", "encoder_params", "total_params", "streams"} | {
    *("wer", "wer_ci", "words", "werr", "werr_ci", "p")
}


@pytest.mark.slow
def test_the_demo_trains_scores_and_reports(
    corpus: Path,
    settings: Path,
    cache: Path,
    tmp_path: Path,
) -> None:
    utterances = read_manifest(corpus)
    manifest = tmp_path / "manifest.tsv"
    write_manifest(manifest, [*utterances, replace(utterances[0], id="long", seconds=99.0)])
    demo = Demo(recipes_folder(), manifest, tmp_path, cache, settings, ("training.epochs=1",))
    rows, left_out = demo.run()
    assert [each.id for each in left_out] == ["long"]
    assert rows == json.loads((tmp_path / "results.json").read_text())
    assert [(row["strategy"], row["name"]) for row in rows] == list(SYSTEMS.items())
    for row in rows:
        assert row.keys() >= KEYS
        alone = row["strategy"] == "alone"
        assert (row["p"] is None) == (row["werr"] is None) == (row["werr_ci"] is None) == alone
    report = (tmp_path / "report.html").read_text()
    assert "tandem-shared" in report
    # The legend of the curves is in the order of the table, whose colours they have.
    legend = report[report.index('class="legend"') :]
    places = [legend.index(f">{strategy}<") for strategy in SYSTEMS]
    assert places == sorted(places)
    assert "6 test utterances of 4 speakers, 4 of whom are in the training split too." in report
    assert "long (99.0 s of audio; max_seconds is 30)." in report
    for plan, name in SYSTEMS.items():
        assert (tmp_path / plan / name / "weights.safetensors").is_file()
    # All is trained already: a second call only scores and gives the same.
    assert demo.run() == (rows, left_out)


@pytest.mark.parametrize("name", ["my demo #2", "d: 1", "007"])
def test_its_folder_may_have_any_name(name: str, tmp_path: Path, settings: Path) -> None:
    out = tmp_path / name
    demo = Demo(recipes_folder(), tmp_path / "manifest.tsv", out, tmp_path, settings)
    static = next(each for each in demo.trainings() if each.name == "static")
    plan = read_plan(static.recipe, static.settings, assignments(static.over))
    assert plan.frozen == {"teacher": out / "teacher" / "teacher"}


def test_the_report_says_what_was_aimed_for_and_what_came_out() -> None:
    def row(wer: float, werr: float | None) -> Result:
        return cast("Result", {"wer": wer, "werr": werr, "p": werr and 0.0123})

    rows = {"alone": row(40.0, None), "static": row(30.0, 25.0), "teacher": row(21.0, 47.5)}
    rows |= {"tandem": row(38.0, 5.0), "implicit": row(41.0, -2.5), "tandem-shared": row(36.0, 10)}
    errors, teacher, best = aims(rows)
    assert errors == "The student alone makes 40.0 % errors (aim: 8 to 45 %)."
    assert teacher == "The teacher makes 0.53 of its errors (aim: 0.5 at most)."
    assert best == (
        "The best co-learned student, tandem-shared, makes 10.0 % fewer, p 0.012 "
        "(aim: 15 % at least, p below 0.01)."
    )


def test_a_corpus_without_a_test_split_is_refused_before_training(
    settings: Path,
    tmp_path: Path,
) -> None:
    manifest = tmp_path / "manifest.tsv"
    manifest.write_text("id\taudio\ttext\tseconds\na\ta.wav\tA\t1.0\n")
    with pytest.raises(InputError, match="no utterance of split test"):
        Demo(RECIPES, manifest, tmp_path / "out", tmp_path, settings).run()
    assert not (tmp_path / "out").exists()


def test_bad_settings_are_refused_before_training(corpus: Path, tmp_path: Path) -> None:
    settings = tmp_path / "bad.yaml"
    settings.write_text("models: {}\n")
    with pytest.raises(InputError, match=r"recognisers\.student\.model is 'small'"):
        Demo(RECIPES, corpus, tmp_path / "out", tmp_path, settings).run()
    assert not (tmp_path / "out").exists()


def test_a_training_that_fails_names_its_log(corpus: Path, settings: Path, tmp_path: Path) -> None:
    many = ("wordpieces.size=5000",)
    with pytest.raises(InputError, match=r"size 5000 .* too large .*log\.txt"):
        Demo(RECIPES, corpus, tmp_path / "out", tmp_path, settings, many).run()


def test_who_is_waited_for_and_what_is_long_goes_first(corpus: Path, tmp_path: Path) -> None:
    trainings = Demo(RECIPES, corpus, tmp_path / "out", tmp_path).trainings()
    assert [(each.name, each.after) for each in trainings] == [
        ("teacher", ()),
        ("tandem", ()),
        ("tandem-shared", ()),
        ("implicit", ()),
        ("static", ("teacher",)),
        ("alone", ()),
    ]
    frozen = {each.name: each.over for each in trainings if each.over}
    assert frozen == {"static": (f"recognisers.teacher.frozen={tmp_path}/out/teacher/teacher",)}
