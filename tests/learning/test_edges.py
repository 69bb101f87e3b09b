"""What an edge says of two recognisers' outputs: its loss, and whom that reaches."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from codert.distillation import (
    centred,
    centred_decoder,
    collapsed_loss,
    decoder_logit_loss,
    encoder_logit_loss,
    lattice_loss,
    path_posterior_loss,
)
from codert.learning.edges import (
    BaseEdge,
    CollapsedEdge,
    DecoderLogitEdge,
    Edge,
    EncoderLogitEdge,
    LatticeEdge,
    PathPosteriorEdge,
)
from codert.models.encoder import LSTMEncoderConfig
from codert.models.recogniser import Encoded, Outputs, Predicted, Recogniser, RecogniserConfig

from ..core.brute_force import JOINTS, Case, make_case, partner


def recogniser(subsampling: int) -> Recogniser:
    encoder = LSTMEncoderConfig(channels=1, strides=(subsampling,), layers=1, width=2)
    return Recogniser.build(RecogniserConfig(encoder), features=4, symbols=5)


# Built beforehand: they draw from the stream that an edge draws its cells from.
TEACHERS, STUDENTS = ({n: recogniser(n) for n in (1, 2, 4)} for _ in range(2))


def outputs(case: Case, model: Recogniser) -> Outputs:
    e, d, *_ = case.leaves
    encoded, predicted = Encoded(e, e, case.frame_lengths), Predicted(d, d)
    return Outputs(encoded, predicted, case.lattice(), model)


@pytest.fixture
def pair() -> tuple[Case, Case]:
    """Teacher and student of a batch with padding."""
    student = make_case("additive", [4, 2], [1, 3], more_frames=1, more_labels=1)
    return partner(student, "additive"), student


def loss_of(edge: BaseEdge, pair: tuple[Case, Case]) -> Tensor:
    teacher, student = pair
    sides = outputs(teacher, TEACHERS[1]), outputs(student, STUDENTS[1])
    return edge.loss(*sides, student.labels, student.label_lengths)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"temperature": 3.0},
        {"divergence": "l2"},
        {"cells": "student"},
        {"divergence": "jensen_shannon", "temperature": 0.5, "cells": "uniform"},
        {"divergence": "alpha", "alpha": 0.2, "shift": -1},
        {"cells": "best_path", "width": 1},
        {"cells": "sampled", "samples": 3},
    ],
)
@pytest.mark.parametrize("kind", ["lattice", "collapsed"])
def test_an_edge_over_cells_is_the_loss_of_that_name(
    kind: str, keys: dict[str, Any], pair: tuple[Case, Case]
) -> None:
    if kind == "collapsed" and keys.get("divergence") == "l2":
        keys = {"divergence": "reverse_kl"}
    loss, of_kind = {
        "lattice": (lattice_loss, LatticeEdge),
        "collapsed": (collapsed_loss, CollapsedEdge),
    }[kind]
    teacher, student = pair
    torch.manual_seed(0)
    expected = loss(teacher.lattice(), student.lattice(), student.labels, **keys)
    # The weight and the schedule are the objective's.
    torch.manual_seed(0)
    edge = of_kind("teacher", "student", weight=5.0, **keys)
    assert torch.equal(loss_of(edge, pair), expected)


@pytest.mark.parametrize(
    "keys", [{}, {"divergence": "reverse_kl", "temperature": 3.0, "shift": -1}]
)
def test_a_path_posterior_edge_is_the_path_posterior_loss(
    keys: dict[str, Any], pair: tuple[Case, Case]
) -> None:
    teacher, student = pair
    expected = path_posterior_loss(teacher.lattice(), student.lattice(), student.labels, **keys)
    assert torch.equal(loss_of(PathPosteriorEdge("t", "s", **keys), pair), expected)


@pytest.mark.parametrize("gauge", ["as_trained", "centred"])
@pytest.mark.parametrize("keys", [{}, {"divergence": "l2", "temperature": 3.0}])
def test_a_decoder_logit_edge_is_the_decoder_logit_loss(
    gauge: Any, keys: dict[str, Any], pair: tuple[Case, Case]
) -> None:
    logits = [case.leaves[1] for case in pair]
    lengths = pair[1].label_lengths
    if gauge == "centred":
        logits = [centred_decoder(x, lengths) for x in logits]
    expected = decoder_logit_loss(logits[0], logits[1], lengths, **keys)
    assert torch.equal(loss_of(DecoderLogitEdge("t", "s", gauge=gauge, **keys), pair), expected)


@pytest.mark.parametrize("edge", [EncoderLogitEdge("t", "s"), LatticeEdge("t", "s")])
@pytest.mark.parametrize("shift", [0, 1])
def test_a_teacher_of_more_frames_teaches_with_all_of_them(
    edge: EncoderLogitEdge | LatticeEdge, shift: int
) -> None:
    student = make_case("additive", [3, 2], [1, 2])
    teacher = make_case("additive", [6, 3], [1, 2], seed=1)
    edge = replace(edge, shift=shift)
    lengths = teacher.frame_lengths
    sides = outputs(teacher, TEACHERS[2]), outputs(student, STUDENTS[4])
    found = edge.loss(*sides, student.labels, student.label_lengths)
    if isinstance(edge, LatticeEdge):
        lattices = sides[0].lattice, sides[1].lattice
        expected = lattice_loss(*lattices, student.labels, shift=shift, ratio=2)
    else:
        e = teacher.leaves[0], student.leaves[0], student.frame_lengths
        expected = encoder_logit_loss(*e, shift=shift, ratio=2, teacher_lengths=lengths)
    assert torch.equal(found, expected)
    assert float(found.detach()) > 0


@pytest.mark.parametrize("gauge", ["as_trained", "centred"])
@pytest.mark.parametrize("keys", [{}, {"divergence": "reverse_kl", "temperature": 3.0}])
def test_an_encoder_logit_edge_is_the_encoder_logit_loss(
    gauge: Any, keys: dict[str, Any], pair: tuple[Case, Case]
) -> None:
    logits = [case.leaves[0] for case in pair]
    if gauge == "centred":
        logits = [centred(case.leaves[0], case.leaves[1], case.label_lengths) for case in pair]
    expected = encoder_logit_loss(logits[0], logits[1], pair[1].frame_lengths, **keys)
    edge = EncoderLogitEdge("teacher", "student", weight=5.0, gauge=gauge, **keys)
    assert torch.equal(loss_of(edge, pair), expected)


@pytest.mark.parametrize(
    "kind", [LatticeEdge, CollapsedEdge, PathPosteriorEdge, EncoderLogitEdge, DecoderLogitEdge]
)
def test_the_gradient_reaches_whom_the_edge_says(kind: type[Edge], pair: tuple[Case, Case]) -> None:
    teacher, student = pair
    part = 1 if kind is DecoderLogitEdge else 0
    leaves = [teacher.leaves[part], student.leaves[part]]
    both = torch.autograd.grad(loss_of(kind("t", "s", gradient="both"), pair), leaves)
    assert all(bool((gradient != 0).any()) for gradient in both)
    alone = torch.autograd.grad(loss_of(kind("t", "s"), pair), leaves, allow_unused=True)
    assert alone[0] is None
    assert torch.equal(alone[1], both[1])


@pytest.mark.parametrize("joint", JOINTS)
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("gradient", ["student", "both"])
@pytest.mark.parametrize(
    ("kind", "loss_alone"),
    [
        (LatticeEdge, lattice_loss),
        (CollapsedEdge, collapsed_loss),
        (PathPosteriorEdge, path_posterior_loss),
    ],
)
def test_a_shared_decoder_is_not_pulled_towards_the_student(
    joint: str, apart: bool, gradient: Any, kind: type[Edge], loss_alone: Any
) -> None:
    student = make_case(joint, [4, 2], [1, 3], more_frames=1, more_labels=1)
    teacher = partner(student, joint)
    if not apart:
        teacher = teacher.of(teacher.leaves[0], *student.leaves[1:])
    taught = outputs(teacher, (TEACHERS if apart else STUDENTS)[1])
    learning = outputs(student, STUDENTS[1])
    edge = kind("t", "s", gradient=gradient)
    loss = edge.loss(taught, learning, student.labels, student.label_lengths)
    encoder, *others = torch.autograd.grad(loss, student.leaves, allow_unused=True)
    assert encoder is not None
    assert bool((encoder != 0).any())
    reached = apart or gradient == "both"
    for other in others:
        assert (other is not None) == reached
        assert other is None or bool((other != 0).any())
    # The loss itself is the same, whomever it reaches.
    expected = loss_alone(teacher.lattice(), student.lattice(), student.labels)
    assert torch.equal(loss, expected)
    of_encoder = torch.autograd.grad(expected, student.leaves[:1])[0]
    assert torch.equal(encoder, of_encoder)
