"""The front end: from features to the frames that an encoder's layers read.

It normalises the features and convolves them over time. Recognisers whose front ends have
equal dimensions can share one.

Shapes: B batch, T input frames, F features, T' output frames.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codert.lattice import inside


@dataclass(frozen=True)
class FrontEndConfig:
    """Convolutions over time, each with batch norm and ReLU; none where strides is empty.

    Attributes:
        channels: width of the convolutions.
        strides: one convolution for each; their product is the subsampling.
        kernel: frames that a convolution sees, odd; half of it is look-ahead.
    """

    channels: int = 64
    strides: tuple[int, ...] = (2, 2)
    kernel: int = 5


class FrontEnd(nn.Module):
    """The front end of `FrontEndConfig`; in inference an utterance's output depends on it alone."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: FrontEndConfig, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        widths = [features] + [config.channels] * len(config.strides)
        self.width = widths[-1]
        self.convolutions = nn.ModuleList(
            _Convolution(width, config.channels, config.kernel, stride)
            for width, stride in zip(widths, config.strides, strict=False)
        )

    def normalise_by(self, mean: Tensor, deviation: Tensor) -> None:
        """Fix the features' mean and deviation, (F,) each, to those of the training data."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, F), (B,) to (B, T', width), (B,)."""
        x = (features - self.mean) / self.deviation
        for convolution in self.convolutions:
            x, lengths = convolution(x, lengths)
        return x, lengths


class _Convolution(nn.Module):
    """Convolution over time, batch norm over real frames, ReLU."""

    def __init__(self, width: int, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(
            width, channels, kernel, stride, padding=kernel // 2, bias=False
        )
        self.norm = nn.BatchNorm1d(channels)
        self.stride = stride

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        # Padding is zeroed before and left out of the statistics, so that it changes nothing.
        x = x.masked_fill(~inside(lengths, x.shape[1])[..., None], 0)
        x = self.convolution(x.mT).mT
        lengths = (lengths + self.stride - 1) // self.stride
        real = inside(lengths, x.shape[1])
        frames, result = x[real], x.new_zeros(x.shape)
        # A single frame has no variance: it is normalised as in inference, and moves no statistic.
        self.norm.train(self.training and len(frames) > 1)
        result[real] = torch.relu(self.norm(frames))
        return result, lengths
