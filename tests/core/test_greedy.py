"""Batched greedy decoding against the textbook's loop."""

from itertools import groupby

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from codert.decoding.greedy import ctc_greedy, greedy
from codert.models.encoder import LSTMEncoderConfig
from codert.models.joint import AdditiveJointConfig, JointConfig, MLPJointConfig
from codert.models.predictor import (
    LSTMPredictorConfig,
    PredictorConfig,
    StatelessPredictorConfig,
)
from codert.models.recogniser import Encoded, Recogniser, RecogniserConfig

from .brute_force import few

F, V = 5, 6
PREDICTORS: list[PredictorConfig] = [
    StatelessPredictorConfig(context=1, width=6),
    StatelessPredictorConfig(context=3, width=6),
    LSTMPredictorConfig("lstm", layers=2, width=6),
]
JOINTS: list[JointConfig] = [AdditiveJointConfig(), MLPJointConfig("mlp", width=6)]


def recogniser(predictor: PredictorConfig, joint: JointConfig, seed: int) -> Recogniser:
    torch.manual_seed(seed)
    encoder = LSTMEncoderConfig(channels=4, strides=(2,), width=6, layers=1)
    model = Recogniser.build(RecogniserConfig(encoder, predictor, joint), F, V).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model


def encode(model: Recogniser, lengths: list[int], seed: int) -> Encoded:
    generator = torch.Generator().manual_seed(seed)
    shape = len(lengths), max(lengths), F
    features = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        encoded: Encoded = model.encode(features, torch.tensor(lengths))
    return encoded


@torch.no_grad()
def textbook(model: Recogniser, frames: Tensor, most: int) -> list[int]:
    """One utterance, (T, J), the whole history run through the predictor at each step."""
    hypothesis: list[int] = []
    for frame in frames:
        for _ in range(most):
            history = torch.tensor([hypothesis], dtype=torch.long)
            decoder = model.decoder(history).joint[0, -1]
            symbol = int(model.joint.logits(frame, decoder).argmax())
            if symbol == 0:
                break
            hypothesis.append(symbol)
    return hypothesis


@few
@given(
    st.sampled_from(PREDICTORS),
    st.sampled_from(JOINTS),
    st.lists(st.integers(1, 12), min_size=1, max_size=4),
    st.integers(0, 1000),
    st.sampled_from([0, 1, 2, 10]),
)
def test_batched_equals_the_textbook(
    predictor: PredictorConfig, joint: JointConfig, lengths: list[int], seed: int, most: int
) -> None:
    model = recogniser(predictor, joint, seed)
    encoded = encode(model, lengths, seed)
    expected = [
        textbook(model, frames[:length], most)
        for frames, length in zip(encoded.joint, encoded.lengths.tolist(), strict=True)
    ]
    assert greedy(model, encoded, most) == expected


@pytest.mark.parametrize("predictor", PREDICTORS, ids=str)
@pytest.mark.parametrize("joint", JOINTS, ids=lambda j: j.kind)
def test_batched_equals_one_at_a_time(predictor: PredictorConfig, joint: JointConfig) -> None:
    seen = set()
    for seed in range(3):
        model = recogniser(predictor, joint, seed)
        encoded = encode(model, [20, 3, 11, 1], seed)
        together = greedy(model, encoded)
        seen |= {len(h) for h in together}
        for b, hypothesis in enumerate(together):
            T = int(encoded.lengths[b])
            one = slice(b, b + 1)
            alone = Encoded(encoded.joint[one], encoded.logits[one], encoded.lengths[one])
            shorter = Encoded(alone.joint[:, :T], alone.logits[:, :T], alone.lengths)
            assert greedy(model, alone) == greedy(model, shorter) == [hypothesis]
    assert len(seen) > 2, "the recognisers say too little for the test to mean anything"


def test_padding_is_not_decoded() -> None:
    model = recogniser(PREDICTORS[2], JOINTS[1], 0)
    encoded = encode(model, [12, 5], 0)
    filled = encoded.joint.clone()
    filled[1, int(encoded.lengths[1]) :] = torch.nan
    assert greedy(model, encoded._replace(joint=filled)) == greedy(model, encoded)


@pytest.mark.parametrize("most", [0, 1, 4])
def test_a_frame_that_never_ends_is_left_after_the_most_labels(most: int) -> None:
    model = recogniser(PREDICTORS[0], JOINTS[0], 0)
    logits = torch.zeros(2, 3, V, dtype=torch.float64)
    logits[..., 2] = 1e6  # whatever the predictor says
    encoded = Encoded(logits, logits, torch.tensor([3, 1]))
    assert greedy(model, encoded, most) == [[2] * most * 3, [2] * most]


def test_nothing_to_decode() -> None:
    for predictor in PREDICTORS:
        model = recogniser(predictor, JOINTS[0], 0)
        for B, T in [(0, 3), (2, 0), (2, 3)]:
            logits = torch.zeros(B, T, V, dtype=torch.float64)
            assert greedy(model, Encoded(logits, logits, torch.zeros(B).long())) == [[]] * B


@few
@given(st.lists(st.lists(st.integers(0, 3), max_size=8), min_size=1, max_size=3))
def test_ctc_merges_repeats_and_drops_blanks(best: list[list[int]]) -> None:
    longest = max(map(len, best)) + 1
    logits = torch.zeros(len(best), longest, 4)
    for b, path in enumerate(best):
        for t, symbol in enumerate([*path, *[3] * (longest - len(path))]):
            logits[b, t, symbol] = 1
    lengths = torch.tensor([len(path) for path in best])
    expected = [[symbol for symbol, _ in groupby(path) if symbol] for path in best]
    # CTC reads the encoder logits, not what the joint reads.
    assert ctc_greedy(Encoded(torch.zeros(0), logits, lengths)) == expected
