"""A recogniser that is handed on: its weights as they are, and a card that tells the truth."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from codert.cli import main
from codert.config import build
from codert.data.manifest import Utterance, read_manifest, write_manifest
from codert.data.text import normalise
from codert.decoding.transcriber import Transcriber
from codert.evaluation.scoring import UtteranceScore
from codert.experiments.export import CARD, sentences
from codert.experiments.records import Records
from codert.learning.heard import heard_by
from codert.learning.plan import Plan
from codert.learning.run import train
from codert.learning.run_folder import plan_of
from codert.models.folder import WEIGHTS, WORDPIECES, load_card

from ..tiny import tiny_plan
from .tiny import RECORD

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained(
    corpus: Path, settings: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An experiment's folder with the run of one cell, and no results."""
    out = tmp_path_factory.mktemp("trained")
    train(tiny_plan("tandem", settings), [corpus], out / "tones/seed0/tandem", cache, CPU)
    return out


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "out")
    return tmp_path / "out/tones/seed0/tandem/student"


def record(run: Path, **keys: Any) -> None:
    """Two speakers, one of whom is misheard more."""
    found = replace(
        RECORD,
        plan="tandem",
        strategy="tandem",
        wer=40.0,
        errors=8,
        commit="abc1234",
        command="codert train recipes/tandem.yaml",
        updates=Transcriber.load(run).card.updates,
    )
    scores = [UtteranceScore(i, i, "", "", e, 10, 0, 0) for i, e in (("a", 6), ("b", 2))]
    found = replace(found, **keys)
    Records(run.parents[3 if found.fold is None else 4]).add(found, scores)


