"""Encoders: from a front end's frames to those that the joint reads.

Shapes: B batch, T input frames, F features, T' output frames, D width.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from codert.lattice import inside
from codert.models.front_end import FrontEndConfig
from codert.models.module_encoder import Context, ModuleEncoder, ModuleEncoderConfig


@dataclass(frozen=True)
class LSTMEncoderConfig:
    """A convolutional front end and LSTM layers.

    Attributes:
        channels: width of the convolutions.
        strides: one convolution over time for each; their product is the subsampling.
        kernel: frames that a convolution sees, odd; half of it is look-ahead.
        layers: LSTM layers, each residual with layer norm.
        width: of the LSTM layers; with full context half of it runs in each direction.
        dropout: after each layer.
        context: of the layers.
        lookahead: output frames that are heard beyond the one given, besides the front end's, by
            a `Lookahead` after the last layer; what is said comes so much later.
    """

    kind: Literal["lstm"] = "lstm"
    channels: int = 64
    strides: tuple[int, ...] = (2, 2)
    kernel: int = 5
    layers: int = 2
    width: int = 128
    dropout: float = 0.0
    context: Context = "past"
    lookahead: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError where no such encoder can be built."""
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}; write an odd number of frames")
        if not self.strides:
            raise ValueError("strides is empty; write one stride at least")
        if min(self.channels, self.layers, self.width, *self.strides) < 1:
            raise ValueError("channels, layers, width and strides are at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError("dropout is from 0 to less than 1")
        if self.context == "full" and self.width % 2:
            raise ValueError(f"width is {self.width}; with full context write an even one")
        if self.lookahead < 0:
            raise ValueError("lookahead is at least 0 frames")
        if self.context == "full" and self.lookahead:
            raise ValueError("with full context every frame is heard; leave lookahead out")

    @property
    def front_end(self) -> FrontEndConfig:
        """The convolutions."""
        return FrontEndConfig(self.channels, self.strides, self.kernel)

    @property
    def subsampling(self) -> int:
        """Input frames per output frame."""
        return math.prod(self.strides)

    def build(self, inputs: int) -> "LSTMEncoder":
        """The layers behind a front end of some width."""
        return LSTMEncoder(self, inputs)


class LSTMEncoder(nn.Module):
    """The layers of `LSTMEncoderConfig`; an utterance's output depends on it alone.

    Attributes:
        width: D.
        depth: layers that it shows.
    """

    def __init__(self, config: LSTMEncoderConfig, inputs: int) -> None:
        super().__init__()
        self.width, self.depth = config.width, config.layers
        widths = [inputs] + [config.width] * (config.layers - 1)
        self.layers = nn.ModuleList(
            _ResidualLSTM(width, config.width, config.dropout, config.context) for width in widths
        )
        self.lookahead = Lookahead(config.width, config.lookahead) if config.lookahead else None

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """(B, T', inputs), (B,) to what each layer gives, (B, T', D), and the lengths, (B,)."""
        outputs = []
        for layer in self.layers:
            frames = layer(frames, lengths)
            outputs.append(frames)
        if self.lookahead is not None:
            outputs[-1] = self.lookahead(frames, lengths)
        return tuple(outputs), lengths


EncoderConfig = LSTMEncoderConfig | ModuleEncoderConfig
EncoderBody = LSTMEncoder | ModuleEncoder


class Lookahead(nn.Module):
    """Each frame and the next n, weighted by channel: a lookahead convolution (Wang et al., 2016).

    So a recurrent layer need not remember what it is to say later, as it must where its output
    is but delayed. It begins as the identity.
    """

    def __init__(self, width: int, ahead: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(ahead + 1, width))
        nn.init.ones_(self.weight[0])

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T', D), (B,) to (B, T', D); behind an utterance's end there are zeros."""
        count = frames.shape[1]
        heard = frames.masked_fill(~inside(lengths, count)[..., None], 0)
        heard = nn.functional.pad(heard, (0, 0, 0, len(self.weight) - 1))
        ahead = [heard[:, i : i + count] for i in range(len(self.weight))]
        return torch.stack(ahead, -1).mul(self.weight.T).sum(-1)


class _ResidualLSTM(nn.Module):
    def __init__(self, inputs: int, width: int, dropout: float, context: Context) -> None:
        super().__init__()
        one_way = width // 2 if context == "full" else width
        self.lstm = nn.LSTM(inputs, one_way, batch_first=True)
        self.back = nn.LSTM(inputs, one_way, batch_first=True) if context == "full" else None
        self.skip = nn.Identity() if inputs == width else nn.Linear(inputs, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        heard = self.lstm(x)[0]
        if self.back is not None:
            # Each utterance is turned round by itself, so that no padding is heard before its end.
            back = _turned(self.back(_turned(x, lengths))[0], lengths)
            heard = torch.cat([heard, back], -1)
        y: Tensor = self.norm(self.skip(x) + heard)
        return self.dropout(y)  # type: ignore[no-any-return]


def _turned(x: Tensor, lengths: Tensor) -> Tensor:
    """(B, T, D) with the first `lengths` frames of each row in reverse, padding where it was."""
    frames = torch.arange(x.shape[1], device=x.device)
    last = lengths.to(x.device)[:, None] - 1
    order = torch.where(frames <= last, last - frames, frames)
    return x.take_along_dim(order[..., None], 1)
