"""An experiment's file: what it makes, and what is said of mistakes in it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from codert.errors import InputError
from codert.evaluation.scoring import UtteranceScore
from codert.experiments.comparison import rows_of
from codert.experiments.matrix import Matrix
from codert.experiments.records import Records

from ..tiny import RECIPES
from .tiny import RECORD

GOOD = """
name: good
plans: [alone, static]
reference: alone
seeds: [0, 1]
corpora: {tones: [$TONES/a.tsv, "${TONES}/b.tsv"]}
"""


def matrix(folder: Path, text: str) -> Matrix:
    path = folder / "experiment.yaml"
    path.write_text(text, encoding="utf-8")
    return Matrix.read(path, folder / "out")


def test_a_teacher_that_is_needed_comes_first(tmp_path: Path) -> None:
    cells = matrix(tmp_path, GOOD).cells
    plans = ("alone", "teacher", "static")
    assert [c.name for c in cells] == [f"tones/seed{s}/{p}" for s in (0, 1) for p in plans]


def test_a_variant_may_need_another(tmp_path: Path) -> None:
    teachers = """plans:
  - alone
  - {recipe: teacher, name: big, set: {models: {large: {encoder: {width: 256}}}}}
  - {recipe: static, set: {recognisers: {teacher: {frozen: runs/big/teacher}}}}"""
    made = matrix(tmp_path, GOOD.replace("plans: [alone, static]", teachers))
    assert list(made.plans) == ["alone", "big", "static"]
    static = next(cell for cell in made.cells if cell.plan == "static")
    assert "frozen=runs/good/tones/seed0/big/teacher" in made.command(static)


def test_what_starts_from_a_run_needs_it_part_by_part(tmp_path: Path) -> None:
    plans = """plans:
  - {recipe: teacher, name: head-start, set: {training: {epochs: 1}}}
  - {recipe: teacher, name: big, set: {recognisers: {teacher: {start: runs/head-start/teacher}}}}
  - {recipe: alone, set: {recognisers: {student: {
      start: {decoder: runs/big/teacher, front_end: kept/student}, keep: [decoder]}}}}
  - static"""
    made = matrix(tmp_path, GOOD.replace("plans: [alone, static]", plans))
    names = [cell.plan for cell in made.cells[:5]]
    assert names == ["head-start", "big", "alone", "teacher", "static"]
    commands = [made.command(cell) for cell in made.cells[:5]]
    below = "recognisers.teacher.start.{}=runs/good/tones/seed0/head-start/teacher"
    for part in ("front_end", "encoder", "decoder"):
        assert below.format(part) in commands[1]
    assert "recognisers.student.start.decoder=runs/good/tones/seed0/big/teacher" in commands[2]
    assert "recognisers.student.start.front_end=kept/student" in commands[2]
    # What a student costs, all that it needs costs too, at any distance.
    needed = made.with_needs([made.cells[2]])
    assert {cell.plan for cell in needed} == {"head-start", "big", "alone"}
    assert {cell.seed for cell in needed} == {0}


def test_a_folder_elsewhere_is_taken_as_it_is(tmp_path: Path) -> None:
    static = "{recipe: static, set: {recognisers: {teacher: {frozen: kept/teacher}}}}"
    made = matrix(tmp_path, GOOD.replace("static", static))
    assert list(made.plans) == ["alone", "static"]
    assert "frozen=kept/teacher" in made.command(made.cells[1])


def test_several_manifests_are_joined_in_the_command(tmp_path: Path) -> None:
    made = matrix(tmp_path, GOOD)
    assert '--data $TONES/a.tsv "${TONES}/b.tsv" --out' in made.command(made.cells[0])


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("seeds:", "seed:", "seed is not a known key; did you mean 'seeds'"),
        ("seeds: [0, 1]", "seeds: [0, x]", r"seeds\[1\] is 'x'; write a whole number"),
        ("seeds: [0, 1]", "seeds: [0, 0]", "seeds has one twice"),
        ("seeds: [0, 1]", "seeds: []", "seeds are empty"),
        ("seeds: [0, 1]", "seeds: [0, -1]", "seeds are 0 or more"),
        ("[alone, static]", "[alone, statik]", "no recipe 'statik'; known: alone, "),
        ("[alone, static]", "[alone, mine.yaml]", "mine.yaml: no such file"),
        ("[alone, static]", "[alone, alone]", "plans has one twice; give each plan a name"),
        ("[alone, static]", "[alone, {recipe: static, sett: {}}]", "did you mean 'set'"),
        ("[alone, static]", "[alone, {recipe: alone, name: a/b}]", "'a/b' is to name a folder"),
        ("reference: alone", "reference: tandem", "plans are alone, static"),
        ("reference: alone", "", "reference is missing"),
        ("name: good", "name: good\nfolds: 1", "folds is at least 2"),
        ("name: good", "name: good\nsettings: no.yaml", "no.yaml: no such file"),
        ("name: good", "name: good\nset: {training: {seed: 1}}", "keys for that, seeds and folds"),
        ("name: good", "name: good\nset: {training: {epoch: 1}}", "did you mean 'epochs'"),
        (
            "static]",
            "{recipe: static, set: {recognisers: {teacher: {frozen: runs/a/b}}}}]",
            "run of 'a', and there is no",
        ),
        (
            "static]",
            "{recipe: static, set: {recognisers: {teacher: {frozen: runs/alone/tutor}}}}]",
            "'alone' makes no 'tutor'; it makes student",
        ),
        (
            "alone, static]",
            "{recipe: alone, set: {recognisers: {student: {start: {encoder: runs/b/student}}}}}]",
            r"recognisers\.student\.start\.encoder is the run of 'b', and there is no",
        ),
        (
            "static]",
            "{recipe: static, set: {recognisers: {teacher: {frozen: runs/static/student}}}}]",
            "static needs static",
        ),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        matrix(tmp_path, GOOD.replace(old, new))


def test_a_variable_that_is_not_set_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TONES", raising=False)
    with pytest.raises(InputError, match=r"corpora\.tones is \$TONES/a.tsv.*export TONES="):
        matrix(tmp_path, GOOD).run(tmp_path, "cpu")


def test_more_folds_than_speakers_are_refused_before_anything_is_trained(
    corpus: Path, settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TONES", str(corpus.parent))
    text = f"name: x\nsettings: {settings}\nplans: [alone]\nreference: alone\nfolds: 5\n"
    text += "corpora: {tones: $TONES/manifest.tsv}\n"
    made = matrix(tmp_path, text)
    with pytest.raises(InputError, match="4 speakers cannot be cut into 5 folds"):
        made.run(tmp_path, "cpu")
    with pytest.raises(InputError, match="no utterance of split exam"):
        matrix(tmp_path, text.replace("folds: 5", "split: exam")).run(tmp_path, "cpu")
    assert not list((tmp_path / "out").glob("tones"))


def test_two_at_once_in_a_folder_are_refused(tmp_path: Path) -> None:
    from codert.files import hold

    made = matrix(tmp_path, GOOD)
    with hold(tmp_path / "out" / ".lock"), pytest.raises(InputError, match="another codert works"):  # type: ignore[union-attr]
        made.run(tmp_path, "cpu")


@pytest.mark.parametrize("file", sorted((RECIPES / "experiments").glob("*.yaml")))
def test_every_experiment_of_the_repository_is_one(file: Path) -> None:
    made = Matrix.read(file)
    assert made.records.folder == Path("runs") / made.experiment.name
    assert made.experiment.name == file.stem


def score(id: str, words: int = 10) -> UtteranceScore:
    return UtteranceScore(id, "s", "", "", 1, words, 0, 0)


@pytest.mark.parametrize("other", ["plan", "seed"])
@pytest.mark.parametrize("heard", [score("c"), score("b", words=11)])
def test_scores_of_other_utterances_are_not_compared(
    other: str, heard: UtteranceScore, tmp_path: Path
) -> None:
    seeds = "seeds: [0, 1]" if other == "seed" else "seeds: [0]"
    made = matrix(tmp_path, GOOD.replace("seeds: [0, 1]", seeds))
    made.records.add(RECORD, [score("a"), score("b")])
    record = replace(RECORD, seed=1) if other == "seed" else replace(RECORD, plan="static")
    made.records.add(record, [score("a"), heard])
    with pytest.raises(InputError, match=r"(other|different) utterances"):
        rows_of(made)


ADDING = """
import sys
from dataclasses import replace
from pathlib import Path
from codert.experiments.records import Records
from tests.experiments.test_experiment_file import score
from tests.experiments.tiny import RECORD
folder, first = Path(sys.argv[1]), int(sys.argv[2])
(folder / f"ready{first}").touch()
while not (folder / f"ready{1 - first}").exists():
    pass
