"""Whole runs on a tiny corpus: what is promised of every training."""

import json
import math
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from codert.config import merged, nested
from codert.data import features
from codert.data.batches import Batch
from codert.data.description import describe
from codert.data.manifest import Utterance, read_manifest, write_manifest
from codert.decoding.transcriber import Transcriber
from codert.errors import InputError
from codert.learning.edges import EncoderLogitEdge
from codert.learning.heard import check_heard, heard_as, heard_by
from codert.learning.plan import Plan
from codert.learning.run import Outcome, train
from codert.learning.run_folder import CHECKPOINT, CURVES, HEARD, TAKEN, is_finished
from codert.learning.trainer import Stopped, Trainer

from ..tiny import RATE, RECIPES, spoken, tiny_plan

CPU = torch.device("cpu")


@pytest.fixture
def run(corpus: Path, cache: Path, tmp_path: Path) -> Any:
    def go(plan: Plan, name: str = "run", manifest: Path = corpus, resume: bool = False) -> Outcome:
        return train(plan, [manifest], tmp_path / name, cache, CPU, resume)

    return go


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "weights.safetensors")


def assert_bit_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def edge(match: str, **keys: object) -> dict[str, object]:
    return {"from": "teacher", "to": "student", "match": match, **keys}


matches = pytest.mark.parametrize("match", ["encoder_logits", "lattice"])


def curves(outcome: Outcome) -> Path:
    return outcome.recognisers["student"].parent / CURVES


def taught_by(outcome: Outcome, match: str) -> list[float]:
    """What an edge cost the student as the run went."""
    lines = [json.loads(line) for line in curves(outcome).read_text().splitlines()]
    return [line[f"{match}/student"] for line in lines if f"{match}/student" in line]


@pytest.mark.parametrize("recipe", sorted(p.stem for p in RECIPES.glob("*.yaml")))
def test_every_recipe_trains(recipe: str, run: Any, settings: Path, teacher: Path) -> None:
    over: dict[str, object] = {}
    if recipe == "shared-front-end":
        over = {"models": {"large": {"encoder": {"channels": 8, "width": 16}}}}
    for keys in tiny_plan(recipe, settings, **over).needs:
        over = merged(over, nested(("recognisers", *keys), str(teacher)))
    plan = tiny_plan(recipe, settings, **over)
    outcome = run(plan)
    assert set(outcome.recognisers) == set(plan.made)
    for folder in outcome.recognisers.values():
        assert Transcriber.load(folder).card.strategy == recipe
    lines = [json.loads(x) for x in (folder.parent / CURVES).read_text().splitlines()]
    assert {f"wer/{name}" for name in plan.made} <= lines[-1].keys()
    assert lines[-1]["progress"] == 1


@matches
def test_an_edge_of_weight_0_leaves_the_student_as_it_is_alone(
    match: str, run: Any, settings: Path
) -> None:
    tandem = run(tiny_plan("tandem", settings, edges=[edge(match, weight=0)]), "tandem")
    alone = run(tiny_plan("alone", settings), "alone")
    assert_bit_equal(weights(tandem.recognisers["student"]), weights(alone.recognisers["student"]))


@matches
def test_an_edge_changes_the_student_and_not_the_teacher(
    match: str, run: Any, settings: Path
) -> None:
    tandem = run(tiny_plan("tandem", settings, edges=[edge(match)]), "tandem")
    alone = run(tiny_plan("alone", settings), "alone")
    teacher = run(tiny_plan("teacher", settings), "teacher")
    assert_bit_equal(
        weights(tandem.recognisers["teacher"]), weights(teacher.recognisers["teacher"])
    )
    taught, untaught = (weights(r.recognisers["student"]) for r in (tandem, alone))
    assert any(not torch.equal(taught[name], untaught[name]) for name in taught)


@matches
def test_an_edge_to_both_changes_the_teacher_too(match: str, run: Any, settings: Path) -> None:
    both = [edge(match, gradient="both")]
    tandem = run(tiny_plan("tandem", settings, edges=both), "tandem")
    teacher = run(tiny_plan("teacher", settings), "teacher")
    taught, untaught = (weights(r.recognisers["teacher"]) for r in (tandem, teacher))
    assert any(not torch.equal(taught[name], untaught[name]) for name in taught)


