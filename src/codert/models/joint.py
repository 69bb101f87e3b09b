"""Joints: how encoder frames and predictor states become a lattice.

Shapes: B batch, T frames, U labels, V symbols, J joint width.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from codert.lattice import AdditiveLattice, Lattice, MLPLattice


@dataclass(frozen=True)
class AdditiveJointConfig:
    """Encoder logits plus decoder logits; the joint has no weights of its own, nor heads."""

    has_heads: ClassVar[bool] = False
    head_weight: ClassVar[float] = 0.0

    kind: Literal["additive"] = "additive"

    def input_width(self, symbols: int) -> int:
        """What encoder and predictor are projected to."""
        return symbols

    def build(self, symbols: int) -> "Joint":
        """The joint for V symbols."""
        return AdditiveJoint()


@dataclass(frozen=True)
class MLPJointConfig:
    """A linear layer on the tanh of a sum.

    Its encoder and decoder logits come from two linear heads, which an additive transducer
    loss beside the main one trains.

    Attributes:
        width: J.
        head_weight: of that additive loss; 0 leaves the decoder's head untrained and the
            encoder's to CTC. An edge may not match what no loss has trained.
    """

    has_heads: ClassVar[bool] = True

    kind: Literal["mlp"]
    width: int = 128
    head_weight: float = 0.3

    def __post_init__(self) -> None:
        """Raises ValueError where no such joint can be built."""
        if self.width < 1 or self.head_weight < 0:
            raise ValueError("width is at least 1, and head_weight at least 0")

    def input_width(self, symbols: int) -> int:
        """What encoder and predictor are projected to."""
        return self.width

    def build(self, symbols: int) -> "Joint":
        """The joint for V symbols."""
        return MLPJoint(self.width, symbols)


JointConfig = AdditiveJointConfig | MLPJointConfig


class Joint(nn.Module):
    """What all joints offer: the lattice of a batch, and single cells for decoding."""

    def lattice(
        self, encoder: Tensor, decoder: Tensor, frame_lengths: Tensor, label_lengths: Tensor
    ) -> Lattice:
        """(B, T, J) and (B, U+1, J), J being V for the additive joint, to their lattice."""
        raise NotImplementedError

    def logits(self, encoder: Tensor, decoder: Tensor) -> Tensor:
        """Cells by themselves: (..., J) and (..., J) to (..., V)."""
        raise NotImplementedError


class AdditiveJoint(Joint):
    """The joint of `AdditiveJointConfig`."""

    def lattice(
        self, encoder: Tensor, decoder: Tensor, frame_lengths: Tensor, label_lengths: Tensor
    ) -> Lattice:
        """See `Joint.lattice`."""
        return AdditiveLattice(encoder, decoder, frame_lengths, label_lengths)

    def logits(self, encoder: Tensor, decoder: Tensor) -> Tensor:
        """See `Joint.logits`."""
        return encoder + decoder


class MLPJoint(Joint):
    """The joint of `MLPJointConfig`."""

    def __init__(self, width: int, symbols: int) -> None:
        super().__init__()
        self.output = nn.Linear(width, symbols)

    def lattice(
        self, encoder: Tensor, decoder: Tensor, frame_lengths: Tensor, label_lengths: Tensor
    ) -> Lattice:
        """See `Joint.lattice`."""
        weight, bias = self.output.weight, self.output.bias
        return MLPLattice(encoder, decoder, weight, bias, frame_lengths, label_lengths)

    def logits(self, encoder: Tensor, decoder: Tensor) -> Tensor:
        """See `Joint.logits`."""
        logits: Tensor = self.output(torch.tanh(encoder + decoder))
        return logits
