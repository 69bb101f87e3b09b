"""Tiny recognisers with random weights, and their dense logits."""

from typing import NamedTuple

import torch
from torch import Tensor

from codert.analysis.reading import Inputs, read
from codert.models import Recogniser, RecogniserConfig
from codert.models.encoder import LSTMEncoderConfig
from codert.models.joint import AdditiveJointConfig, JointConfig, MLPJointConfig
from codert.models.predictor import StatelessPredictorConfig

F, V = 5, 7
JOINTS: list[JointConfig] = [AdditiveJointConfig(), MLPJointConfig("mlp", width=6)]


def tiny(joint: JointConfig, seed: int = 0) -> Recogniser:
    """In float64 and in inference mode."""
    torch.manual_seed(seed)
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
    """Two utterances."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(2, 9, F, generator=generator, dtype=torch.float64)
    labels = torch.randint(1, V, (2, 3), generator=generator)
    return features, torch.tensor([9, 6]), labels, torch.tensor([2, 3])


class Dense(NamedTuple):
    """Encoder logits (T', V), decoder logits (U+1, V), joint logits (T', U+1, V), labels."""

    encoder: Tensor
    decoder: Tensor
    joint: Tensor
    labels: list[int]


@torch.no_grad()
def dense(recogniser: Recogniser, inputs: Inputs, b: int) -> Dense:
    """All logits of an utterance."""
    features, frame_lengths, labels, label_lengths = inputs
    encoded = recogniser.encode(features, frame_lengths)
    predicted = recogniser.decoder(labels)
    t, u = int(encoded.lengths[b]), int(label_lengths[b]) + 1
    joint = recogniser.joint.logits(
        encoded.joint[b, :t].unsqueeze(1), predicted.joint[b, :u].unsqueeze(0)
    )
    return Dense(encoded.logits[b, :t], predicted.logits[b, :u], joint, labels[b, : u - 1].tolist())


def emissions(recogniser: Recogniser, inputs: Inputs, b: int) -> list[int]:
    """The frames of the best path, whose own tests are tests/core/test_best_path.py."""
    return read(recogniser, *inputs)[b].emitted.tolist()
