"""What every lattice offers, and the arithmetic that all of them need.

Shapes: B batch, T frames, U labels, V symbols (blank is 0).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

BLANK = 0

# In place of log 0: differences and sums of it stay numbers.
NEVER = -1e30

# Logits held at once where they must be made: 4 MiB in float32, which a CPU's caches can hold.
CHUNK = 1 << 20


class Scores(NamedTuple):
    """What the transducer loss reads off a lattice.

    Attributes:
        blank: log P(blank | t, u), (B, T, U+1).
        label: log P(y[u+1] | t, u), (B, T, U).
    """

    blank: Tensor
    label: Tensor


class Cells(NamedTuple):
    """Some cells of a batch of lattices, by index."""

    b: Tensor
    t: Tensor
    u: Tensor

    def logits(self, e: Tensor, d: Tensor) -> Tensor:
        """Their logits in an additive lattice, (N, V)."""
        return e[self.b, self.t] + d[self.b, self.u]


class Lattice(ABC):
    """The cells of a batch of utterances.

    Attributes:
        frame_lengths: frames of each utterance, (B,), where the logits are.
        label_lengths: labels of each utterance, (B,), likewise.
    """

    frame_lengths: Tensor
    label_lengths: Tensor

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int, int]:
        """(B, T, U+1, V)."""

    @abstractmethod
    def scores(self, labels: Tensor) -> Scores:
        """The log-probabilities of blank and of the next label at each cell, with gradients.

        Args:
            labels: (B, U), the values behind each utterance's length are not read.

        Raises:
            ValueError: a label that is blank or not below V, or a shape that does not fit.
        """

    @abstractmethod
    def rest(self, labels: Tensor) -> Tensor:
        """The log-probability of all but blank and the next label, (B, T, U+1), with gradients.

        It is a sum of its own, for 1 - P(blank) - P(label) loses its digits where it is small.
        At most about `NEVER` where nothing is left to sum.

        Args:
            labels: (B, U), as for `scores`.
        """

    @abstractmethod
    def entropy(self) -> Tensor:
        """The entropy of each cell in nats, (B, T, U+1), without gradients."""

    @abstractmethod
    def logits(self) -> Tensor:
        """The logits of all cells, (B, T, U+1, V): of a `split`, for what does not factor."""

    @abstractmethod
    def at(self, b: Tensor, t: Tensor, u: Tensor) -> Tensor:
        """The logits of some cells, (N, V), by the indices (N,) of each: for a few of them."""

    @abstractmethod
    def frames(self, index: Tensor, lengths: Tensor) -> Self:
        """The lattice of some frames, by their indices (N,), of which so many are real, (B,)."""

    @abstractmethod
    def split(self, frames: int) -> list[Self]:
        """The lattices of so many frames after each other, the last of fewer; at least one.

        Their gradients come together once for all, where each slice's would be as long as T.
        """

    @abstractmethod
    def tempered(self, temperature: float) -> Self:
        """The lattice whose logits are these divided by a temperature."""

    @abstractmethod
    def detached(self) -> Self:
        """The same lattice, which no gradient reaches."""

    @property
    def width(self) -> int:
        """The most values that a cell takes while its logits are made."""
        return self.shape[3]

    @abstractmethod
    def with_encoder_only(self) -> Self:
        """The same lattice, of which a gradient reaches the encoder only."""

    def collapsed(self, labels: Tensor) -> Tensor:
        """Log-probabilities of blank, the next label and everything else, (B, T, U+1, 3).

        Behind the last label of an utterance there is no next one: -inf.

        Args:
            labels: (B, U), as for `scores`.
        """
        blank, label = self.scores(labels)
        label = torch.nn.functional.pad(label, (0, 1))
        last = ~inside(self.label_lengths, label.shape[2])
        rest = self.rest(labels)
        return torch.stack(
            [
                blank,
                label.masked_fill(last[:, None], -torch.inf),
                rest.masked_fill(rest < NEVER / 2, -torch.inf),
            ],
            -1,
        )

    @property
    def real(self) -> Tensor:
        """Which cells lie inside their utterance, (B, T, U+1)."""
        _, T, U1, _ = self.shape
        frames, labels = inside(self.frame_lengths, T), inside(self.label_lengths + 1, U1)
        return frames[:, :, None] & labels[:, None]

    def _checked(self, labels: Tensor) -> Tensor:
        """`labels` with padding replaced by 0, so that it can index."""
        B, _, U1, V = self.shape
        if labels.shape != (B, U1 - 1):
            raise ValueError(f"labels are {tuple(labels.shape)}; the lattice needs {(B, U1 - 1)}")
        real = inside(self.label_lengths.to(labels.device), U1 - 1)
        # On a GPU this look would wait for the device; there the gather itself asserts.
        if labels.is_cpu:
            wrong = (real & ((labels <= BLANK) | (labels >= V))).nonzero()
            if len(wrong):
                b, u = wrong[0].tolist()
                raise ValueError(
                    f"label {u} of utterance {b} is {int(labels[b, u])}; "
                    f"labels are 1 to {V - 1}, {BLANK} is blank"
                )
        return labels.long().masked_fill(~real, 0)

    def _others(self, labels: Tensor) -> Tensor:
        """Which symbols are neither blank nor the next label, (B, U+1, V)."""
        B, _, U1, V = self.shape
        following = torch.nn.functional.pad(self._checked(labels), (0, 1), value=BLANK)
        others = torch.ones(B, U1, V, dtype=torch.bool, device=labels.device)
        others[..., BLANK] = False
        return others.scatter(2, following[..., None], False)


def refuse_second_derivatives() -> None:
    """For backward passes by formula, whose saved values autograd would take for constants.

    Raises:
        RuntimeError: the gradient is computed with create_graph=True.
    """
    if torch.is_grad_enabled():
        raise RuntimeError("a lattice can be differentiated only once; drop create_graph=True")


@contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """Inside, products of float32 are those of float32: no halves, no TF32, no bfloat16.

    A term of log Z that loses digits in a product is lost to the loss and its gradient.
    """
    # The backend's own setting: torch.get_float32_matmul_precision raises once that is in use.
    backend: Any = torch.backends.cuda if device.type == "cuda" else torch.backends.mkldnn
    products = backend.matmul
    before = products.fp32_precision
    products.fp32_precision = "none"
    inherited = products.fp32_precision
    products.fp32_precision = "ieee"
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        # What the settings above it said, it is to go on taking from them.
        products.fp32_precision = "none" if before == inherited else before


def at_once(width: int) -> int:
    """How many of what takes `width` values may be made at a time."""
    return max(1, CHUNK // max(1, width))


def listed(mask: Tensor, width: int) -> Iterator[Cells]:
    """The cells of a mask (B, T, U+1), as many at a time as may have `width` values made."""
    for chunk in torch.split(mask.nonzero(), at_once(width)):
        if len(chunk):
            yield Cells(*chunk.unbind(1))


def felt(gradient: Tensor) -> Tensor:
    """The cells whose gradient, (B, T, U+1) and not negative, is felt at all.

    All cells of an utterance that are left out add up to less than the rounding of its largest.
    """
    _, T, U1 = gradient.shape
    largest = gradient.amax((1, 2), keepdim=True) if T else gradient
    rounding = largest * (torch.finfo(gradient.dtype).eps / max(1, T * U1))
    return (gradient != 0) & ~(gradient < rounding)  # not >=, so that nan is kept


def chunk_of_frames(lattice: Lattice) -> int:
    """Frames whose logits may be made at once."""
    B, _, U1, _ = lattice.shape
    return at_once(B * U1 * lattice.width)


def split(encoder: Tensor, lengths: Tensor, frames: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The encoder's side (B, T, ...) and its lengths (B,), so many frames at a time."""
    for i, part in enumerate(torch.split(encoder, frames, dim=1)):
        yield part, (lengths - i * frames).clamp(0, part.shape[1])


