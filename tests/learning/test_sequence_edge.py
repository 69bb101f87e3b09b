"""The edge that matches sequences, and training on speech that nobody wrote down."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from codert.data.batches import Batch
from codert.data.manifest import read_manifest, write_manifest
from codert.data.wordpieces import WordPieces
from codert.decoding import beam_search, greedy
from codert.errors import InputError
from codert.lattice import BLANK
from codert.learning.compatibility import check_decoders
from codert.learning.edges import SequenceEdge, of_words
from codert.learning.ensemble import Ensemble
from codert.learning.objective import objective
from codert.learning.plan import Plan
from codert.learning.run import Outcome, train
from codert.learning.run_folder import CURVES
from codert.models.encoder import LSTMEncoderConfig
from codert.models.folder import WORDPIECES
from codert.models.joint import AdditiveJointConfig, JointConfig, MLPJointConfig
from codert.models.predictor import (
    LSTMPredictorConfig,
    PredictorConfig,
    StatelessPredictorConfig,
)
from codert.models.recogniser import Encoded, Outputs, Recogniser, RecogniserConfig
from codert.transducer import transducer_loss

from ..tiny import tiny_plan

CPU, F, V = torch.device("cpu"), 5, 9
SEQUENCE = {"from": "teacher", "to": "student", "match": "sequence"}
PREDICTORS: list[PredictorConfig] = [
    StatelessPredictorConfig(context=2, width=6, dropout=0.5),
    LSTMPredictorConfig("lstm", width=6, dropout=0.5),
]
JOINTS: list[JointConfig] = [AdditiveJointConfig(), MLPJointConfig("mlp", width=6)]
predictors = pytest.mark.parametrize("predictor", PREDICTORS, ids=lambda p: p.kind)
joints = pytest.mark.parametrize("joint", JOINTS, ids=lambda j: j.kind)


def recogniser(predictor: PredictorConfig, joint: JointConfig, seed: int, *strides: int) -> Any:
    torch.manual_seed(seed)
    encoder = LSTMEncoderConfig(channels=4, strides=strides, width=6, layers=1)
    model = Recogniser.build(RecogniserConfig(encoder, predictor, joint), F, V).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model


def outputs(model: Recogniser, features: Tensor, lengths: Tensor) -> Outputs:
    encoded, predicted = (
        model.encode(features, lengths),
        model.decoder(lengths.new_zeros(len(lengths), 0)),
    )
    lattice = model.lattice(encoded, predicted, torch.zeros_like(lengths))
    return Outputs(encoded, predicted, lattice, model)


def loss_of(edge: SequenceEdge, teacher: Outputs, student: Outputs) -> Tensor:
    """The labels of the batch are not read."""
    return edge.loss(teacher, student, torch.zeros(0), torch.zeros(0))


@pytest.fixture
def heard() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return 2 * torch.randn(3, 12, F, dtype=torch.float64), torch.tensor([12, 5, 9])


@predictors
@joints
@pytest.mark.parametrize(("size", "width"), [(1, 1), (1, 3), (3, 3)])
@pytest.mark.parametrize("rate", [1, 2])
def test_it_is_the_students_loss_of_what_its_teacher_writes(
    predictor: PredictorConfig, joint: JointConfig, size: int, width: int, rate: int, heard: Any
) -> None:
    teacher = recogniser(predictor, joint, 9, 2).eval()
    student = recogniser(PREDICTORS[0], JOINTS[0], 2, 2 * rate).eval()
    sides = outputs(teacher, *heard), outputs(student, *heard)
    found = loss_of(SequenceEdge("t", "s", size=size, width=width), *sides)

    @torch.no_grad()
    def log_p(model: Recogniser, encoded: Encoded, b: int, labels: tuple[int, ...]) -> Tensor:
        frames = int(encoded.lengths[b])
        joint = encoded.joint[b : b + 1, :frames]
        row = Encoded(joint, joint, encoded.lengths[b : b + 1])
        sequence = torch.tensor([labels], dtype=torch.long)
        lattice = model.lattice(row, model.decoder(sequence), torch.tensor([len(labels)]))
        return -transducer_loss(lattice, sequence)[0]

    nats, count, written = 0.0, 0.0, set()
    for b, beam in enumerate(beam_search(teacher, sides[0].encoded, width)):
        labels = [x.labels for x in beam[:size]]
        p = torch.stack([log_p(teacher, sides[0].encoded, b, y) for y in labels]).softmax(0)
        for y, weight in zip(labels, p.tolist(), strict=True):
            nats -= weight * float(log_p(student, sides[1].encoded, b, y))
            written.add(y)
        count += max(1.0, sum(w * len(y) for w, y in zip(p.tolist(), labels, strict=True)))
    assert len(written) > 1, "the teacher says too little for the test to mean anything"
    assert float(found.detach()) == pytest.approx(nats / count)


@predictors
@joints
@pytest.mark.parametrize("shared", [False, True])
def test_it_teaches_the_student_alone(
    predictor: PredictorConfig, joint: JointConfig, shared: bool, heard: Any
) -> None:
    teacher, student = (recogniser(predictor, joint, seed, 2) for seed in (4, 2))
    sides = outputs(teacher, *heard), outputs(student, *heard)
    if shared:
        student.decoder, student.joint = teacher.decoder, teacher.joint
    loss_of(SequenceEdge("t", "s"), *sides).backward()  # type: ignore[no-untyped-call]
    reached = {
        name
        for model, of in ((teacher, "teacher"), (student, "student"))
        for part in ("encoder", "decoder", "joint")
        for x in model.get_submodule(part).parameters()
        if x.grad is not None and bool((x.grad != 0).any())
        for name in [f"{of}.{part}"]
    }
    parts = {"student.encoder"}
    if not shared:
        parts |= {"student.decoder"} | ({"student.joint"} if joint is JOINTS[1] else set())
    assert reached == parts


def test_a_teacher_in_training_searches_without_dropout(heard: Any) -> None:
    teacher, student = (recogniser(p, JOINTS[0], 4, 2) for p in PREDICTORS)
    sides = outputs(teacher.eval(), *heard), outputs(student.eval(), *heard)
    edge = SequenceEdge("t", "s")
    expected = loss_of(edge, *sides)
    teacher.train()
    teacher.decoder.predictor.dropout.eval()  # a part that is kept is in another mode than the rest
    before = [module.training for module in teacher.modules()]
    assert torch.equal(loss_of(edge, *sides), expected)
    assert [module.training for module in teacher.modules()] == before
    student.train()  # its own decoder drops, as ever
    assert not torch.equal(loss_of(edge, *sides), expected)


@pytest.mark.parametrize(
    ("keys", "mend"),
    [
        ({"size": 0}, "size is at least 1 and at most the width"),
        ({"size": 5}, "size is at least 1 and at most the width"),
        ({"temperature": 2.0}, "temperature is of logits"),
        ({"gradient": "both"}, "write student"),
    ],
)
def test_what_has_no_meaning_is_refused(keys: dict[str, Any], mend: str, settings: Path) -> None:
    with pytest.raises(InputError, match=rf"edges\[0\]: .*{mend}"):
        tiny_plan("tandem", settings, edges=[SEQUENCE | keys])


@pytest.fixture
def half(corpus: Path, tmp_path: Path) -> Path:
    """The corpus, with every second training utterance's text left empty."""
    utterances = read_manifest(corpus)
    path = tmp_path / "half.tsv"
    write_manifest(
        path,
        [
            replace(each, text="") if each.split == "train" and i % 2 else each
            for i, each in enumerate(utterances)
        ],
    )
    return path


