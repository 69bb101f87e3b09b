"""What is typed arrives in the function that does the work."""

import importlib
import inspect
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from codert.cli import main, parser
from codert.data.commands import corpus as commands
from codert.data.skipped import Skipped
from codert.evaluation.results import results, table
from codert.experiments.demo import Demo
from codert.experiments.recipes import recipes_folder

from ..evaluation.tiny import CD, scribe, system
from ..tiny import RECIPES

TRAIN = "train {recipe} --data m.tsv --out runs"
ESTIMATE = "estimate {recipe} --data m.tsv"
EVALUATE = "evaluate {run} --data {corpus}"
ANALYZE = "analyze {run} --data {corpus}"
ROWS = results([system("alone", {"u1": ("A B", "A"), "u2": ("C", "C")})])


class CalledError(Exception):
    """In place of a function's work."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.arguments = arguments


@pytest.mark.parametrize(
    ("words", "function", "given"),
    [
        (
            "prepare commands --out d --hours 0.5 --dev-words 7 --test-words 8 --seed 3",
            "data.commands.corpus.prepare",
            {"folder": Path("d"), "hours": 0.5, "dev_words": 7, "test_words": 8, "seed": 3},
        ),
        (
            "prepare amazon-queen --out d --deb q.deb",
            "data.amazon_queen.corpus.prepare",
            {"folder": Path("d"), "deb": Path("q.deb")},
        ),
        (
            "prepare librispeech --out d --parts dev-clean test-clean --url there",
            "data.librispeech.prepare",
            {"folder": Path("d"), "parts": ["dev-clean", "test-clean"], "url": "there"},
        ),
        (
            "prepare common-words --out d --data a.tsv b.tsv --words 9",
            "data.common_words.prepare",
            {"out": Path("d"), "manifests": [Path("a.tsv"), Path("b.tsv")], "count": 9},
        ),
        (TRAIN, "learning.run.train", {"folder": Path("runs/alone"), "resume": False}),
        (
            f"{TRAIN} --name mine --resume",
            "learning.run.train",
            {"folder": Path("runs/mine"), "resume": True},
        ),
        (f"{ESTIMATE} --updates 3", "learning.estimate.estimate", {"updates": 3}),
        *(
            (f"{verb}{more}", "learning.machine.machine", machine)
            for verb in (TRAIN, ESTIMATE, EVALUATE, ANALYZE)
            for more, machine in (
                ("", {"device": None, "threads": 1}),
                (" --device cuda:1 --threads 3", {"device": "cuda:1", "threads": 3}),
            )
        ),
        (ANALYZE, "analysis.analysis.analyse", {"voice": "en-us"}),
        (f"{ANALYZE} --voice de", "analysis.analysis.analyse", {"voice": "de"}),
    ],
)
def test_a_function_is_given_what_was_typed(
    words: str,
    function: str,
    given: dict[str, Any],
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, _, name = f"codert.{function}".rpartition(".")
    room = importlib.import_module(module)
    signature = inspect.signature(getattr(room, name))

    def called(*words: object, **keys: object) -> None:
        bound = signature.bind(*words, **keys)
        bound.apply_defaults()
        raise CalledError(bound.arguments)

    run, recipe = scribe(tmp_path / "run", CD), RECIPES / "alone.yaml"
    monkeypatch.setattr(room, name, called)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CalledError) as call:
        main(shlex.split(words.format(run=run, recipe=recipe, corpus=corpus)))
    assert {key: call.value.arguments[key] for key in given} == given


def test_the_manifest_of_spoken_commands_is_printed_also_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "prepare", lambda folder, **_: folder / "manifest.tsv")
    assert main(["prepare", "commands", "--out", "d"]) == 0
    assert capsys.readouterr().out == "d/manifest.tsv\n"
    assert main(["prepare", "commands", "--out", "d", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"manifest": "d/manifest.tsv"}


@pytest.mark.parametrize(
    ("named", "words", "cache"),
    [
        (None, [], ".cache/features"),
        ("there", [], "there"),
        ("there", ["--cache", "here"], "here"),
    ],
)
def test_features_are_kept_where_the_option_or_else_the_environment_says(
    named: str | None, words: list[str], cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CODERT_CACHE", raising=False)
    if named:
        monkeypatch.setenv("CODERT_CACHE", named)
    assert parser().parse_args(["demo", *words]).cache == Path(cache)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1h30m5s", 5405), ("9m", 540), ("2h", 7200), ("40s", 40), ("90m1s", 5401)],
)
def test_a_time_is_hours_minutes_and_seconds(text: str, seconds: float) -> None:
    assert parser().parse_args(["experiment", "file.yaml", "--for", text]).seconds == seconds


@pytest.fixture
def demos(monkeypatch: pytest.MonkeyPatch) -> list[Demo]:
    """Those that were run, and found ROWS and that an utterance is left out."""
    found: list[Demo] = []

    def run(demo: Demo) -> object:
        found.append(demo)
        return ROWS, [Skipped("u7", "no text")]

    monkeypatch.setattr(Demo, "run", run)
    return found


def test_a_demo_is_given_what_was_typed_and_prints_its_rows(
    demos: list[Demo], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["demo", "--corpus", "my.tsv", "--settings", "s.yaml", "--out", "o", "--cache", "c"]
    words += ["--set", "training.epochs=1", "--set", "data.test_speakers=[anna, ben]"]
    monkeypatch.setattr(sys, "argv", ["/bin/codert", *words, "--json"])
    assert main([*words, "--json"]) == 0
    assert demos == [
        Demo(
            recipes=recipes_folder(),
            manifest=Path("my.tsv"),
            out=Path("o"),
            cache=Path("c"),
            settings=Path("s.yaml"),
            over=("training.epochs=1", "data.test_speakers=[anna, ben]"),
            command=f"codert {shlex.join(words)} --json",
        )
    ]
    out, err = capsys.readouterr()
    assert json.loads(out) == ROWS
    assert err == "left out: 1 utterance; u7: no text\nreport: o/report.html\n"


def test_without_a_corpus_a_demo_makes_one_and_shows_a_table(
    demos: list[Demo], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "prepare", lambda folder: folder / "manifest.tsv")
    assert main(["demo"]) == 0
    [demo] = demos
    assert (demo.manifest, demo.out) == (Path("data/commands/manifest.tsv"), Path("runs/demo"))
    assert (demo.settings, demo.over) == (None, ())
    assert capsys.readouterr().out == f"{table(ROWS, 'alone')}\n"
