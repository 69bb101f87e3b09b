"""The recogniser: a front end, an encoder, a predictor and a joint.

Shapes: B batch, T input frames, F features, T' encoder frames, U labels, V symbols, J what
the joint reads (V for the additive joint).
"""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from codert.lattice import Lattice
from codert.models.encoder import EncoderBody, EncoderConfig, LSTMEncoderConfig
from codert.models.front_end import FrontEnd
from codert.models.joint import AdditiveJointConfig, Joint, JointConfig
from codert.models.predictor import PredictorConfig, State, StatelessPredictorConfig


@dataclass(frozen=True)
class RecogniserConfig:
    """The dimensions of a recogniser, whatever its features and word-pieces."""

    encoder: EncoderConfig = LSTMEncoderConfig()  # noqa: RUF009 (frozen)
    predictor: PredictorConfig = StatelessPredictorConfig()  # noqa: RUF009
    joint: JointConfig = AdditiveJointConfig()  # noqa: RUF009

    @property
    def streams(self) -> bool:
        """Whether it can write while somebody speaks."""
        return self.encoder.context == "past"

    @property
    def has_heads(self) -> bool:
        """Whether encoder and decoder logits come from heads beside the joint's inputs."""
        return self.joint.has_heads


class Encoded(NamedTuple):
    """Encoder output.

    Attributes:
        joint: what the joint reads, (B, T', J).
        logits: the encoder's, (B, T', V).
        lengths: (B,).
        layers: what each layer gives, (B, T', D).
    """

    joint: Tensor
    logits: Tensor
    lengths: Tensor
    layers: tuple[Tensor, ...] = ()


class Predicted(NamedTuple):
    """Predictor output: what the joint reads (B, U+1, J) and decoder logits (B, U+1, V)."""

    joint: Tensor
    logits: Tensor


class Outputs(NamedTuple):
    """All that a recogniser says of a batch and its labels.

    Attributes:
        encoded: of its encoder.
        predicted: of its decoder.
        lattice: of its joint.
        recogniser: who says it; what it would say of other labels can be asked of it.
    """

    encoded: Encoded
    predicted: Predicted
    lattice: Lattice
    recogniser: "Recogniser"

    def with_encoder_only(self) -> "Outputs":
        """The same, with gradients to the encoder alone."""
        predicted = Predicted(*(x.detach() for x in self.predicted))
        return self._replace(predicted=predicted, lattice=self.lattice.with_encoder_only())

    def of(self, predicted: Predicted, label_lengths: Tensor) -> "Outputs":
        """What it says of other labels, which its decoder has heard, (B,) long."""
        lattice = self.recogniser.lattice(self.encoded, predicted, label_lengths)
        other = self._replace(predicted=predicted, lattice=lattice)
        return other.with_encoder_only() if self.keeps_decoder else other

    @property
    def keeps_decoder(self) -> bool:
        """Whether no gradient reaches its decoder."""
        return not self.predicted.joint.requires_grad

    def shares_decoder_with(self, other: "Outputs") -> bool:
        """Whether both have one decoder."""
        return self.recogniser.decoder is other.recogniser.decoder


class Encoder(nn.Module):
    """An encoder's layers, their projection to the joint, perhaps a head.

    The projection is the encoder's own, so encoders of any width can share a decoder.
    """

    def __init__(self, config: RecogniserConfig, inputs: int, symbols: int) -> None:
        super().__init__()
        self.body: EncoderBody = config.encoder.build(inputs)
        width = self.body.width
        self.projection = nn.Linear(width, config.joint.input_width(symbols))
        self.head = nn.Linear(width, symbols) if config.has_heads else None
        self.subsampling = config.encoder.subsampling

    def forward(self, frames: Tensor, lengths: Tensor) -> Encoded:
        """A front end's frames and lengths to frames for the joint and encoder logits."""
        return self.encoded(*self.body(frames, lengths))

    def encoded(self, layers: tuple[Tensor, ...], lengths: Tensor) -> Encoded:
        """What follows from what the layers give, (B, T', D) each, of which the last is read."""
        joint = self.projection(layers[-1])
        logits = self.head(layers[-1]) if self.head else joint
        return Encoded(joint, logits, lengths, layers)

    @property
    def layer_widths(self) -> list[int]:
        """D of each layer in `Encoded.layers`."""
        return [self.body.width] * self.body.depth

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

    def __init__(
        self, front_end: FrontEnd, encoder: Encoder, decoder: Decoder, joint: Joint
    ) -> None:
        super().__init__()
        self.front_end, self.encoder = front_end, encoder
        self.decoder, self.joint = decoder, joint

    @classmethod
    def build(cls, config: RecogniserConfig, features: int, symbols: int) -> "Recogniser":
        """A new recogniser of F features and V symbols, weights drawn from torch's generator."""
        front_end = FrontEnd(config.encoder.front_end, features)
        return cls(
            front_end,
            Encoder(config, front_end.width, symbols),
            Decoder(config, symbols),
            config.joint.build(symbols),
        )

    def encode(self, features: Tensor, lengths: Tensor) -> Encoded:
        """(B, T, F), (B,) to frames for the joint and encoder logits."""
        encoded: Encoded = self.encoder(*self.front_end(features, lengths))
        return encoded

    def lattice(self, encoded: Encoded, predicted: Predicted, label_lengths: Tensor) -> Lattice:
        """The lattice of a batch; label_lengths (B,)."""
        return self.joint.lattice(encoded.joint, predicted.joint, encoded.lengths, label_lengths)

    @property
    def encoder_params(self) -> int:
        """Weights of the encoder, its front end and its projection included."""
        return _count(self.front_end) + self.encoder.parameter_count

    @property
    def total_params(self) -> int:
        """Weights that a device needs."""
        return self.encoder_params + self.decoder.parameter_count + _count(self.joint)


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