@pytest.fixture
def run(cache: Path, tmp_path: Path) -> Any:
    def go(plan: Plan, manifest: Path, name: str = "run") -> Outcome:
        return train(plan, [manifest], tmp_path / name, cache, CPU)

    return go


def lines(outcome: Outcome) -> list[dict[str, float]]:
    curves = outcome.recognisers["student"].parent / CURVES
    return [json.loads(line) for line in curves.read_text().splitlines()]


def test_speech_without_a_transcript_is_heard_where_the_plan_says_so(
    half: Path, run: Any, settings: Path
) -> None:
    over = {"training": {"epochs": 1}}
    without = run(tiny_plan("tandem", settings, **over), half, "without")
    with_it = run(tiny_plan("tandem", settings, **over, data={"untranscribed": True}), half, "with")
    assert not with_it.skipped
    assert len(without.skipped) == 14
    assert all(each.reason.startswith("no text; with data.untr") for each in without.skipped)
    assert lines(with_it)[-1]["update"] > lines(without)[-1]["update"]


def test_an_edge_that_comes_later_leaves_it_for_then(half: Path, run: Any, settings: Path) -> None:
    late = SEQUENCE | {"schedule": {"start": 0.5}}
    over = {"data": {"untranscribed": True}, "training": {"epochs": 1}}
    outcome = run(tiny_plan("tandem", settings, edges=[late], **over), half)
    assert all(math.isfinite(x["wer/student"]) for x in lines(outcome) if "wer/student" in x)


