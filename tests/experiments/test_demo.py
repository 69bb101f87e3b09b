"""The demo on a tiny corpus: every promised file, and going on where it was stopped."""

import json
from pathlib import Path

import pytest

from codert.errors import InputError
from codert.experiments.demo import SYSTEMS, Demo
from codert.experiments.recipes import recipes_folder

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
    demo = Demo(recipes_folder(), corpus, tmp_path, cache, settings, ("training.epochs=1",))
    rows = demo.run()
    assert rows == json.loads((tmp_path / "results.json").read_text())
    assert [(row["strategy"], row["name"]) for row in rows] == list(SYSTEMS.items())
    for row in rows:
        assert row.keys() >= KEYS
        alone = row["strategy"] == "alone"
        assert (row["p"] is None) == (row["werr"] is None) == (row["werr_ci"] is None) == alone
    report = (tmp_path / "report.html").read_text()
    assert "tandem-shared" in report
    for plan, name in SYSTEMS.items():
        assert (tmp_path / plan / name / "weights.safetensors").is_file()
    # All is trained already: a second call only scores and gives the same.
    assert demo.run() == rows


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
