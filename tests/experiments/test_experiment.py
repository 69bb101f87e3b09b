"""Whole experiments on the tiny corpus: stopped, killed, moved, failed, and read again."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codert.cli import main, parser
from codert.config import assignments
from codert.data.manifest import Utterance, read_manifest, write_manifest
from codert.experiments.records import PLANS, RESULTS, UTTERANCES
from codert.learning.recipe import read_plan
from codert.learning.run_folder import CHECKPOINT, COMMITS, SKIPPED, is_finished

from ..tiny import RECIPES

KEYS = [
    *("experiment", "plan", "strategy", "recogniser", "role", "corpus", "split", "fold", "seed"),
    *("encoder_params", "total_params", "updates", "wer", "errors", "words", "seconds", "commit"),
    *("command", "weights"),
]
# Two plans by two seeds; both need the teacher of their seed, which is not listed.
TWO_BY_TWO = """
name: tiny
settings: SETTINGS
plans:
  - static
  - {recipe: static, name: soft, strategy: static, set: {edges: [EDGE]}}
reference: static
seeds: [0, 1]
corpora: {tones: $TONES/manifest.tsv}
set: {training: {epochs: 1}}
""".replace("EDGE", "{from: teacher, to: student, match: encoder_logits, temperature: 2.0}")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def file(settings: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("experiment") / "tiny.yaml"
    path.write_text(TWO_BY_TWO.replace("SETTINGS", str(settings)), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def tones(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TONES", str(corpus.parent))


def words(file: Path, out: Path, cache: Path, *more: str) -> list[str]:
    device = ["--device", "cpu", "--jobs", "2"]
    return ["experiment", str(file), "--out", str(out), "--cache", str(cache), *device, *more]


@pytest.fixture(scope="module")
def whole(file: Path, corpus: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the experiment, run in one go."""
    out = tmp_path_factory.mktemp("whole") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TONES", str(corpus.parent))
        assert main(words(file, out, cache)) == 0
    return out


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / RESULTS).read_text().splitlines()]


def found(out: Path) -> list[dict[str, Any]]:
    """The results, without what may differ between two times."""
    return [{**line, "seconds": 0} for line in lines(out)]


def utterances(out: Path) -> dict[str, str]:
    folder = out / UTTERANCES
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*.tsv"))}


def test_a_line_for_each_recogniser_and_a_row_for_each_utterance(whole: Path) -> None:
    results = lines(whole)
    assert [(line["seed"], line["plan"], line["recogniser"]) for line in results] == [
        (seed, plan, name)
        for seed in (0, 1)
        for plan, name in (("soft", "student"), ("static", "student"), ("teacher", "teacher"))
    ]
    for line in results:
        assert list(line) == KEYS
        assert (line["experiment"], line["corpus"], line["split"]) == ("tiny", "tones", "test")
        assert line["fold"] is None
        assert line["strategy"] == ("teacher" if line["plan"] == "teacher" else "static")
        assert 0 < line["encoder_params"] < line["total_params"]
        assert line["updates"] > 0
        assert line["seconds"] >= 0
        assert line["wer"] == pytest.approx(100 * line["errors"] / line["words"], abs=1e-3)
        name = f"tones/seed{line['seed']}/{line['plan']}/{line['recogniser']}-test.tsv"
        header, *rows = (whole / UTTERANCES / name).read_text().splitlines()
        assert header == "id\tspeaker\terrors\twords"
        assert len(rows) == 6
        assert sum(int(row.split("\t")[2]) for row in rows) == line["errors"]
        assert sum(int(row.split("\t")[3]) for row in rows) == line["words"]