def test_a_corpus_without_any_transcript_has_its_teachers_word_pieces(
    corpus: Path, run: Any, settings: Path, teacher: Path, tmp_path: Path
) -> None:
    silent = [
        replace(each, text="" if each.split == "train" else each.text)
        for each in read_manifest(corpus)
    ]
    write_manifest(tmp_path / "silent.tsv", silent)
    over = {"recognisers": {"teacher": {"frozen": str(teacher)}}}
    plan = tiny_plan("methods/pseudo-labels", settings, **over)
    outcome = run(plan, tmp_path / "silent.tsv")
    written = WordPieces.load(outcome.recognisers["student"] / WORDPIECES)
    assert written == WordPieces.load(teacher / WORDPIECES)
    taught = [x for x in lines(outcome) if "sequence/student" in x]
    assert taught
    assert all("transducer/student" not in x and x["sequence/student"] > 0 for x in taught)
    nobody = tiny_plan("tandem", settings, edges=[SEQUENCE], data={"untranscribed": True})
    with pytest.raises(InputError, match="no text to find word-pieces in"):
        run(nobody, tmp_path / "silent.tsv", "nobody")
    deaf = [SEQUENCE | {"match": "hidden"}]
    untaught = tiny_plan("static", settings, edges=deaf, data={"untranscribed": True}, **over)
    with pytest.raises(InputError, match="no edge teaches the decoder of 'student'; write match"):
        run(untaught, tmp_path / "silent.tsv", "untaught")


HEADS = {"models": {"small": {"joint": {"kind": "mlp", "width": 6}}}}
BEGUN = {"recognisers": {"student": {"start": {"decoder": "runs/x/x"}}}}


@pytest.mark.parametrize(
    ("recipe", "keys", "over", "mend"),
    [
        ("static", {"match": "lattice"}, {}, None),
        ("static", {"match": "sequence"}, HEADS, None),
        ("static", {"match": "decoder_logits"}, {}, None),
        ("static", {"match": "hidden"}, BEGUN, None),
        ("static", {"match": "hidden"}, {}, "write match: lattice"),
        ("static", {"match": "encoder_logits", "gauge": "centred"}, {}, "write match: lattice"),
        ("static", {"match": "decoder_logits"}, HEADS, "write match: lattice"),
        ("static", {"match": "lattice", "weight": 0}, {}, "write match: lattice"),
        # Nobody teaches a teacher in training, nor by itself a decoder that is the teacher's too.
        ("tandem", {"match": "lattice"}, {}, "let an edge teach it, or freeze it"),
        ("tandem-shared", {"match": "lattice"}, {}, "let an edge teach it, or freeze it"),
    ],
)
def test_without_any_text_an_edge_must_teach_each_decoder(
    recipe: str, keys: dict[str, Any], over: dict[str, Any], mend: str | None, settings: Path
) -> None:
    plan = tiny_plan(recipe, settings, edges=[SEQUENCE | keys], **over)
    if mend is None:
        check_decoders(plan, "m.tsv")
        return
    with pytest.raises(InputError, match=f"^m.tsv: no utterance .* no edge teaches .*; {mend}"):
        check_decoders(plan, "m.tsv")


MATCHES: list[dict[str, Any]] = [
    {"match": "sequence"},
    {"match": "encoder_logits"},
    {"match": "encoder_logits", "gauge": "centred"},
    {"match": "decoder_logits"},
    {"match": "hidden"},
    {"match": "lattice"},
    {"match": "lattice", "cells": "best_path"},
    {"match": "collapsed"},
    {"match": "path_posterior"},
]


@pytest.mark.parametrize("keys", MATCHES, ids=lambda keys: "-".join(keys.values()))
def test_speech_without_a_transcript_is_taught_as_if_its_teachers_words_were_one(
    keys: dict[str, Any], settings: Path
) -> None:
    edge = {"from": "teacher", "to": "student", **keys}
    plan = tiny_plan("tandem", settings, edges=[edge], data={"untranscribed": True})
    ensemble = Ensemble.build(plan, 80, V)
    make_them_talk(ensemble)
    batch = silence()
    result = objective(plan, ensemble, batch, 0.5, (0, 0))
    term = f"{keys['match']}/student"
    assert not result.losses
    assert set(result.terms) == {term}
    assert float(result.total.detach()) > 0
    torch.autograd.backward(result.total)
    reached = {
        owner
        for owner, modules in ensemble.groups.items()
        if any(x.grad is not None for x in modules.parameters())
    }
    assert reached - {"edges[0]"} == {"student"}

    teacher = ensemble.live["teacher"]
    with ensemble_at_rest(ensemble):
        silent = objective(plan, ensemble, batch, 0.5, (0, 0))
        said = objective(plan, ensemble, with_words_of(teacher, batch), 0.5, (0, 0))
    torch.testing.assert_close(silent.terms[term], said.terms[term])


@torch.no_grad()
def make_them_talk(ensemble: Ensemble) -> None:
    for module in ensemble.live.values():
        torch.nn.init.normal_(module.decoder.projection.weight)
        module.encoder.projection.bias[BLANK] = -3.0


def with_words_of(writer: Recogniser, batch: Batch) -> Batch:
    words = greedy(writer, writer.encode(batch.features, batch.frame_lengths))
    assert all(words), "it writes too little for the test to mean anything"
    labels = torch.nn.utils.rnn.pad_sequence([torch.tensor(x) for x in words], True)
    return replace(batch, labels=labels, label_lengths=torch.tensor([len(x) for x in words]))


