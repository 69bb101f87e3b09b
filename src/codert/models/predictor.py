"""Predictors (prediction networks): from the labels so far to what the joint reads.

Shapes: B batch, U labels, D width, V symbols.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from codert.lattice import BLANK

State = tuple[Tensor, ...]


@dataclass(frozen=True)
class StatelessPredictorConfig:
    """A predictor that sees the last `context` labels only (Ghodsi et al., 2020).

    Attributes:
        context: labels seen.
        width: of the label embedding.
        dropout: on the embedding and before the projection.
    """

    kind: Literal["stateless"] = "stateless"
    context: int = 2
    width: int = 128
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError where no such predictor can be built."""
        if min(self.context, self.width) < 1:
            raise ValueError("context and width are at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError("dropout is from 0 to less than 1")

    def build(self, symbols: int) -> "Predictor":
        """The predictor for V symbols."""
        return StatelessPredictor(self, symbols)


@dataclass(frozen=True)
class LSTMPredictorConfig:
    """LSTM layers over all labels so far.

    Attributes:
        layers: LSTM layers.
        width: of the embedding and the layers.
        dropout: on the embedding and before the projection.
    """

    kind: Literal["lstm"] = "lstm"
    layers: int = 1
    width: int = 128
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError where no such predictor can be built."""
        if min(self.layers, self.width) < 1:
            raise ValueError("layers and width are at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError("dropout is from 0 to less than 1")

    def build(self, symbols: int) -> "Predictor":
        """The predictor for V symbols."""
        return LSTMPredictor(self, symbols)


PredictorConfig = StatelessPredictorConfig | LSTMPredictorConfig


class Predictor(nn.Module):
    """What all predictors offer: a pass over whole label sequences, and single steps."""

    width: int

    def initial_state(self, batch: int, device: torch.device) -> State:
        """The state before any label."""
        raise NotImplementedError

    def step(self, labels: Tensor, state: State) -> tuple[Tensor, State]:
        """One label further: (B,) and a state to (B, D) and the next state.

        The first step takes blank, which stands for the start.
        """
        raise NotImplementedError

    def forward(self, labels: Tensor) -> Tensor:
        """Labels (B, U) to (B, U+1, D): position u has seen the first u labels."""
        raise NotImplementedError


class StatelessPredictor(Predictor):
    """The predictor of `StatelessPredictorConfig`."""

    def __init__(self, config: StatelessPredictorConfig, symbols: int) -> None:
        super().__init__()
        self.width, self.context = config.width, config.context
        self.embedding = nn.Embedding(symbols, config.width)
        self.mix = nn.Linear(config.context * config.width, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def initial_state(self, batch: int, device: torch.device) -> State:
        """The last labels, (B, context), all blank."""
        return (torch.full((batch, self.context), BLANK, device=device),)

    def step(self, labels: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Predictor.step`."""
        last = torch.cat([state[0][:, 1:], labels[:, None]], 1)
        return self._mixed(last[:, None])[:, 0], (last,)

    def forward(self, labels: Tensor) -> Tensor:
        """See `Predictor.forward`."""
        padded = nn.functional.pad(labels, (self.context, 0), value=BLANK)
        return self._mixed(padded.unfold(1, self.context, 1))

    def _mixed(self, windows: Tensor) -> Tensor:
        embedded = self.dropout(self.embedding(windows)).flatten(2)
        mixed: Tensor = self.dropout(torch.relu(self.mix(embedded)))
        return mixed


class LSTMPredictor(Predictor):
    """The predictor of `LSTMPredictorConfig`."""

    def __init__(self, config: LSTMPredictorConfig, symbols: int) -> None:
        super().__init__()
        self.width, self.layers = config.width, config.layers
        self.embedding = nn.Embedding(symbols, config.width)
        self.lstm = nn.LSTM(config.width, config.width, config.layers, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)

    def initial_state(self, batch: int, device: torch.device) -> State:
        """The LSTM's h and c, (layers, B, D) each."""
        weight = self.embedding.weight
        zeros = weight.new_zeros(self.layers, batch, self.width, device=device)
        return zeros, zeros

    def step(self, labels: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Predictor.step`."""
        output, after = self.lstm(self.dropout(self.embedding(labels[:, None])), state)
        return self.dropout(output)[:, 0], after

    def forward(self, labels: Tensor) -> Tensor:
        """See `Predictor.forward`."""
        started = nn.functional.pad(labels, (1, 0), value=BLANK)
        output: Tensor = self.dropout(self.lstm(self.dropout(self.embedding(started)))[0])
        return output