@pytest.fixture
def export(run: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command; its status, output and errors."""

    def go(*more: str, out: Path = tmp_path / "model", data: Path = corpus) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(["export", str(run), "--out", str(out), "--data", str(data), *more])
        return status, *capsys.readouterr()

    return go


def test_the_copy_is_the_recogniser_and_its_card_has_what_was_recorded(
    run: Path, export: Any, corpus: Path, tmp_path: Path
) -> None:
    record(run)
    status, out, _ = export()
    model = tmp_path / "model"
    assert status == 0
    assert sorted(p.name for p in model.iterdir()) == [
        *(CARD, "config.json", "heard.txt", "weights.safetensors", "wordpieces.model")
    ]
    assert heard_by(model) == heard_by(run) != frozenset()
    for name in ("config.json", "weights.safetensors", "wordpieces.model"):
        assert (model / name).read_bytes() == (run / name).read_bytes()
    size = sum(p.stat().st_size for p in model.iterdir())
    assert f"{size / 1e6:.2f} MB in 5 files" in out
    assert "WER on tones, test: 40.0%" in out

    card = (model / CARD).read_text()
    # Speakers are drawn: both are the worse one, or the better one, a quarter of the time.
    assert "| tones | test | 20 | 2 | 40.00 [20.00, 60.00] |" in card
    assert "`codert train recipes/tandem.yaml`" in card
    assert "abc1234" in card
    heard = [u for u in read_manifest(corpus) if u.split == "train"]
    assert f"h of speech of the corpus tones: {len(heard)} utterances by 4 speakers" in card
    assert f"{Transcriber.load(run).recogniser.total_params:,}" in card
    said = re.findall(r"^\d+\. (.+)$", card, re.MULTILINE)
    assert len(said) == 10
    assert set(said) <= {normalise(u.text) for u in heard}
    # The plan in it is the one that was run.
    shown = yaml.safe_load(re.search(r"```yaml\n(.*?)```", card, re.DOTALL)[1])  # type: ignore[index]
    assert build(Plan, shown, "card") == plan_of(run.parent)
    assert "Before that" not in card
    assert "no transcript" not in card

    before = card
    assert export()[0] == 0
    assert (model / CARD).read_text() == before
    assert Transcriber.load(model).card == Transcriber.load(run).card


def test_the_card_says_of_how_much_speech_there_was_no_transcript(
    corpus: Path, settings: Path, cache: Path, tmp_path: Path
) -> None:
    heard = [u for u in read_manifest(corpus) if u.split != "test"]
    silent = {u.id for u in [u for u in heard if u.split == "train"][::2]}
    hours = sum(u.seconds for u in heard if u.id in silent) / 3600
    manifest = tmp_path / "silent.tsv"
    write_manifest(manifest, [replace(u, text="") if u.id in silent else u for u in heard])
    plan = tiny_plan("tandem", settings, data={"untranscribed": True}, training={"epochs": 1})
    train(plan, [manifest], tmp_path / "run", cache, CPU)
    words = ["--out", str(tmp_path / "model"), "--data", str(manifest)]
    assert main(["export", str(tmp_path / "run/student"), *words]) == 0
    card = (tmp_path / "model" / CARD).read_text()
    assert f"\nOf {hours:.2f} h there was no transcript" in card


def test_the_card_says_how_far_its_figure_is_to_be_trusted(
    corpus: Path, run: Path, export: Any, settings: Path, cache: Path, tmp_path: Path
) -> None:
    record(run)
    assert export()[0] == 0
    card = (tmp_path / "model" / CARD).read_text()
    assert "chosen on the split dev" not in card
    assert "of fold" not in card
    assert "there WER is too low" not in card
    record(run, heard=3)
    assert export()[0] == 0
    assert "chosen by, 3 of the utterances of the split test, so there WER is too low" in (
        (tmp_path / "model" / CARD).read_text()
    )
    record(run, split="dev")
    assert export()[0] == 0
    assert "Its weights were chosen on the split dev, so on it WER is too low" in (
        (tmp_path / "model" / CARD).read_text()
    )

    fold = {"fold": {"number": 1, "of": 2}}
    plan = tiny_plan("alone", settings, data=fold, training={"epochs": 1})
    out = tmp_path / "folds/tones/fold1/seed0/alone"
    student = train(plan, [corpus], out, cache, CPU).recognisers["student"]
    record_of_fold = {"plan": "alone", "fold": 1, "updates": Transcriber.load(student).card.updates}
    record(student, **record_of_fold)
    assert main(["export", str(student), "--out", str(tmp_path / "m"), "--data", str(corpus)]) == 0
    assert "the speakers of fold 1 alone, one of 2" in (tmp_path / "m" / CARD).read_text()


def test_the_card_says_whose_weights_it_began_with(
    run: Path, export: Any, corpus: Path, settings: Path, cache: Path, tmp_path: Path
) -> None:
    """A decoder that is shared began as the teacher says."""
    members = {
        "teacher": {"start": {"decoder": str(run.parent / "teacher")}},
        "student": {"start": {"front_end": str(run), "encoder": str(run)}},
    }
    plan = tiny_plan("tandem-shared", settings, recognisers=members, training={"epochs": 1})
    student = train(plan, [corpus], tmp_path / "again", cache, CPU).recognisers["student"]
    assert main(["export", str(student), "--out", str(tmp_path / "m"), "--data", str(corpus)]) == 0
    card = (tmp_path / "m" / CARD).read_text()
    assert "Before that, front end, encoder: the weights of `tandem/student`" in card
    assert "Before that, decoder: the weights of `tandem/teacher`" in card
    assert card.count(f"which understand {load_card(run).understands}.") == 2

    shutil.rmtree(run.parent)  # what it began with is gone
    assert main(["export", str(student), "--out", str(tmp_path / "m"), "--data", str(corpus)]) == 0
    assert "which had learnt from speech of their own" in (tmp_path / "m" / CARD).read_text()


def test_what_was_not_measured_is_not_made_up(export: Any, tmp_path: Path) -> None:
    status, _, err = export()
    assert status == 0
    assert "its card has no WER" in err
    assert "Not measured" in (tmp_path / "model" / CARD).read_text()
    found = json.loads(export("--json")[1])
    assert found["scores"] == []
    assert found["files"][CARD] == (tmp_path / "model" / CARD).stat().st_size


def test_speech_that_a_recogniser_with_given_word_pieces_never_heard_is_refused(
    run: Path, corpus: Path, settings: Path, cache: Path, tmp_path: Path, capsys: Any
) -> None:
    pieces = {"model": str(run / WORDPIECES)}
    plan = tiny_plan("alone", settings, wordpieces=pieces, training={"epochs": 1})
    student = train(plan, [corpus], tmp_path / "given", cache, CPU).recognisers["student"]

    def exported(speech: list[Utterance]) -> int:
        write_manifest(tmp_path / "other.tsv", speech)
        words = ["export", str(student), "--out", str(tmp_path / "m"), "--data"]
        return main([*words, str(tmp_path / "other.tsv")])

    speech = read_manifest(corpus)
    others = [replace(each, id=f"other-{each.id}") for each in speech]
    for wrong in (others, speech + others, [u for u in speech if u.id != "train-3"]):
        assert exported(wrong) == 2
        assert "was not trained on" in capsys.readouterr().err
    shutil.rmtree(run.parent)  # it has word-pieces of its own
    assert exported(speech) == 0


def test_what_does_not_belong_together_is_refused(
    run: Path, export: Any, corpus: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.tsv"
    write_manifest(other, [u for u in read_manifest(corpus) if u.id != "train-3"])
    assert "was not trained on" in export(data=other)[2]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.doc").touch()
    assert "holds something else" in export(out=tmp_path / "full")[2]
    teacher = run.with_name("teacher")
    before = (teacher / WEIGHTS).read_bytes()
    assert "holds something else" in export(out=teacher)[2]
    assert (teacher / WEIGHTS).read_bytes() == before
    record(run, updates=1)
    assert "the recorded results are of 1" in export()[2]
    (run.parent / "plan.json").unlink()
    assert "plan.json is not beside it" in export()[2]
    assert not (tmp_path / "model").exists()


def test_sentences_can_be_said_and_differ() -> None:
    texts = [f"WORD {'VERY ' * (n % 20)}{n}" for n in range(100)]
    chosen = sentences([*texts, *texts, ""])
    assert len(set(chosen)) == 10
    assert all(3 <= len(text.split()) <= 12 for text in chosen)
    assert chosen == sentences(reversed(texts))
    assert sentences(["YES", "NO", "YES"]) == ["NO", "YES"]