def finite(x: Tensor) -> Tensor:
    """`x` with -inf as 0, for products with a probability of 0."""
    return x.masked_fill(x == -torch.inf, 0)


def inside(lengths: Tensor, size: int) -> Tensor:
    """Which of `size` positions lie inside each length, (B, size)."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def rows(x: Tensor, b: Tensor, n: Tensor, out: Tensor | None = None) -> Tensor:
    """Rows of `x` (B, N, ...) by two indices each; their gradients are summed by index_add."""
    return torch.index_select(x.flatten(0, 1), 0, b * x.shape[1] + n, out=out)


def full_precision(x: Tensor) -> Tensor:
    """At least float32: exponentials of halves lose too much."""
    return x if x.dtype == torch.float64 else x.float()


def without_padding(x: Tensor, lengths: Tensor) -> Tensor:
    """`x` (B, N, ...) in full precision, 0 behind each length, so that no nan comes from there."""
    if lengths.is_cpu and bool((lengths == x.shape[1]).all()):
        return full_precision(x)
    real = inside(lengths.to(x.device), x.shape[1])
    return full_precision(x).masked_fill(~real[..., None], 0)


def check(encoder: Tensor, decoder: Tensor, frame_lengths: Tensor, label_lengths: Tensor) -> None:
    """Raises ValueError where shapes or lengths do not fit each other."""
    if encoder.dim() != 3 or decoder.dim() != 3 or encoder.shape[::2] != decoder.shape[::2]:
        raise ValueError(
            f"the encoder gave {tuple(encoder.shape)} and the predictor {tuple(decoder.shape)}; "
            "they must be (B, T, V) and (B, U+1, V)"
        )
    B, T, _ = encoder.shape
    U = decoder.shape[1] - 1
    check_lengths("frame_lengths", frame_lengths, B, T)
    check_lengths("label_lengths", label_lengths, B, U)


def check_lengths(name: str, lengths: Tensor, B: int, most: int) -> None:
    """Raises ValueError where they are not B whole numbers up to `most`, shares for one."""
    if lengths.shape != (B,):
        raise ValueError(f"{name} are {tuple(lengths.shape)}; write one per utterance")
    if lengths.dtype not in (torch.int64, torch.int32):  # what is added to small ones overflows
        raise ValueError(f"{name} are {lengths.dtype}; write whole numbers, int64 or int32")
    if lengths.is_cpu and B and not 0 <= int(lengths.min()) <= int(lengths.max()) <= most:
        raise ValueError(f"{name} {lengths.tolist()} do not lie within 0 to {most}")
