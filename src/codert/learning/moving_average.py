"""A teacher that is the moving average of its student (Tarvainen and Valpola, 2017).

Source: "Mean teachers are better role models", arXiv 1703.01780.
"""

from copy import deepcopy
from dataclasses import dataclass

import torch

from codert.models.recogniser import Recogniser


@dataclass(frozen=True)
class AverageConfig:
    """Whose weights are averaged, and how long they count.

    Attributes:
        of: a live recogniser.
        decay: what is left of the average at an update. Before 1 / (1 - decay) updates it is less:
            there the average is the plain mean of all weights so far.
    """

    of: str
    decay: float = 0.999

    def __post_init__(self) -> None:
        """Raises ValueError where there is no such average."""
        if not 0 <= self.decay < 1:
            raise ValueError("decay is from 0 to less than 1")


class MovingAverage:
    """The average of a live recogniser: a recogniser in inference mode, without gradients.

    It is whole, its own copy of what the live one shares with others included.
    """

    def __init__(self, live: Recogniser, decay: float) -> None:
        self.recogniser = deepcopy(live).eval().requires_grad_(False)
        self._live, self._decay = live, decay

    @torch.no_grad()
    def follow(self, updates: int) -> None:
        """Take in the live weights after so many updates; after none, be equal to them.

        The statistics of batch norm are averaged like weights; what is counted is copied.
        """
        decay = min(self._decay, 1 - 1 / (updates + 1))
        live = self._live.state_dict()
        for name, tensor in self.recogniser.state_dict().items():
            if tensor.is_floating_point():
                tensor.lerp_(live[name], 1 - decay)
            else:
                tensor.copy_(live[name])
