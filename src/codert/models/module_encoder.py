"""An encoder of somebody's own: any torch module, held to what its configuration says.

Shapes: B batch, T input frames, F features, T' output frames, D width.
"""

import importlib
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from codert.errors import InputError
from codert.models.front_end import FrontEndConfig

# What an encoder's layers hear at a frame: what was before, so that it can run while somebody
# speaks, or the whole utterance.
Context = Literal["past", "full"]


@dataclass(frozen=True)
class ModuleEncoderConfig:
    """Any torch module: (B, T, F), lengths (B,) to (B, T', D), lengths (B,).

    Attributes:
        module: `package.module:Class`; called with `features=F` and the options. The object
            must have an attribute `width`, its D.
        subsampling: input frames per output frame: T' is T / subsampling, give or take one.
        options: keyword arguments of the class.
        context: what it hears, as its owner knows.
    """

    kind: Literal["module"]
    module: str
    subsampling: int
    options: dict[str, Any] = field(default_factory=dict)
    context: Context = "full"

    def __post_init__(self) -> None:
        """Raises ValueError where `module` is not package.module:Class, or no frame is left."""
        if self.module.count(":") != 1:
            raise ValueError(f"module is {self.module!r}; write it as package.module:Class")
        if self.subsampling < 1:
            raise ValueError("subsampling is at least 1")

    @property
    def front_end(self) -> FrontEndConfig:
        """Normalisation alone: the module convolves as it likes."""
        return FrontEndConfig(strides=())

    @property
    def lookahead(self) -> int:
        """Output frames heard beyond the one given: what the module hears is its own affair."""
        return 0

    def build(self, inputs: int) -> "ModuleEncoder":
        """The encoder for `inputs` features.

        Raises:
            InputError: there is no such class, it does not take the options, or it has no width.
        """
        package, name = self.module.split(":")
        try:
            cls = getattr(importlib.import_module(package), name)
            encoder = cls(features=inputs, **self.options)
        except ModuleNotFoundError as error:
            raise InputError(
                f"encoder module {self.module}: {error}; PYTHONPATH=FOLDER says where it is"
            ) from error
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise InputError(f"encoder module {self.module}: {error}") from error
        if not isinstance(encoder, nn.Module) or not isinstance(
            getattr(encoder, "width", None), int
        ):
            raise InputError(f"{self.module} must make a torch module with an integer `width`")
        return ModuleEncoder(encoder, self.subsampling)


class ModuleEncoder(nn.Module):
    """The module of `ModuleEncoderConfig`, which shows its last layer alone.

    It gives as many frames as the features subsampled, rounded up. A module that rounds down has
    its last frame twice, so that it can be matched with others.

    Attributes:
        width: D.
        depth: layers that it shows.
    """

    depth = 1

    def __init__(self, module: nn.Module, subsampling: int) -> None:
        super().__init__()
        self.module, self._subsampling = module, subsampling
        self.width: int = module.width  # type: ignore[assignment]

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """(B, T, F), (B,) to its layer, (B, T', D), and the lengths, (B,).

        Raises:
            InputError: the module makes another shape, or another subsampling.
        """
        name, made = type(self.module).__name__, self.module(features, lengths)
        if not isinstance(made, tuple) or len(made) != 2:
            raise InputError(
                f"{name} made a {type(made).__name__}; it must make two tensors, its frames and "
                "their lengths"
            )
        last, ends = made
        fits = last.dim() == 3 and last.shape[::2] == (len(features), self.width) and last.shape[1]
        if not fits or ends.shape != lengths.shape or ends.is_floating_point():
            raise InputError(
                f"{name} made {tuple(last.shape)} and lengths {tuple(ends.shape)}, {ends.dtype}, "
                f"of {tuple(features.shape)}; it must make (B, T', {self.width}) and whole "
                "numbers (B,)"
            )
        most, wanted = -(-features.shape[1] // self._subsampling), -(-lengths // self._subsampling)
        if bool(((ends - wanted).abs() > 1).any()) or abs(last.shape[1] - most) > 1:
            raise InputError(
                f"{name} made {last.shape[1]} frames of {features.shape[1]}, with lengths "
                f"{ends.tolist()} of {lengths.tolist()}; its configuration says "
                f"subsampling: {self._subsampling}"
            )
        if last.shape[1] != most or not ends.equal(wanted):
            index = torch.arange(most, device=ends.device).minimum((ends - 1).clamp_min(0)[:, None])
            last = last.gather(1, index[..., None].expand(-1, -1, self.width))
        return (last,), wanted
