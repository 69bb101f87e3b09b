"""Beam search against greedy search and against all that can be said."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from codert.decoding import beam_search, decode, greedy
from codert.models.joint import JointConfig
from codert.models.predictor import PredictorConfig
from codert.models.recogniser import Encoded, Recogniser
from codert.transducer import transducer_loss

from .brute_force import few
from .test_greedy import JOINTS, PREDICTORS, V, encode, recogniser

predictors = pytest.mark.parametrize("predictor", PREDICTORS, ids=str)
joints = pytest.mark.parametrize("joint", JOINTS, ids=lambda j: j.kind)


@torch.no_grad()
def full_sum(model: Recogniser, encoded: Encoded, b: int, labels: tuple[int, ...]) -> float:
    """log P(labels | utterance b) over all alignments."""
    one = slice(b, b + 1)
    row = Encoded(encoded.joint[one], encoded.logits[one], encoded.lengths[one])
    sequence = torch.tensor([labels], dtype=torch.long)
    lattice = model.lattice(row, model.decoder(sequence), torch.tensor([len(labels)]))
    return -float(transducer_loss(lattice, sequence))


@torch.no_grad()
def over_alignments(
    model: Recogniser, encoded: Encoded, labels: tuple[int, ...], most: int
) -> float:
    """log P(labels) over the alignments with at most so many at a frame, one by one."""
    decoder = model.decoder(torch.tensor([labels], dtype=torch.long)).joint[0]
    T = int(encoded.lengths[0])
    log_p = model.joint.logits(encoded.joint[0, :T, None], decoder).log_softmax(-1)
    scores = []
    for counts in itertools.product(range(most + 1), repeat=T):
        if sum(counts) == len(labels):
            score, u = torch.zeros((), dtype=torch.float64), 0
            for t, count in enumerate(counts):
                for _ in range(count):
                    score, u = score + log_p[t, u, labels[u]], u + 1
                score = score + log_p[t, u, 0]
            scores.append(score)
    return float(torch.stack(scores).logsumexp(0))


@few
@given(
    st.sampled_from(PREDICTORS),
    st.sampled_from(JOINTS),
    st.lists(st.integers(1, 12), min_size=1, max_size=4),
    st.integers(0, 1000),
    st.sampled_from([0, 1, 2, 10]),
)
def test_a_width_of_1_is_greedy(
    predictor: PredictorConfig, joint: JointConfig, lengths: list[int], seed: int, most: int
) -> None:
    model = recogniser(predictor, joint, seed)
    encoded = encode(model, lengths, seed)
    found = beam_search(model, encoded, 1, most)
    assert [[list(x.labels) for x in beam] for beam in found] == [
        [labels] for labels in greedy(model, encoded, most)
    ]


@pytest.mark.parametrize("width", [2, 4])
def test_what_is_decoded_is_the_likeliest_of_the_beam_asked_for(width: int) -> None:
    narrower = []
    for seed in range(8):
        model = recogniser(PREDICTORS[2], JOINTS[0], seed)
        encoded = encode(model, [20, 9], seed)
        found, before = (
            [list(max(beam, key=lambda x: x.log_probability).labels) for beam in beams]
            for beams in (beam_search(model, encoded, n) for n in (width, width - 1))
        )
        assert decode(model, encoded, width) == found
        narrower.append(before != found)
    assert any(narrower), "no width finds more than a narrower one"


@predictors
@joints
@pytest.mark.parametrize(("frames", "most"), [(2, 2), (3, 1), (1, 3)])
def test_where_nothing_is_dropped_all_is_found_and_exact(
    predictor: PredictorConfig, joint: JointConfig, frames: int, most: int
) -> None:
    model = recogniser(predictor, joint, 0)
    encoded = encode(model, [2 * frames], 0)
    assert int(encoded.lengths[0]) == frames
    sayable = [
        labels
        for length in range(frames * most + 1)
        for labels in itertools.product(range(1, V), repeat=length)
    ]
    [found] = beam_search(model, encoded, 2 * len(sayable), most)
    assert {x.labels for x in found} == set(sayable)
    assert len(found) == len(sayable)
    assert found == sorted(found, key=lambda x: -x.log_probability)
    for labels, log_probability in found:
        exact = over_alignments(model, encoded, labels, most)
        assert log_probability == pytest.approx(exact, abs=1e-9)
        if len(labels) <= most:  # then no alignment is left out
            assert log_probability == pytest.approx(full_sum(model, encoded, 0, labels), abs=1e-9)


@few
@given(
    st.sampled_from(PREDICTORS),
    st.sampled_from(JOINTS),
    st.lists(st.integers(1, 12), min_size=1, max_size=3),
    st.integers(0, 1000),
    st.integers(1, 7),
    st.sampled_from([1, 2, 10]),
)
def test_an_n_best_list_is_sorted_without_doubles_and_never_above_the_full_sum(
    predictor: PredictorConfig,
    joint: JointConfig,
    lengths: list[int],
    seed: int,
    width: int,
    most: int,
) -> None:
    model = recogniser(predictor, joint, seed)
    encoded = encode(model, lengths, seed)
    for b, found in enumerate(beam_search(model, encoded, width, most)):
        assert 1 <= len(found) <= width
        assert len({x.labels for x in found}) == len(found)
        assert found == sorted(found, key=lambda x: -x.log_probability)
        for labels, log_probability in found:
            assert log_probability <= full_sum(model, encoded, b, labels) + 1e-9


@predictors
@joints
def test_batched_equals_one_at_a_time(predictor: PredictorConfig, joint: JointConfig) -> None:
    model = recogniser(predictor, joint, 1)
    encoded = encode(model, [20, 3, 11, 1], 1)
    filled = encoded.joint.clone()
    for b, length in enumerate(encoded.lengths.tolist()):
        filled[b, length:] = torch.nan
    together = beam_search(model, encoded._replace(joint=filled), 3)
    for b, found in enumerate(together):
        one, T = slice(b, b + 1), int(encoded.lengths[b])
        alone = Encoded(encoded.joint[one, :T], encoded.logits[one, :T], encoded.lengths[one])
        [expected] = beam_search(model, alone, 3)
        assert [x.labels for x in found] == [x.labels for x in expected]
        for x, y in zip(found, expected, strict=True):
            assert x.log_probability == pytest.approx(y.log_probability, abs=1e-9)


@pytest.mark.parametrize("most", [0, 1, 4])
def test_a_frame_that_never_ends_is_left_after_the_most_labels(most: int) -> None:
    model = recogniser(PREDICTORS[0], JOINTS[0], 0)
    logits = torch.zeros(2, 3, V, dtype=torch.float64)
    logits[..., 2] = 1e6  # whatever the predictor says
    found = beam_search(model, Encoded(logits, logits, torch.tensor([3, 1])), 2, most)
    assert [x[0].labels for x in found] == [(2,) * most * 3, (2,) * most]


@predictors
def test_nothing_to_decode(predictor: PredictorConfig) -> None:
    model = recogniser(predictor, JOINTS[0], 0)
    for B, T in [(0, 3), (2, 0), (2, 3)]:
        logits = torch.zeros(B, T, V, dtype=torch.float64)
        found = beam_search(model, Encoded(logits, logits, torch.zeros(B).long()))
        assert found == [[((), 0.0)]] * B


def test_what_the_teacher_says_of_nan_is_nan() -> None:
    model = recogniser(PREDICTORS[0], JOINTS[0], 0)
    logits = torch.full((1, 3, V), torch.nan, dtype=torch.float64)
    [found] = beam_search(model, Encoded(logits, logits, torch.tensor([3])), 2, 2)
    assert all(x.log_probability != x.log_probability for x in found)


def test_a_width_that_holds_nothing_is_refused() -> None:
    model = recogniser(PREDICTORS[0], JOINTS[0], 0)
    for search in (beam_search, decode):
        with pytest.raises(ValueError, match="width is 0; it is at least 1"):
            search(model, encode(model, [4], 0), 0)
