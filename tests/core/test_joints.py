"""Joints: single cells for decoding are the cells of the lattice that was trained."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from codert.models.encoder import LSTMEncoderConfig
from codert.models.joint import AdditiveJointConfig, JointConfig, MLPJointConfig
from codert.models.predictor import LSTMPredictorConfig
from codert.models.recogniser import Recogniser, RecogniserConfig
from codert.transducer import transducer_loss

from .brute_force import arc_scores

F, V = 5, 7
JOINTS: list[JointConfig] = [AdditiveJointConfig(), MLPJointConfig("mlp", width=4)]
joints = pytest.mark.parametrize("joint", JOINTS, ids=lambda j: j.kind)


def recogniser(joint: JointConfig) -> Recogniser:
    torch.manual_seed(0)
    config = RecogniserConfig(
        LSTMEncoderConfig(channels=4, width=8, layers=1),
        LSTMPredictorConfig("lstm", width=6),
        joint,
    )
    return Recogniser.build(config, F, V).double().eval()


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 12, F, generator=generator, dtype=torch.float64)
    labels = torch.randint(1, V, (2, 3), generator=generator)
    return features, torch.tensor([12, 8]), labels, torch.tensor([2, 3])


@joints
def test_cells_are_those_of_the_lattice(joint: JointConfig) -> None:
    model = recogniser(joint)
    features, frame_lengths, labels, label_lengths = inputs()
    encoded, predicted = model.encode(features, frame_lengths), model.decoder(labels)
    logits = model.joint.logits(encoded.joint[:, :, None], predicted.joint[:, None])
    assert logits.shape == (2, 3, 4, V)
    blank, label = arc_scores(logits, labels)
    lattice = model.lattice(encoded, predicted, label_lengths)
    assert lattice.shape == tuple(logits.shape)
    scores = lattice.scores(labels)
    for b, (T, U) in enumerate([(3, 2), (2, 3)]):
        assert_close(scores.blank[b, :T, : U + 1], blank[b, :T, : U + 1])
        assert_close(scores.label[b, :T, :U], label[b, :T, :U])


@joints
def test_all_weights_but_those_of_heads_learn_from_the_loss(joint: JointConfig) -> None:
    model = recogniser(joint)
    features, frame_lengths, labels, label_lengths = inputs()
    encoded, predicted = model.encode(features, frame_lengths), model.decoder(labels)
    loss = transducer_loss(model.lattice(encoded, predicted, label_lengths), labels).sum()
    torch.autograd.backward(loss)
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == (".head." in name), name


@joints
def test_heads_are_there_with_the_mlp_joint_only(joint: JointConfig) -> None:
    model = recogniser(joint)
    features, frame_lengths, labels, _ = inputs()
    encoded, predicted = model.encode(features, frame_lengths), model.decoder(labels)
    assert encoded.logits.shape == (2, 3, V)
    assert predicted.logits.shape == (2, 4, V)
    assert encoded.joint.shape[2] == predicted.joint.shape[2] == joint.input_width(V)
    if joint.kind == "additive":
        assert encoded.logits is encoded.joint
    else:
        assert model.encoder.head is not None
        assert model.decoder.head is not None
        assert model.decoder.head.bias is None


@joints
def test_parameter_counts_leave_heads_out(joint: JointConfig) -> None:
    model = recogniser(joint)
    weights = {n: p.numel() for n, p in model.named_parameters() if ".head." not in n}
    assert model.total_params == sum(weights.values())
    of_encoder = ("front_end.", "encoder.")
    assert model.encoder_params == sum(n for k, n in weights.items() if k.startswith(of_encoder))