@pytest.mark.parametrize(
    ("recipe", "keys"),
    [
        ("static", {}),
        ("static", {"divergence": "jensen_shannon", "temperature": 2, "cells": "uniform"}),
        ("tandem-shared", {}),
        ("tandem-shared", {"gradient": "both", "divergence": "reverse_kl", "cells": "student"}),
    ],
)
def test_a_lattice_edge_trains(
    recipe: str, keys: dict[str, object], run: Any, settings: Path, teacher: Path
) -> None:
    over: dict[str, object] = {"edges": [edge("lattice", **keys)], "training": {"epochs": 4}}
    if recipe == "static":
        over["recognisers"] = {"teacher": {"frozen": str(teacher)}}
    before = weights(teacher)
    taught = taught_by(run(tiny_plan(recipe, settings, **over)), "lattice")
    assert all(math.isfinite(loss) and loss > 0 for loss in taught)
    assert taught[-1] < taught[0]
    assert_bit_equal(before, weights(teacher))


@pytest.mark.parametrize("divergence", ["kl", "l2"])
def test_a_lattice_is_taught_by_a_joint_of_another_kind_without_heads(
    divergence: str, run: Any, settings: Path
) -> None:
    mlp = {"joint": {"kind": "mlp", "width": 8, "head_weight": 0}}
    edges = [edge("lattice", divergence=divergence)]
    plan = tiny_plan("tandem", settings, models={"large": mlp}, edges=edges)
    outcome = run(plan)
    assert all(loss > 0 for loss in taught_by(outcome, "lattice"))
    assert "heads/" not in curves(outcome).read_text()

    # Once it is frozen its lattice may teach, and its encoder logits still may not.
    frozen = {"recognisers": {"teacher": {"frozen": str(outcome.recognisers["teacher"])}}}
    assert taught_by(run(tiny_plan("static", settings, edges=edges, **frozen), "2"), "lattice")
    edges = [edge("encoder_logits")]
    with pytest.raises(InputError, match=r"edges\[0\]: .* a head that no loss trains"):
        run(tiny_plan("static", settings, edges=edges, **frozen), "3")


def test_a_head_that_ctc_has_trained_may_teach_once_it_is_frozen(run: Any, settings: Path) -> None:
    mlp = {"joint": {"kind": "mlp", "width": 8, "head_weight": 0}}
    by_ctc = {"training": {"ctc_weight": 0.3}}
    plan = tiny_plan("teacher", settings, models={"large": mlp}, **by_ctc)
    teacher = run(plan, "1").recognisers["teacher"]
    frozen = {"recognisers": {"teacher": {"frozen": str(teacher)}}}
    outcome = run(tiny_plan("static", settings, edges=[edge("encoder_logits")], **frozen), "2")
    assert all(loss > 0 for loss in taught_by(outcome, "encoder_logits"))
    edges = [edge("encoder_logits", gauge="centred")]
    with pytest.raises(InputError, match=r"edges\[0\]: the decoder logits of 'teacher' come from"):
        run(tiny_plan("static", settings, edges=edges, **frozen), "3")


def test_a_shared_decoder_is_one_decoder(run: Any, settings: Path) -> None:
    folders = run(tiny_plan("tandem-shared", settings, training={"epochs": 1})).recognisers
    teacher, student = weights(folders["teacher"]), weights(folders["student"])
    decoder = [name for name in student if name.startswith("decoder.")]
    assert decoder
    for name in decoder:
        assert torch.equal(teacher[name], student[name])


def test_the_same_seed_gives_the_same_run_and_another_another(run: Any, settings: Path) -> None:
    first, second = (run(tiny_plan("alone", settings), name) for name in ("1", "2"))
    other = run(tiny_plan("alone", settings, training={"seed": 1}), "3")
    one, two, three = (weights(r.recognisers["student"]) for r in (first, second, other))
    assert_bit_equal(one, two)
    assert any(not torch.equal(one[name], three[name]) for name in one)


