"""The recogniser: an encoder, a predictor and a joint.

Shapes: B batch, T input frames, F features, T' encoder frames, U labels, V symbols, J what
the joint reads (V for the additive joint).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from codert.lattice import Lattice
from codert.models.encoder import EncoderConfig, LSTMEncoderConfig
from codert.models.joint import AdditiveJointConfig, Joint, JointConfig, MLPJointConfig
from codert.models.predictor import PredictorConfig, State, StatelessPredictorConfig


@dataclass(frozen=True)
class RecogniserConfig:
    """The dimensions of a recogniser, whatever its features and word-pieces."""

    encoder: EncoderConfig = LSTMEncoderConfig()  # noqa: RUF009 (frozen)
    predictor: PredictorConfig = StatelessPredictorConfig()  # noqa: RUF009
    joint: JointConfig = AdditiveJointConfig()  # noqa: RUF009

    @property
    def has_heads(self) -> bool:
        """Whether encoder and decoder logits come from heads beside the joint's inputs."""
        return isinstance(self.joint, MLPJointConfig)


class Encoded(NamedTuple):
    """Encoder output: what the joint reads (B, T', J), encoder logits (B, T', V), lengths (B,)."""

    joint: Tensor
    logits: Tensor
    lengths: Tensor


class Predicted(NamedTuple):
    """Predictor output: what the joint reads (B, U+1, J) and decoder logits (B, U+1, V)."""

    joint: Tensor
    logits: Tensor


class Outputs(NamedTuple):
    """All that a recogniser says of a batch and its labels."""

    encoded: Encoded
    predicted: Predicted
    lattice: Lattice


class Encoder(nn.Module):
    """Feature normalisation, an encoder's body, its projection to the joint, perhaps a head.

    The projection is the encoder's own, so encoders of any width can share a decoder.
    """

    feature_mean: Tensor
    feature_deviation: Tensor

    def __init__(self, config: RecogniserConfig, features: int, symbols: int) -> None:
        super().__init__()
        self.register_buffer("feature_mean", torch.zeros(features))
        self.register_buffer("feature_deviation", torch.ones(features))
        self.body = config.encoder.build(features)
        width: int = self.body.width  # type: ignore[assignment]
        self.projection = nn.Linear(width, config.joint.input_width(symbols))
        self.head = nn.Linear(width, symbols) if config.has_heads else None

    def normalise_by(self, mean: Tensor, deviation: Tensor) -> None:
        """Fix the features' mean and deviation, (F,) each, to those of the training data."""
        self.feature_mean.copy_(mean)
        self.feature_deviation.copy_(deviation)

    def forward(self, features: Tensor, lengths: Tensor) -> Encoded:
        """(B, T, F), (B,) to frames for the joint and encoder logits."""
        normal = (features - self.feature_mean) / self.feature_deviation
        frames, lengths = self.body(normal, lengths)
        joint = self.projection(frames)
        return Encoded(joint, self.head(frames) if self.head else joint, lengths)

    @property
    def parameter_count(self) -> int:
        """Weights that a device needs: body and projection."""
        return _count(self.body) + _count(self.projection)


class Decoder(nn.Module):
    """A predictor and its projection to the joint, perhaps a head; the part that is shared.

    The projections have no bias: a constant would belong to encoder and decoder alike.
    """

    def __init__(self, config: RecogniserConfig, symbols: int) -> None:
        super().__init__()
        self.predictor = config.predictor.build(symbols)
        width = self.predictor.width
        self.projection = nn.Linear(width, config.joint.input_width(symbols), bias=False)
        self.head = nn.Linear(width, symbols, bias=False) if config.has_heads else None

    def forward(self, labels: Tensor) -> Predicted:
        """(B, U) to (B, U+1, J) and decoder logits (B, U+1, V)."""
        states = self.predictor(labels)
        joint = self.projection(states)
        return Predicted(joint, self.head(states) if self.head else joint)

    def step(self, labels: Tensor, state: State) -> tuple[Tensor, State]:
        """One label further: (B,) and a state to (B, J) and the next state."""
        output, state = self.predictor.step(labels, state)
        return self.projection(output), state

    @property
    def parameter_count(self) -> int:
        """Weights that a device needs: predictor and projection."""
        return _count(self.predictor) + _count(self.projection)


class Recogniser(nn.Module):
    """A transducer; its parts may be shared with other recognisers."""

    def __init__(self, encoder: Encoder, decoder: Decoder, joint: Joint) -> None:
        super().__init__()
        self.encoder, self.decoder, self.joint = encoder, decoder, joint

    @classmethod
    def build(cls, config: RecogniserConfig, features: int, symbols: int) -> "Recogniser":
        """A new recogniser of F features and V symbols, weights drawn from torch's generator."""
        return cls(
            Encoder(config, features, symbols),
            Decoder(config, symbols),
            config.joint.build(symbols),
        )

    def lattice(self, encoded: Encoded, predicted: Predicted, label_lengths: Tensor) -> Lattice:
        """The lattice of a batch; label_lengths (B,)."""
        return self.joint.lattice(encoded.joint, predicted.joint, encoded.lengths, label_lengths)

    @property
    def encoder_params(self) -> int:
        """Weights of the encoder, its projection included."""
        return self.encoder.parameter_count

    @property
    def total_params(self) -> int:
        """Weights that a device needs."""
        return self.encoder_params + self.decoder.parameter_count + _count(self.joint)


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