@contextmanager
def ensemble_at_rest(ensemble: Ensemble) -> Iterator[None]:
    """Inside, nobody drops anything."""
    ensemble.train(False)
    with torch.no_grad():
        yield
    ensemble.train()


def silence() -> Batch:
    """Two utterances without a transcript."""
    torch.manual_seed(0)
    lengths, nothing = torch.tensor([31, 22]), torch.zeros(2, dtype=torch.long)
    features = torch.randn(2, 31, 80)
    return Batch(0, ["a", "b"], features, lengths, nothing[:, None][:, :0], nothing)


def test_a_teacher_is_told_nothing_of_what_it_wrote_itself(settings: Path) -> None:
    edges = [SEQUENCE, {"from": "student", "to": "teacher", "match": "path_posterior"}]
    data = {"untranscribed": True}
    with pytest.raises(InputError, match="is true, but nobody teaches"):
        tiny_plan("tandem", settings, edges=edges[1:], data=data)
    plan = tiny_plan("tandem", settings, edges=edges, data=data)
    ensemble = Ensemble.build(plan, 80, V)
    two = torch.tensor([2, 2])
    spoken = replace(silence(), labels=torch.tensor([[1, 2], [3, 4]]), label_lengths=two)
    both = {"sequence/student", "path_posterior/teacher"}
    assert set(objective(plan, ensemble, silence(), 0.5, (0, 0)).terms) == {"sequence/student"}
    assert both <= set(objective(plan, ensemble, spoken, 0.5, (0, 0)).terms)


def test_a_teacher_may_learn_from_what_another_teacher_writes(
    settings: Path, teacher: Path
) -> None:
    plan = tiny_plan(
        "several-teachers",
        settings,
        recognisers={"finished": {"frozen": str(teacher)}},
        edges=[{"from": "finished", "to": "beside"}, {"from": "beside", "to": "student"}],
        data={"untranscribed": True},
    )
    ensemble = Ensemble.build(plan, 80, V)
    terms = objective(plan, ensemble, silence(), 0.5, (0, 0)).terms
    assert {term.split("/")[1] for term in terms} == {"beside", "student"}


@pytest.mark.parametrize("kept", [False, True])
def test_both_hear_the_teachers_words_from_the_decoder_that_they_share(
    kept: bool, settings: Path
) -> None:
    edge = {"from": "teacher", "to": "student", "match": "lattice"}
    members = {"student": {"keep": ["decoder"]}} if kept else {}
    plan = tiny_plan(
        "tandem-shared", settings, edges=[edge], recognisers=members, data={"untranscribed": True}
    )
    ensemble = Ensemble.build(plan, 80, V)
    make_them_talk(ensemble)
    teacher_model, student_model = ensemble.live["teacher"], ensemble.live["student"]
    teacher_model.decoder.predictor.dropout = torch.nn.Dropout(0.5)
    batch = silence()
    sides = [
        outputs(model, batch.features, batch.frame_lengths)
        for model in (teacher_model, student_model)
    ]
    if kept:
        sides[1] = sides[1].with_encoder_only()
    teacher, student, labels, lengths = of_words(*sides)
    assert labels.shape == (2, int(lengths.max()))
    assert torch.equal(teacher.predicted.joint, student.predicted.joint)
    assert teacher.predicted.joint.requires_grad
    assert student.predicted.joint.requires_grad != kept
    torch.random.manual_seed(1)  # what is written does not depend on what a decoder drops
    assert torch.equal(of_words(*sides)[2], labels)


def test_a_teacher_that_writes_nothing_teaches_silence(settings: Path) -> None:
    edge = {"from": "teacher", "to": "student", "match": "lattice"}
    plan = tiny_plan("tandem", settings, edges=[edge], data={"untranscribed": True})
    ensemble = Ensemble.build(plan, 80, V)
    with torch.no_grad():
        ensemble.live["teacher"].encoder.projection.bias[BLANK] = 100.0
    batch = silence()
    optimiser = torch.optim.SGD(ensemble.live["student"].parameters(), 0.5)
    for _ in range(30):
        torch.autograd.backward(objective(plan, ensemble, batch, 0.5, (0, 0)).total)
        optimiser.step()
        optimiser.zero_grad()
    with ensemble_at_rest(ensemble):
        student = ensemble.live["student"]
        assert greedy(student, student.encode(batch.features, batch.frame_lengths)) == [[], []]


def test_no_edge_at_all_teaches_no_speech_without_a_transcript(settings: Path) -> None:
    with pytest.raises(InputError, match="is true, but nobody teaches"):
        tiny_plan("alone", settings, data={"untranscribed": True})
