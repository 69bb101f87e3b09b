"""What an edge says of two recognisers' outputs: its loss, and whom that reaches."""

from typing import Any

import pytest
import torch
from torch import Tensor

from codert.distillation import centred, encoder_logit_loss, lattice_loss
from codert.learning.edges import Edge, EncoderLogitEdge, LatticeEdge
from codert.models.recogniser import Encoded, Outputs, Predicted

from ..core.brute_force import JOINTS, Case, make_case, partner


def outputs(case: Case) -> Outputs:
    e, d, *_ = case.leaves
    return Outputs(Encoded(e, e, case.frame_lengths), Predicted(d, d), case.lattice())


@pytest.fixture
def pair() -> tuple[Case, Case]:
    """Teacher and student of a batch with padding."""
    student = make_case("additive", [4, 2], [1, 3], more_frames=1, more_labels=1)
    return partner(student, "additive"), student


def loss_of(edge: Edge, pair: tuple[Case, Case]) -> Tensor:
    teacher, student = pair
    return edge.loss(outputs(teacher), outputs(student), student.labels, student.label_lengths)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"temperature": 3.0},
        {"divergence": "l2"},
        {"cells": "student"},
        {"divergence": "jensen_shannon", "temperature": 0.5, "cells": "uniform"},
    ],
)
def test_a_lattice_edge_is_the_lattice_loss(keys: dict[str, Any], pair: tuple[Case, Case]) -> None:
    teacher, student = pair
    expected = lattice_loss(teacher.lattice(), student.lattice(), student.labels, **keys)
    # The weight and the schedule are the objective's.
    edge = LatticeEdge("teacher", "student", weight=5.0, **keys)
    assert torch.equal(loss_of(edge, pair), expected)


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


@pytest.mark.parametrize("kind", [LatticeEdge, EncoderLogitEdge])
def test_the_gradient_reaches_whom_the_edge_says(
    kind: type[LatticeEdge] | type[EncoderLogitEdge], pair: tuple[Case, Case]
) -> None:
    teacher, student = pair
    encoders = [teacher.leaves[0], student.leaves[0]]
    both = torch.autograd.grad(loss_of(kind("t", "s", gradient="both"), pair), encoders)
    assert all(bool((gradient != 0).any()) for gradient in both)
    alone = torch.autograd.grad(loss_of(kind("t", "s"), pair), encoders, allow_unused=True)
    assert alone[0] is None
    assert torch.equal(alone[1], both[1])


@pytest.mark.parametrize("joint", JOINTS)
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("gradient", ["student", "both"])
def test_a_shared_decoder_is_not_pulled_towards_the_student(
    joint: str, apart: bool, gradient: Any
) -> None:
    student = make_case(joint, [4, 2], [1, 3], more_frames=1, more_labels=1)
    teacher = partner(student, joint)
    if not apart:
        teacher = teacher.of(teacher.leaves[0], *student.leaves[1:])
    taught, learning = outputs(teacher), outputs(student)
    if not apart:
        taught = taught._replace(predicted=learning.predicted)
    edge = LatticeEdge("t", "s", gradient=gradient)
    loss = edge.loss(taught, learning, student.labels, student.label_lengths)
    encoder, *others = torch.autograd.grad(loss, student.leaves, allow_unused=True)
    assert encoder is not None
    assert bool((encoder != 0).any())
    reached = apart or gradient == "both"
    for other in others:
        assert (other is not None) == reached
        assert other is None or bool((other != 0).any())
    # The loss itself is the same, whomever it reaches.
    expected = lattice_loss(teacher.lattice(), student.lattice(), student.labels)
    assert torch.equal(loss, expected)
    of_encoder = torch.autograd.grad(expected, student.leaves[:1])[0]
    assert torch.equal(encoder, of_encoder)
