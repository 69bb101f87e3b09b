"""Distillation of sequences against a sum over hypotheses and their alignments, one by one."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from codert.distillation import sequence_loss
from codert.lattice import AdditiveLattice
from codert.transducer import transducer_loss

from .brute_force import JOINTS, Case, dense_loss, few, make_case


def slow(case: Case, teacher: Tensor, utterances: list[int]) -> Tensor:
    """Utterance by utterance, in probabilities."""
    nats, lengths = torch.zeros((), dtype=torch.float64), 0.0
    losses = dense_loss(case)
    for utterance in set(utterances):
        its = [h for h, of in enumerate(utterances) if of == utterance]
        whole = sum(float(teacher[h].exp()) for h in its)
        weights = {h: float(teacher[h].exp()) / whole for h in its}
        nats = nats + torch.stack([weights[h] * losses[h] for h in its]).sum()
        lengths += max(1.0, sum(weights[h] * int(case.label_lengths[h]) for h in its))
    return nats / lengths


@st.composite
def lists(draw: st.DrawFn) -> tuple[Case, Tensor, list[int]]:
    """Hypotheses of one to three utterances, in any order, and the teacher's log P of them."""
    H = draw(st.integers(1, 5))
    utterances = draw(st.lists(st.integers(0, 2), min_size=H, max_size=H))
    frames = draw(st.lists(st.integers(1, 4), min_size=3, max_size=3))
    case = make_case(
        draw(st.sampled_from(JOINTS)),
        [frames[utterance] for utterance in utterances],
        draw(st.lists(st.integers(0, 3), min_size=H, max_size=H)),
        seed=draw(st.integers(0, 1000)),
        more_frames=draw(st.integers(0, 2)),
        more_labels=draw(st.integers(0, 2)),
    )
    log_p = draw(st.lists(st.floats(-9, 0), min_size=H, max_size=H))
    return case, torch.tensor(log_p, dtype=torch.float64), utterances


@few
@given(lists())
def test_it_is_the_teachers_mean_of_the_students_losses(
    drawn: tuple[Case, Tensor, list[int]],
) -> None:
    case, teacher, utterances = drawn
    expected = slow(case, teacher, utterances)
    by_hand = torch.autograd.grad(expected, case.leaves)
    padded = case.filled(torch.nan)
    # Only the differences within an utterance count, however small the probabilities are.
    far = teacher - 700 * torch.tensor(utterances)
    for log_p in (teacher, far):
        found = sequence_loss(log_p, padded.lattice(), padded.labels, torch.tensor(utterances))
        torch.testing.assert_close(found, expected)
        for ours, theirs in zip(torch.autograd.grad(found, padded.leaves), by_hand, strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("joint", JOINTS)
def test_of_one_hypothesis_it_is_the_transducer_loss(joint: str) -> None:
    case = make_case(joint, [4, 3], [2, 1])
    found = sequence_loss(
        torch.tensor([-50.0, -1.0]), case.lattice(), case.labels, torch.tensor([0, 1])
    )
    torch.testing.assert_close(found, transducer_loss(case.lattice(), case.labels).sum() / 3)


def test_autocast_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    e, d = (torch.randn(3, n, 6, generator=generator) for n in (60, 52))
    labels = torch.randint(1, 6, (3, 51), generator=generator)
    lengths = torch.full((3,), 60), torch.tensor([49, 50, 51])
    hypotheses = torch.tensor([-3.1, -3.0, -3.3]), torch.tensor([0, 0, 0])

    def loss() -> Tensor:
        student = AdditiveLattice(e, d, *lengths)
        return sequence_loss(hypotheses[0], student, labels, hypotheses[1])

    with torch.autocast("cpu", torch.bfloat16):
        found = loss()
    assert torch.equal(found, loss())


def test_hypotheses_without_an_alignment_are_left_out() -> None:
    case = make_case("additive", [3, 0, 0], [2, 1, 1])
    teacher, of = torch.tensor([-1.0, -2.0, -3.0], dtype=torch.float64), torch.tensor([0, 0, 1])
    found = sequence_loss(teacher, case.lattice(), case.labels, of)
    losses = transducer_loss(case.lattice(), case.labels)
    torch.testing.assert_close(found, losses[0] / 2)
    assert all(x.isfinite().all() for x in torch.autograd.grad(found, case.leaves))
    unsayable = torch.tensor([-torch.inf, -1.0, -torch.inf], dtype=torch.float64)
    nothing = sequence_loss(unsayable, case.lattice(), case.labels, of)
    assert float(nothing.detach()) == 0
    assert all((x == 0).all() for x in torch.autograd.grad(nothing, case.leaves))


def test_what_is_broken_is_not_hidden() -> None:
    case = make_case("additive", [3, 3], [2, 1])
    of = torch.tensor([0, 0])
    teacher = torch.tensor([torch.nan, -1.0], dtype=torch.float64)
    assert bool(sequence_loss(teacher, case.lattice(), case.labels, of).isnan())
    case.leaves[0].data[1, 0] = torch.nan
    assert bool(sequence_loss(torch.zeros(2), case.lattice(), case.labels, of).isnan())


def test_gradients_to_both_sides() -> None:
    case = make_case("additive", [3, 3, 2], [2, 1, 0])
    teacher = torch.tensor([-1.0, -0.5, -2.0], dtype=torch.float64, requires_grad=True)
    of = torch.tensor([0, 0, 1])

    def loss(teacher: Tensor, *leaves: Tensor) -> Tensor:
        return sequence_loss(teacher, case.lattice(*leaves), case.labels, of)

    assert gradcheck(loss, (teacher, *case.leaves))


def test_what_does_not_fit_is_refused() -> None:
    case = make_case("additive", [3, 3], [2, 1])
    with pytest.raises(ValueError, match="of 2 hypotheses the teacher gives"):
        sequence_loss(torch.zeros(3), case.lattice(), case.labels, torch.tensor([0, 0]))
