"""The best path against all alignments, one by one."""

import pytest
import torch
from hypothesis import given

from codert.transducer import best_path

from .brute_force import JOINTS, Case, arc_scores, cases, few, make_case, paths


def score(case: Case, b: int, frames: list[int]) -> float:
    """Of the alignment that emits each label at its frame."""
    blank, label = (x[b].detach() for x in arc_scores(case.logits(), case.labels))
    total, u = 0.0, 0
    for t in range(int(case.frame_lengths[b])):
        while u < len(frames) and frames[u] == t:
            total, u = total + float(label[t, u]), u + 1
        total += float(blank[t, u])
    assert u == len(frames)
    return total


@few
@given(cases())
def test_no_alignment_is_likelier(case: Case) -> None:
    found = best_path(case.lattice(), case.labels)
    assert found.shape == case.labels.shape
    for b, (T, U) in enumerate(
        zip(case.frame_lengths.tolist(), case.label_lengths.tolist(), strict=True)
    ):
        everything = [
            score(case, b, [t for is_label, t, _ in way if is_label]) for way in paths(T, U)
        ]
        assert score(case, b, found[b, :U].tolist()) == pytest.approx(max(everything), abs=1e-9)
        assert (found[b, U:] == -1).all()


@pytest.mark.parametrize("joint", JOINTS)
def test_padding_is_never_read(joint: str) -> None:
    case = make_case(joint, [4, 2], [3, 1], more_frames=2, more_labels=1)
    garbage = case.filled(torch.nan)
    assert best_path(garbage.lattice(), case.labels).equal(best_path(case.lattice(), case.labels))


def test_an_utterance_without_frames_has_no_path() -> None:
    case = make_case("additive", [3, 0], [2, 2])
    found = best_path(case.lattice(), case.labels)
    assert found[1].tolist() == [-1, -1]
    assert (found[0] >= 0).all()


@pytest.mark.parametrize("lengths", [([3], [0]), ([], [])])
def test_nothing_to_align(lengths: tuple[list[int], list[int]]) -> None:
    case = make_case("additive", *lengths)
    assert (best_path(case.lattice(), case.labels) == -1).all()


def test_symbols_that_cannot_be_are_gone_round() -> None:
    case = make_case("additive", [4], [1], V=3)
    encoder, decoder = (x.detach().clone() for x in case.leaves)
    label = int(case.labels[0, 0])
    encoder[0, :, label] = -torch.inf
    encoder[0, 2, label] = 0
    found = best_path(case.of(encoder, decoder).lattice(), case.labels)
    assert found.tolist() == [[2]]