def test_the_command_of_a_line_trains_that_cell_and_names_no_place_of_this_machine(
    whole: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soft = next(line["command"] for line in lines(whole) if line["plan"] == "soft")
    assert soft.startswith("codert train recipes/static.yaml --data $TONES/manifest.tsv ")
    assert "--out runs/tiny/tones/seed0 --name soft" in soft
    assert "recognisers.teacher.frozen=runs/tiny/tones/seed0/teacher/teacher" in soft
    assert str(corpus.parent) not in soft
    assert str(whole) not in soft
    monkeypatch.chdir(RECIPES.parent)
    options = parser().parse_args(shlex.split(os.path.expandvars(soft))[1:])
    assert options.data == [corpus]
    plan = read_plan(options.recipe, options.settings, assignments(options.set))
    assert is_finished(whole / "tones/seed0/soft", plan)


def test_the_teacher_is_trained_once_for_a_seed(whole: Path) -> None:
    runs = {str(path.parent.relative_to(whole)) for path in whole.rglob("plan.json")}
    plans = ("soft", "static", "teacher")
    assert runs == {f"tones/seed{seed}/{plan}" for seed in (0, 1) for plan in plans}
    for seed in (0, 1):
        for plan in ("soft", "static"):
            content = json.loads((whole / f"tones/seed{seed}/{plan}/plan.json").read_text())
            assert content["training"]["seed"] == seed
            teacher = content["recognisers"]["teacher"]["frozen"]
            assert teacher == str(whole / f"tones/seed{seed}/teacher/teacher")


def test_what_is_there_is_not_made_again(
    whole: Path, file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (whole / RESULTS).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", None)  # nothing is started
        patch.delenv("TONES")  # nor is the corpus looked for
        assert main(words(file, whole, cache)) == 0
    assert (whole / RESULTS).read_bytes() == before


def test_a_line_that_is_missing_is_scored_again_and_names_the_code_that_trained(
    whole: Path, file: Path, cache: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    (out / UTTERANCES / "tones/seed0/soft/student-test.tsv").unlink()
    (out / "tones/seed0/soft" / COMMITS).write_text("0123abc\n")
    text = (out / RESULTS).read_text().splitlines()
    (out / RESULTS).write_text("\n".join(text[:-1]) + "\n")
    began = time.time()
    assert main(words(file, out, cache)) == 0
    new = {("soft", 0, "student"): {"commit": "0123abc"}}
    cells = [(line["plan"], line["seed"], line["recogniser"]) for line in lines(whole)]
    expected = [line | new.get(cell, {}) for cell, line in zip(cells, found(whole), strict=True)]
    assert found(out) == expected
    assert utterances(out) == utterances(whole)
    assert all(path.stat().st_mtime < began for path in out.rglob("weights.safetensors"))


def test_killed_stopped_and_moved_it_finds_the_same(
    whole: Path, file: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, one = tmp_path / "here", file.with_name("one.yaml")
    one.write_text(file.read_text().replace("seeds: [0, 1]", "seeds: [0]"))
    process = subprocess.Popen([sys.executable, "-m", "codert", *words(one, out, cache)])
    deadline = time.monotonic() + 300
    while not list(out.rglob(CHECKPOINT)) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    # What it had begun goes on by itself, and is waited for.
    assert main(words(one, out, cache, "--for", "1s")) == 0
    assert "of 3 cells are left; the same command goes on" in capsys.readouterr().err
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(out, elsewhere)
    shutil.rmtree(out, ignore_errors=True)
    assert main(words(one, elsewhere, cache)) == 0
    assert found(elsewhere) == [line for line in found(whole) if line["seed"] == 0]
    assert utterances(elsewhere).items() < utterances(whole).items()
    assert len(list(elsewhere.rglob(SKIPPED))) == 3


def test_sigterm_stops_the_trainings_too(file: Path, cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "codert", *words(file, out, cache)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not list(out.rglob(CHECKPOINT)) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "the same command goes on from here" in err
    before = {path: path.stat().st_mtime for path in out.rglob("curves.jsonl")}
    time.sleep(1)
    assert {path: path.stat().st_mtime for path in out.rglob("curves.jsonl")} == before


def test_the_table_needs_the_results_alone(
    whole: Path,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("TONES")
    out = tmp_path / "docs"
    out.mkdir()
    shutil.copy(whole / RESULTS, out)
    shutil.copytree(whole / UTTERANCES, out / UTTERANCES)

    def table(*more: str) -> str:
        capsys.readouterr()
        assert main(["experiment", str(file), "--out", str(out), "--table", *more]) == 0
        return capsys.readouterr().out

    rows = json.loads(table("--json"))
    assert rows == json.loads(table("--format", "json"))
    assert [row["plan"] for row in rows] == ["static", "soft", "teacher"]
    results = {(line["plan"], line["seed"]): line for line in lines(out)}
    for row in rows:
        rates = [results[row["plan"], seed]["wer"] for seed in (0, 1)]
        assert row["seeds"] == [0, 1]
        assert row["wer"] == pytest.approx(sum(rates) / 2, abs=1e-3)
        assert row["wer_by_seed"] == pytest.approx(rates, abs=1e-3)
    static, soft, teacher = rows
    assert static["werr"] is static["p"] is static["mapsswe"] is None
    assert static["cost"] == 1
    assert len(soft["werr_by_seed"]) == 2
    assert soft["werr_ci"][0] <= soft["werr_ci"][1]
    assert 0 < soft["p"] <= 1
    # What the student costs, its teacher costs too.
    assert soft["seconds"] > teacher["seconds"] > 0
    drawing = tmp_path / "werr.svg"
    text = table("--picture", str(drawing))
    assert "<svg" in drawing.read_text()
    assert "WERR vs static [95% CI]" in text
    assert "on the split test; mean" in text
    assert "Two or three seeds: p is too small where seeds differ much" in text
    assert {row["split"] for row in rows} == {"test"}
    assert "±" in text
    assert table("--format", "markdown").startswith("| tones | recogniser |")
    against = json.loads(table("--json", "--against", "teacher"))
    assert [row["reference"] for row in against] == ["teacher"] * 3
    assert against[2]["werr"] is None
    assert against[0]["werr"] is not None

    kept = [line for line in (out / RESULTS).read_text().splitlines() if '"seed": 0' in line]
    (out / RESULTS).write_text("\n".join(kept) + "\n")
    assert "One seed: interval and p cover the speakers only" in table()

    # One seed of a plan is compared with that seed of the reference, in cost as in errors.
    whole_static = [line for line in lines(whole) if line["plan"] != "soft" or line["seed"] == 0]
    (out / RESULTS).write_text("".join(json.dumps(line) + "\n" for line in whole_static))
    static, soft, _ = json.loads(table("--json"))
    assert (static["seeds"], soft["seeds"]) == ([0, 1], [0])
    assert "WERR, p and cost: over the seeds that a plan and the reference both have" in table()
    spent = {(line["plan"], line["seed"]): line["seconds"] for line in lines(out)}
    of_teacher = spent["teacher", 0]
    ratio = (spent["soft", 0] + of_teacher) / (spent["static", 0] + of_teacher)
    assert soft["cost"] == pytest.approx(ratio)


def test_other_settings_are_not_mixed_with_what_is_there(
    whole: Path, file: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = file.with_name("other.yaml")
    other.write_text(file.read_text().replace("temperature: 2.0", "temperature: 3.0"))
    assert main(words(other, whole, cache)) == 2
    assert "soft/plan.json: the run was begun with other settings" in capsys.readouterr().err


def test_records_of_other_settings_are_not_tabled_or_added_to(
    whole: Path, file: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    for name in (PLANS, UTTERANCES):  # the runs are gone
        shutil.copytree(whole / name, out / name)
    shutil.copy(whole / RESULTS, out / RESULTS)
    capsys.readouterr()
    assert main([*words(file, out, cache), "--table"]) == 0
    other = file.with_name("other.yaml")
    for change in (("epochs: 1", "epochs: 2"), ("seeds: [0, 1]", "seeds: [0, 1, 2]\nfolds: 2")):
        other.write_text(file.read_text().replace(*change))
        for more in ([], ["--table"]):
            assert main([*words(other, out, cache), *more]) == 2
            assert "was recorded with other settings" in capsys.readouterr().err


@pytest.fixture
def hear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Utterance]], None]:
    """Makes other utterances the corpus."""

    def write(speech: list[Utterance]) -> None:
        write_manifest(tmp_path / "manifest.tsv", speech)
        monkeypatch.setenv("TONES", str(tmp_path))

    return write


def test_runs_on_other_speech_are_not_mixed_with_what_is_there(
    short: Any, corpus: Path, cache: Path, hear: Any, tmp_path: Path, capsys: Any
) -> None:
    file = short("one", "[alone]")
    assert main(words(file, tmp_path / "out", cache)) == 0
    speech = read_manifest(corpus)
    test = [u for u in speech if u.split == "test"]
    rest = [u for u in speech if u.split != "test"]
    results = tmp_path / "out" / RESULTS
    kept = results.read_text()
    # Whether it is recorded already or to be scored again: trained on too little, or too much.
    for recorded in (True, False):
        if not recorded:
            results.unlink()
        for other in (
            [*(replace(u, split="train") for u in test[1:]), test[0], *rest],
            [u for u in speech if u.id != next(x.id for x in rest if x.split == "train")],
        ):
            hear(other)
            assert main(words(file, tmp_path / "out", cache)) == 2
            assert "was trained on other speech" in capsys.readouterr().err
    results.write_text(kept)
    more = replace(test[0], text=f"{test[0].text} MORE")
    new = replace(test[0], id="new")
    for other in ([*rest, *test[1:]], [*speech, new], [*rest, more, *test[1:]]):
        hear(other)
        assert main(words(file, tmp_path / "out", cache)) == 2
        assert "was scored on other utterances or texts than today" in capsys.readouterr().err
    hear(speech)
    assert main(words(file, tmp_path / "out", cache)) == 0


def test_what_cannot_be_scored_is_counted(
    short: Any, corpus: Path, cache: Path, hear: Any, tmp_path: Path, capsys: Any
) -> None:
    speech = read_manifest(corpus)
    lost = next(i for i, u in enumerate(speech) if u.split == "test")
    speech[lost] = replace(speech[lost], audio=tmp_path / "gone.wav")
    hear(speech)
    assert main(words(short("lossy", "[alone]"), tmp_path / "out", cache)) == 0
    assert "that could not be scored, and are in no figure: 1." in capsys.readouterr().out
    assert lines(tmp_path / "out")[0]["skipped"] == 1


def test_what_was_heard_before_is_counted(
    short: Any, corpus: Path, cache: Path, hear: Any, tmp_path: Path, capsys: Any
) -> None:
    speech = read_manifest(corpus)
    before = short("before", "[alone]")
    assert main(words(before, tmp_path / "before", cache)) == 0
    # One that the start was trained on is now tested on.
    leak = next(i for i, u in enumerate(speech) if u.split == "train")
    start = tmp_path / "before/tones/seed0/alone/student"
    over = f"{{start: {{small: {start}}}, wordpieces: {{model: {start}/wordpieces.model}}}}"
    begun = f"{{recipe: alone, name: begun, set: {over}}}"
    speech[leak] = replace(speech[leak], split="test")
    hear(speech)
    capsys.readouterr()
    assert main(words(short("leak", f"[alone, {begun}]"), tmp_path / "out", cache)) == 0
    out = capsys.readouterr().out
    assert (
        "begun's student, or what it starts or learns from, was trained on, or chosen by, 1" in out
    )
    assert "alone's student" not in out
    assert [line.get("heard", 0) for line in lines(tmp_path / "out")] == [0, 1]


def test_features_are_not_kept_for_scoring_where_they_are_not_for_training(
    short: Any, tmp_path: Path
) -> None:
    plan = "{recipe: alone, name: uncached, set: {data: {cache: false}}}"
    file = short("uncached", f"[{plan}]")
    file.write_text(file.read_text().replace("reference: alone", "reference: uncached"))
    assert main(words(file, tmp_path / "out", tmp_path / "cache")) == 0
    assert not list((tmp_path / "cache").glob("**/*.npy"))


def test_a_plan_that_is_not_there_is_refused_before_training(
    file: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(file, tmp_path, cache, "--against", "nobody")) == 2
    assert "no plan 'nobody' to compare with" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.fixture
def short(file: Path) -> Any:
    """Writes an experiment of one seed."""

    def write(name: str, plans: str, more: Iterable[str] = ()) -> Path:
        path = file.with_name(f"{name}.yaml")
        settings = next(x for x in file.read_text().splitlines() if x.startswith("settings"))
        text = [f"name: {name}", settings, f"plans: {plans}", "reference: alone"]
        text += ["corpora: {tones: $TONES/manifest.tsv}", "set: {training: {epochs: 1}}", *more]
        path.write_text("\n".join(text), encoding="utf-8")
        return path

    return write


def test_a_cell_that_fails_is_told_and_the_others_finish(
    short: Any, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = "{recipe: alone, name: odd, set: {wordpieces: {size: 5000}}}"
    assert main(words(short("odd", f"[{odd}, alone]"), tmp_path, cache)) == 1
    err = capsys.readouterr().err
    assert "codert: tones/seed0/odd: " in err
    assert "log.txt" in err
    assert "1 of 2 cells are left" in err
    assert [line["plan"] for line in lines(tmp_path)] == ["alone"]
    # Mended, it goes on.
    odd = odd.replace("5000", "8")
    assert main(words(short("odd", f"[{odd}, alone]"), tmp_path, cache)) == 0
    assert [line["plan"] for line in lines(tmp_path)] == ["alone", "odd"]


def test_folds_test_every_speaker_once(
    short: Any, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = short("folds", "[alone]", ["folds: 2"])
    assert main(words(file, tmp_path, cache)) == 0
    assert [(line["fold"], line["seed"]) for line in lines(tmp_path)] == [(0, 0), (1, 0)]
    rows = [row.split("\t") for text in utterances(tmp_path).values() for row in text.splitlines()]
    heard = [(row[0], row[1]) for row in rows if row[0] != "id"]
    assert len(heard) == len(set(heard)) == 40
    assert {speaker for _, speaker in heard} == {"s0", "s1", "s2", "s3"}
    command = lines(tmp_path)[1]["command"]
    assert "--out runs/folds/tones/fold1/seed0" in command
    assert "--set data.fold.number=1 --set data.fold.of=2" in command
    capsys.readouterr()
    assert main(["experiment", str(file), "--out", str(tmp_path), "--table", "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert row["wer_by_fold"] == pytest.approx([line["wer"] for line in lines(tmp_path)], abs=1e-3)