# A head that no loss trains has no moments.
HEADLESS = {"models": {"small": {"joint": {"kind": "mlp", "width": 8, "head_weight": 0}}}}


@pytest.mark.parametrize(
    ("recipe", "over"),
    [
        ("tandem", {}),
        ("tandem-shared", {}),
        ("mean-teacher", {}),
        ("methods/hidden", {}),
        ("alone", HEADLESS),
    ],
)
@pytest.mark.parametrize("at", [1, 4, 9])
@pytest.mark.parametrize("how", ["asked", "crashed"])
def test_a_stopped_run_resumes_bit_equal(
    recipe: str,
    over: dict[str, Any],
    at: int,
    how: str,
    run: Any,
    settings: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = tiny_plan(recipe, settings, **over)
    whole = run(plan, "whole")
    update, count = Trainer._update, 0

    def interrupted(self: Trainer, group: list[Batch]) -> dict[str, torch.Tensor | float]:
        nonlocal count
        count += 1
        if count == at and how == "crashed":
            raise KeyboardInterrupt
        if count == at:
            signal.raise_signal(signal.SIGTERM)
        return update(self, group)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_update", interrupted)
        with pytest.raises(Stopped if how == "asked" else KeyboardInterrupt):
            run(plan, "broken")
    if how == "crashed" and at == 1:
        with pytest.raises(InputError, match="nothing to resume"):
            run(plan, "broken", resume=True)
        return
    resumed = run(plan, "broken", resume=True)
    for name, folder in whole.recognisers.items():
        assert_bit_equal(weights(folder), weights(resumed.recognisers[name]))
    last = [next(iter(r.recognisers.values())).parent / CHECKPOINT for r in (whole, resumed)]
    assert_bit_equal(load_file(last[0]), load_file(last[1]))
    curves = [path.with_name(CURVES).read_text().splitlines() for path in last]
    strip = [[{**json.loads(x), "core_seconds": 0} for x in lines] for lines in curves]
    assert strip[0] == strip[1]


def test_a_look_before_a_kill_is_written_once(
    run: Any, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tiny_plan("alone", settings, training={"checkpoint_every": 0})
    save = Trainer.save

    def killed(self: Trainer) -> None:
        if self.position.epoch and not self.position.batch:
            raise KeyboardInterrupt  # behind the look at the end of the epoch
        save(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            run(plan)
    lines = curves(run(plan, resume=True)).read_text().splitlines()
    looks = [values["update"] for values in map(json.loads, lines) if "wer/student" in values]
    assert len(looks) == len(set(looks)) == plan.training.epochs


def test_what_was_found_to_be_broken_before_a_stop_is_listed(
    run: Any, settings: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF nonsense")
    unreadable = Utterance("unreadable", tmp_path / "broken.wav", "AB", "s", "train", 1.0)
    manifest = tmp_path / "manifest.tsv"
    write_manifest(manifest, [*read_manifest(corpus), unreadable])
    # Recordings that the features' mean is taken of are found at once.
    monkeypatch.setattr(features, "_SAMPLE", 1)
    plan = tiny_plan("alone", settings, data={"cache": False}, training={"epochs": 1})
    whole = run(plan, "whole", manifest)
    assert [each.id for each in whole.skipped] == ["unreadable"]
    last = max(json.loads(line)["update"] for line in curves(whole).read_text().splitlines())
    update = Trainer._update

    def asked(self: Trainer, group: list[Batch]) -> dict[str, torch.Tensor | float]:
        if self.position.updates == last - 1:
            signal.raise_signal(signal.SIGTERM)
        return update(self, group)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_update", asked)
        with pytest.raises(Stopped):
            run(plan, "stopped", manifest)
    assert run(plan, "stopped", manifest, resume=True).skipped == whole.skipped


def test_a_run_is_not_resumed_with_other_data(
    run: Any, settings: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tiny_plan("alone", settings)
    run(plan)
    folder = run(plan, resume=True).recognisers["student"].parent
    other = corpus.with_name("fewer.tsv")
    write_manifest(other, read_manifest(corpus)[1:])
    before = (folder / HEARD).read_text()
    with pytest.raises(InputError, match="begun with other utterances or word-pieces"):
        run(plan, manifest=other, resume=True)
    assert (folder / HEARD).read_text() == before


def test_a_run_is_not_resumed_with_another_development_split(
    run: Any, settings: Path, corpus: Path
) -> None:
    plan = tiny_plan("alone", settings)
    run(plan)
    other = corpus.with_name("fewer.tsv")
    dev = next(u.id for u in read_manifest(corpus) if u.split == "dev")
    write_manifest(other, [u for u in read_manifest(corpus) if u.id != dev])
    with pytest.raises(InputError, match="begun with other utterances or word-pieces"):
        run(plan, manifest=other, resume=True)


def test_what_was_heard_is_known(run: Any, settings: Path, corpus: Path, tmp_path: Path) -> None:
    student = run(tiny_plan("alone", settings)).recognisers["student"]
    everything = read_manifest(corpus)
    heard = heard_by(student)
    assert {each.split for each in everything if each.id in heard} == {"train", "dev"}
    assert all(each.id in heard for each in everything if each.split == "train")
    assert not heard_by(tmp_path / "elsewhere" / "student")


def test_what_was_heard_before_is_known_too(
    run: Any, settings: Path, teacher: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(teacher.parent, tmp_path / "other") / teacher.name
    (other.parent / HEARD).write_text("another\n")
    for recipe, members in (
        ("static", {"teacher": {"frozen": str(other)}}),
        ("alone", {"student": {"start": {"decoder": str(other)}}}),
    ):
        plan = tiny_plan(recipe, settings, recognisers=members, training={"epochs": 1})
        student = run(plan, recipe).recognisers["student"]
        assert {"another", "train-1"} <= heard_by(student)
        # Also when it goes on, and that is no longer there.
        if recipe == "alone":
            shutil.rmtree(other)
            run(plan, recipe, resume=True)
            assert "another" in heard_by(student)


@pytest.mark.parametrize("recipe", ["static", "kept-decoder"])
def test_a_teacher_that_is_not_there_is_named(recipe: str, run: Any, settings: Path) -> None:
    with pytest.raises(InputError, match=r"teacher\.frozen: .*; make it first .* --set recogn"):
        run(tiny_plan(recipe, settings))


def test_a_student_takes_the_word_pieces_of_its_teacher(
    run: Any, settings: Path, teacher: Path, corpus: Path
) -> None:
    other = corpus.with_name("others.tsv")
    write_manifest(other, [u for u in read_manifest(corpus) if u.split != "train" or "A" in u.text])
    plan = merged(nested(("recognisers", "teacher", "frozen"), str(teacher)), {"data": {}})
    with pytest.raises(InputError, match=r"other word-pieces .* wordpieces\.model=") as caught:
        run(tiny_plan("static", settings, **plan), "refused", manifest=other)
    model = str(caught.value).split("wordpieces.model=")[1].split(")")[0]
    over = merged(plan, nested(("wordpieces", "model"), model))
    student = run(tiny_plan("static", settings, **over), manifest=other).recognisers["student"]
    assert Transcriber.load(student).wordpieces == Transcriber.load(teacher).wordpieces


def test_what_a_model_understands_is_said_beside_its_data(
    run: Any, settings: Path, corpus: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "corpus" / "m.tsv"
    manifest.parent.mkdir()
    write_manifest(manifest, read_manifest(corpus))

    def said(name: str, **over: object) -> str:
        plan = tiny_plan("alone", settings, training={"epochs": 1}, **over)
        return Transcriber.load(
            run(plan, name, manifest=manifest).recognisers["student"]
        ).card.understands

    assert said("nothing") == "speech like that of its training data"
    describe(manifest.parent, "tones")
    assert said("beside") == "tones"
    assert said("settings", understands="letters") == "letters"
    (manifest.parent / "understands.txt").write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match=r"understands\.txt: not UTF-8; save"):
        said("broken")
    assert not (tmp_path / "broken").exists()


def test_accumulating_batches_makes_fewer_updates(run: Any, settings: Path) -> None:
    plan = tiny_plan("alone", settings, training={"accumulate": 3, "epochs": 1})
    folder = run(plan).recognisers["student"].parent
    once = run(tiny_plan("alone", settings, training={"epochs": 1}), "once")
    updates = [
        json.loads((path / CURVES).read_text().splitlines()[-1])["update"]
        for path in (folder, once.recognisers["student"].parent)
    ]
    assert updates[0] == math.ceil(updates[1] / 3)


def test_bad_utterances_are_skipped_and_listed(
    run: Any, corpus: Path, settings: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF nonsense")
    soundfile.write(tmp_path / "empty.wav", [], 16000)
    utterances = read_manifest(corpus)
    good = next(u for u in utterances if u.split == "train")
    bad = [
        Utterance("broken", tmp_path / "broken.wav", "AB", "s", "train", 1.0),
        Utterance("empty", tmp_path / "empty.wav", "AB", "s", "train", 1.0),
        Utterance("missing", tmp_path / "missing.wav", "AB", "s", "train", 1.0),
        Utterance("long", good.audio, good.text, "s", "train", 1000.0),
        Utterance("silent", good.audio, "...", "s", "train", 1.0),
    ]
    write_manifest(tmp_path / "manifest.tsv", [*utterances, *bad])
    plan = tiny_plan("alone", settings, training={"epochs": 1})
    outcome = run(plan, manifest=tmp_path / "manifest.tsv")
    assert {s.id for s in outcome.skipped} == {u.id for u in bad}
    listed = (outcome.recognisers["student"].parent / "skipped.jsonl").read_text()
    assert len(listed.splitlines()) == len(bad)


def test_utterances_too_short_for_ctc_are_counted_once(
    run: Any, corpus: Path, settings: Path, tmp_path: Path
) -> None:
    utterances = read_manifest(corpus)
    good = next(u for u in utterances if u.split == "train")
    crowded = Utterance("crowded", good.audio, "ABCDE" * 100, "s", "train", 1.0)
    write_manifest(tmp_path / "manifest.tsv", [*utterances, crowded])
    plan = tiny_plan("alone", settings, training={"epochs": 2, "ctc_weight": 0.3})
    assert run(plan, manifest=tmp_path / "manifest.tsv").too_short_for_ctc == 1


def test_an_utterance_of_a_single_frame_in_a_batch_by_itself_is_learnt(
    run: Any, corpus: Path, settings: Path, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "click.wav", spoken("A")[2000:2480], RATE)  # 30 ms
    click = Utterance("click", tmp_path / "click.wav", "A", "s", "train", 0.03)
    write_manifest(tmp_path / "manifest.tsv", [*read_manifest(corpus), click])
    data = {"batch_seconds": 0.04}
    plan = tiny_plan("alone", settings, data=data, training={"epochs": 1})
    outcome = run(plan, manifest=tmp_path / "manifest.tsv")
    assert not outcome.skipped
    assert all(x.isfinite().all() for x in weights(outcome.recognisers["student"]).values())


def test_a_loss_that_is_not_finite_names_its_utterances(
    run: Any, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = Batch.to

    def poisoned(self: Batch, device: torch.device) -> Batch:
        batch = moved(self, device)
        if "train-3" in batch.ids:
            batch.features[batch.ids.index("train-3")] = math.nan
        return batch

    monkeypatch.setattr(Batch, "to", poisoned)
    with pytest.raises(InputError, match=r"not finite for train-3;"):
        run(tiny_plan("alone", settings))


def test_an_edge_that_is_not_finite_is_named(
    run: Any, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EncoderLogitEdge, "loss", lambda *_: torch.tensor(math.inf))
    mend = r"^encoder_logits/student is not finite, .* train-.*; lower that edge's weight, or"
    with pytest.raises(InputError, match=mend):
        run(tiny_plan("tandem", settings))


def test_a_development_split_without_texts_is_refused_at_once(
    run: Any, settings: Path, corpus: Path, tmp_path: Path
) -> None:
    utterances = [replace(u, text="") if u.split == "dev" else u for u in read_manifest(corpus)]
    write_manifest(tmp_path / "manifest.tsv", utterances)
    with pytest.raises(InputError, match=r"split dev has 6 utterances and no text"):
        run(tiny_plan("alone", settings), manifest=tmp_path / "manifest.tsv")


def test_a_corpus_without_a_training_split_is_refused_at_once(
    run: Any, settings: Path, corpus: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "manifest.tsv"
    write_manifest(manifest, [u for u in read_manifest(corpus) if u.split == "dev"])
    with pytest.raises(InputError, match=r"manifest\.tsv: no utterance of split train; mark some$"):
        run(tiny_plan("alone", settings), manifest=manifest)
    assert not (tmp_path / "run").exists()


def test_a_folder_is_not_overwritten_by_another_run(run: Any, settings: Path) -> None:
    run(tiny_plan("alone", settings))
    with pytest.raises(InputError, match="add --resume, or choose another --out"):
        run(tiny_plan("alone", settings))
    with pytest.raises(InputError, match="begun with other settings"):
        run(tiny_plan("alone", settings, training={"seed": 5}), resume=True)


def test_what_is_refused_leaves_a_finished_run_as_it_is(
    run: Any, settings: Path, corpus: Path, tmp_path: Path
) -> None:
    plan = tiny_plan("alone", settings)
    folder = run(plan).recognisers["student"].parent

    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    before = content()
    with pytest.raises(InputError, match="no such file"):
        run(plan, manifest=tmp_path / "mistyped.tsv", resume=True)
    assert content() == before
    # Its last state is not needed any more, and may be removed to save space.
    (folder / CHECKPOINT).unlink()
    before = content()
    for resume in (False, True):
        with pytest.raises(InputError, match="holds a finished run; choose another --out"):
            run(tiny_plan("alone", settings, training={"seed": 5}), resume=resume)
    assert content() == before


def test_a_finished_run_is_not_taken_for_one_on_other_speech(
    run: Any, settings: Path, corpus: Path
) -> None:
    plan = tiny_plan("alone", settings)
    folder = run(plan).recognisers["student"].parent
    speech = read_manifest(corpus)
    check_heard(folder, plan, speech)
    more = [replace(u, split={"test": "train"}.get(u.split, u.split)) for u in speech]
    fewer = [replace(u, split={"dev": "test"}.get(u.split, u.split)) for u in speech]
    for other in (more, fewer, [*speech, replace(speech[0], id="new")]):
        with pytest.raises(InputError, match="was trained on other speech, or with other speakers"):
            check_heard(folder, plan, other)
    mended = [replace(u, text=f"{u.text.lower()}!") for u in speech]
    check_heard(folder, plan, mended)  # which is the same to a recogniser
    wrong = next(u for u in speech if u.split == "train")
    with pytest.raises(InputError, match=f"was trained when {wrong.id} had another text"):
        check_heard(folder, plan, [replace(u, text="other") if u is wrong else u for u in speech])


def test_what_a_teacher_heard_as_well_is_still_a_runs_own(settings: Path, tmp_path: Path) -> None:
    teacher, run = tmp_path / "before" / "teacher", tmp_path / "static"
    for folder in (teacher, run):
        folder.mkdir(parents=True)
    plan = tiny_plan("static", settings, recognisers={"teacher": {"frozen": str(teacher)}})
    speech = [Utterance(id, Path("a.wav"), "A", "s", "train", 1.0) for id in "ab"]
    (teacher.parent / HEARD).write_text(heard_as({"a": "A", "b": "A"}, ()))
    (run / HEARD).write_text(heard_as({"a": "A", "b": "A"}, "ab"))
    check_heard(run, plan, speech)
    for other in (speech[:1], [speech[0], replace(speech[1], split="test")]):
        with pytest.raises(InputError, match="as b shows"):
            check_heard(run, plan, other)


def test_a_run_goes_on_where_its_teacher_was_moved(
    run: Any, settings: Path, teacher: Path, tmp_path: Path
) -> None:
    moved = tmp_path / teacher.parent.name / teacher.name
    shutil.copytree(teacher, moved)
    for folder in (teacher, moved):
        over = {
            "recognisers": {"teacher": {"frozen": str(folder)}},
            "wordpieces": {"model": str(folder / "wordpieces.model")},
            "training": {"epochs": 1},
        }
        run(tiny_plan("static", settings, **over), resume=folder == moved)
    over["recognisers"]["teacher"]["frozen"] = str(moved.with_name("other"))  # type: ignore[index]
    with pytest.raises(InputError, match="begun with other settings"):
        run(tiny_plan("static", settings, **over), resume=True)


def test_a_run_is_finished_when_its_last_file_is_there(
    run: Any, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tiny_plan("alone", settings)

    def killed(self: Trainer) -> None:
        (self.folder / CURVES).write_text('{"update": 0}\n')
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run", killed)
        with pytest.raises(KeyboardInterrupt):
            run(plan, "1")
    folder = run(plan, "2").recognisers["student"].parent
    assert not is_finished(folder.with_name("1"), plan)
    assert is_finished(folder, plan)
    # Killed before its first checkpoint, it may begin anew, with other settings too.
    again = run(tiny_plan("alone", settings, training={"epochs": 1}), "1").recognisers["student"]
    assert '"update": 0' not in (again.parent / CURVES).read_text()
    with pytest.raises(InputError, match="begun with other settings"):
        is_finished(folder, tiny_plan("alone", settings, training={"epochs": 1}))


def test_a_teacher_of_other_wordpieces_is_refused(run: Any, settings: Path, teacher: Path) -> None:
    over = {"recognisers": {"teacher": {"frozen": str(teacher)}}, "wordpieces": {"size": 8}}
    with pytest.raises(InputError, match="other word-pieces"):
        run(tiny_plan("static", settings, **over))


def test_a_frozen_teacher_is_in_no_checkpoint(run: Any, settings: Path, teacher: Path) -> None:
    over = {"recognisers": {"teacher": {"frozen": str(teacher)}}, "training": {"epochs": 1}}
    before = weights(teacher)
    folder = run(tiny_plan("static", settings, **over)).recognisers["student"].parent
    assert all(name.split("/")[1] == "student" for name in load_file(folder / CHECKPOINT))
    assert_bit_equal(before, weights(teacher))


def test_an_mlp_joint_trains_with_heads(run: Any, settings: Path) -> None:
    joint = {"joint": {"kind": "mlp", "width": 8}}
    plan = tiny_plan("tandem-shared", settings, models={"small": joint, "large": joint})
    folder = run(plan).recognisers["student"].parent
    assert "heads/student" in (folder / CURVES).read_text()


@pytest.mark.parametrize(
    ("recipe", "member", "key"),
    [("static", "teacher", "frozen"), ("teacher", "teacher", "start.encoder")],
)
def test_a_run_is_of_the_weights_that_it_began_with(
    recipe: str,
    member: str,
    key: str,
    run: Any,
    settings: Path,
    teacher: Path,
    tmp_path: Path,
) -> None:
    own = tmp_path / "teacher" / "teacher"
    shutil.copytree(teacher, own)
    takes = {"recognisers": {member: nested(key.split("."), str(own))}}
    plan = tiny_plan(recipe, settings, training={"epochs": 1}, **takes)
    folder = next(iter(run(plan).recognisers.values())).parent
    run(plan, resume=True)
    tensors = load_file(own / "weights.safetensors")
    name = next(iter(tensors))
    save_file(tensors | {name: tensors[name] + 1}, own / "weights.safetensors")
    refused = rf"recognisers\.{member}\.{key} is not what the run was begun with"
    with pytest.raises(InputError, match=refused):
        run(plan, resume=True)
    with pytest.raises(InputError, match=refused):
        is_finished(folder, plan)
    taken = (folder / TAKEN).read_text()
    (folder / TAKEN).write_text("{")
    with pytest.raises(InputError, match=rf"{TAKEN}: not valid JSON.*; remove it"):
        is_finished(folder, plan)
    if "start" in key:  # it is not needed any more
        (folder / TAKEN).write_text(taken)
        shutil.rmtree(own)
        assert is_finished(folder, plan)
