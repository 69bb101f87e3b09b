import itertools
import math

import pytest
import torch
from torch import Tensor

from codert.errors import InputError
from codert.evaluation.entropy import (
    Inputs,
    MeanEntropy,
    entropies,
    mean_decoder_logits,
    summarise,
)
from codert.models import Recogniser, RecogniserConfig
from codert.models.encoder import LSTMEncoderConfig
from codert.models.joint import AdditiveJointConfig, JointConfig, MLPJointConfig
from codert.models.predictor import StatelessPredictorConfig

F, V = 5, 7
JOINTS = [AdditiveJointConfig(), MLPJointConfig("mlp", width=6)]


@pytest.fixture(params=JOINTS, ids=lambda joint: joint.kind)
def recogniser(request: pytest.FixtureRequest) -> Recogniser:
    joint: JointConfig = request.param
    torch.manual_seed(0)
    config = RecogniserConfig(
        LSTMEncoderConfig(channels=4, strides=(2,), layers=1, width=8),
        StatelessPredictorConfig(width=8),
        joint,
    )
    built = Recogniser.build(config, F, V).double().eval()
    for parameter in built.decoder.parameters():
        torch.nn.init.normal_(parameter)
    return built


def batch(seed: int = 0) -> Inputs:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(2, 9, F, generator=generator, dtype=torch.float64)
    labels = torch.randint(1, V, (2, 3), generator=generator)
    return features, torch.tensor([9, 6]), labels, torch.tensor([2, 3])


def dense_entropy(logits: Tensor) -> Tensor:
    log_p = logits.log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1)


def dense_cells(recogniser: Recogniser, inputs: Inputs, b: int) -> tuple[Tensor, Tensor, Tensor]:
    """Encoder logits (T', V), decoder logits (U+1, V) and joint logits (T', U+1, V)."""
    features, frame_lengths, labels, label_lengths = inputs
    encoded = recogniser.encode(features, frame_lengths)
    predicted = recogniser.decoder(labels)
    t, u = int(encoded.lengths[b]), int(label_lengths[b]) + 1
    joint = recogniser.joint.logits(
        encoded.joint[b, :t].unsqueeze(1), predicted.joint[b, :u].unsqueeze(0)
    )
    return encoded.logits[b, :t], predicted.logits[b, :u], joint


def passes(joint: Tensor, labels: list[int]) -> Tensor:
    """The share of alignments through each cell, over all alignments one by one."""
    log_p = joint.log_softmax(-1)
    T, U = len(joint), len(labels)
    node, total = torch.zeros(T, U + 1, dtype=joint.dtype), 0.0
    for emitted_at in itertools.combinations_with_replacement(range(T), U):
        u, weight, cells = 0, 0.0, []
        for t in range(T):
            for _ in range(emitted_at.count(t)):
                cells.append((t, u))
                weight += float(log_p[t, u, labels[u]])
                u += 1
            cells.append((t, u))
            weight += float(log_p[t, u, 0])
        total += math.exp(weight)
        for cell in cells:
            node[cell] += math.exp(weight)
    return node / total


@torch.no_grad()
def test_every_entropy_is_that_of_the_dense_logits(recogniser: Recogniser) -> None:
    inputs = batch()
    for b, found in enumerate(entropies(recogniser, *inputs)):
        encoder, decoder, joint = dense_cells(recogniser, inputs, b)
        labels = inputs[2][b, : inputs[3][b]].tolist()
        torch.testing.assert_close(found.encoder, dense_entropy(encoder))
        torch.testing.assert_close(found.decoder, dense_entropy(decoder))
        torch.testing.assert_close(found.joint, dense_entropy(joint))
        torch.testing.assert_close(found.occupancy, passes(joint, labels))


def test_over_time_only_passed_cells_count(recogniser: Recogniser) -> None:
    for found in entropies(recogniser, *batch()):
        share = found.occupancy / found.occupancy.sum(1, keepdim=True)
        torch.testing.assert_close(found.joint_by_frame, (share * found.joint).sum(1))
        torch.testing.assert_close(found.decoder_by_frame, (share * found.decoder).sum(1))
        assert found.joint_by_frame.shape == found.encoder.shape


@torch.no_grad()
def test_moving_the_mean_leaves_the_joint_as_it_is(recogniser: Recogniser) -> None:
    inputs = batch()
    mean = mean_decoder_logits(recogniser, [inputs])
    trained = entropies(recogniser, *inputs)
    moved = entropies(recogniser, *inputs, decoder_mean=mean)
    for b, (before, after) in enumerate(zip(trained, moved, strict=True)):
        encoder, decoder, _ = dense_cells(recogniser, inputs, b)
        torch.testing.assert_close(after.encoder, dense_entropy(encoder + mean))
        torch.testing.assert_close(after.decoder, dense_entropy(decoder - mean))
        torch.testing.assert_close(after.joint, before.joint)
        assert not torch.allclose(after.encoder, before.encoder)


@torch.no_grad()
def test_mean_decoder_logits_are_over_real_positions_of_all_batches(
    recogniser: Recogniser,
) -> None:
    batches = [batch(1), batch(2)]
    positions = torch.cat(
        [dense_cells(recogniser, inputs, b)[1] for inputs in batches for b in range(2)]
    )
    torch.testing.assert_close(mean_decoder_logits(recogniser, batches), positions.mean(0))


def test_summary_holds_the_means_of_both_gauges(recogniser: Recogniser) -> None:
    batches = [batch(1), batch(2)]
    found = summarise(recogniser, batches)
    utterances = [u for inputs in batches for u in entropies(recogniser, *inputs)]
    frames = torch.cat([u.encoder for u in utterances])
    passed = sum(u.occupancy.sum() for u in utterances)
    assert found.as_trained.encoder == pytest.approx(float(frames.mean()))
    assert found.as_trained.joint == pytest.approx(
        float(sum((u.occupancy * u.joint).sum() for u in utterances) / passed)
    )
    assert found.centred.joint == pytest.approx(found.as_trained.joint)
    assert found.centred.decoder != pytest.approx(found.as_trained.decoder)
    assert found.uniform == pytest.approx(math.log(V))


def test_means_of_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="no utterance can be aligned"):
        MeanEntropy.of([])