for seed in range(first, 60, 2):
    Records(folder).add(replace(RECORD, seed=seed), [score("a")])
"""


def test_scorings_side_by_side_lose_no_record(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ADDING, str(tmp_path)]
    both = [subprocess.Popen([*command, str(first)], cwd=RECIPES.parent) for first in (0, 1)]
    assert [each.wait() for each in both] == [0, 0]
    assert {key[0].seed for key in Records(tmp_path).read()} == set(range(60))


def test_a_line_whose_utterances_are_gone_is_not_read_and_not_lost(tmp_path: Path) -> None:
    records = Records(tmp_path)
    for seed in range(2):
        records.add(replace(RECORD, seed=seed), [score("a")])
    gone = next(tmp_path.rglob("seed0/**/*.tsv"))
    content = gone.read_bytes()
    gone.unlink()
    records.add(replace(RECORD, seed=2), [score("a")])
    assert {key[0].seed for key in records.read()} == {1, 2}
    gone.write_bytes(content)
    assert {key[0].seed for key in records.read()} == {0, 1, 2}


def test_without_results_the_table_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing of good is recorded yet"):
        rows_of(matrix(tmp_path, GOOD))
    with pytest.raises(InputError, match="no plan 'nobody' to compare with"):
        rows_of(matrix(tmp_path, GOOD), "nobody")
