"""The lattice of a transducer: P(v | t, u) on a grid of T frames by U + 1 label positions.

Everything in codert compares or sums lattices. A lattice answers two questions without ever
holding its T x U x V logits: what are the log-probabilities of blank and of the next label at
each cell, and what is the entropy of each cell.

Shapes: B batch, T frames, U labels, V symbols (blank is 0), J width of an MLP joint.
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

BLANK = 0

# Logits held at once where they must be made: 16 MiB in float32.
_CHUNK = 1 << 22


class Scores(NamedTuple):
    """What the transducer loss reads off a lattice.

    Attributes:
        blank: log P(blank | t, u), (B, T, U+1).
        label: log P(y[u+1] | t, u), (B, T, U).
    """

    blank: Tensor
    label: Tensor


class Lattice(ABC):
    """The cells of a batch of utterances.

    Attributes:
        frame_lengths: frames of each utterance, (B,).
        label_lengths: labels of each utterance, (B,).
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
    def entropy(self) -> Tensor:
        """The entropy of each cell in nats, (B, T, U+1), without gradients."""

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


class AdditiveLattice(Lattice):
    """The lattice of the additive joint, logits[t, u, v] = e[t, v] + d[u, v].

    log Z[t, u] = log sum_v exp(e[t, v] + d[u, v]) is one matrix product of exp(e - max e) and
    exp(d - max d); time and memory are those of B*T*(U+1) + B*(T+U)*V values.

    Args:
        encoder_logits: e, (B, T, V).
        decoder_logits: d, (B, U+1, V).
        frame_lengths: (B,), each at most T. What lies behind may be anything, nan included.
        label_lengths: (B,), each at most U.

    Raises:
        ValueError: shapes or lengths do not fit each other.
    """

    def __init__(
        self,
        encoder_logits: Tensor,
        decoder_logits: Tensor,
        frame_lengths: Tensor,
        label_lengths: Tensor,
    ) -> None:
        _check(encoder_logits, decoder_logits, frame_lengths, label_lengths)
        self.frame_lengths, self.label_lengths = frame_lengths, label_lengths
        self.encoder_logits = _without_padding(encoder_logits, frame_lengths)
        self.decoder_logits = _without_padding(decoder_logits, label_lengths + 1)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, T, U+1, V)."""
        B, T, V = self.encoder_logits.shape
        return B, T, self.decoder_logits.shape[1], V

    def scores(self, labels: Tensor) -> Scores:
        """See `Lattice.scores`."""
        labels = self._checked(labels)
        e, d = self.encoder_logits, self.decoder_logits
        T, U = e.shape[1], labels.shape[1]
        log_z: Tensor = _LogNormaliser.apply(e, d)  # type: ignore[no-untyped-call]
        blank = e[:, :, BLANK, None] + d[:, None, :, BLANK] - log_z
        e_label = e.gather(2, labels[:, None].expand(-1, T, -1))
        d_label = d[:, :U].gather(2, labels[..., None])
        return Scores(blank, e_label + d_label.mT - log_z[:, :, :U])

    @torch.no_grad()
    def entropy(self) -> Tensor:
        """See `Lattice.entropy`."""
        # H = log Z - E[e + d], all shifted so that large logits do not cancel; each
        # expectation is one more product.
        e, d = self.encoder_logits, self.decoder_logits
        shifted = _Shifted.of(e, d)
        e_log, d_log = torch.xlogy(shifted.e, shifted.e), torch.xlogy(shifted.d, shifted.d)
        with torch.autocast(e.device.type, enabled=False):
            products = e_log @ shifted.d.mT + shifted.e @ d_log.mT
        entropy = shifted.sum.log() - products / shifted.sum
        for cell in _unsafe_cells(shifted):
            log_p = torch.log_softmax(cell.logits(e, d), -1)
            entropy[cell.b, cell.t, cell.u] = -(log_p.exp() * _finite(log_p)).sum(-1)
        return entropy.clamp_min(0)


class MLPLattice(Lattice):
    """The lattice of an MLP joint, logits[t, u] = W tanh(a[t] + b[u]) + c.

    The cells are computed in chunks of frames, of which only the needed entries are kept, and
    computed again in the backward pass: memory is bounded by one chunk.

    Args:
        encoder: a, (B, T, J).
        decoder: b, (B, U+1, J).
        weight: W, (V, J).
        bias: c, (V,).
        frame_lengths: (B,), each at most T. What lies behind may be anything, nan included.
        label_lengths: (B,), each at most U.

    Raises:
        ValueError: shapes or lengths do not fit each other.
    """

    def __init__(
        self,
        encoder: Tensor,
        decoder: Tensor,
        weight: Tensor,
        bias: Tensor,
        frame_lengths: Tensor,
        label_lengths: Tensor,
    ) -> None:
        _check(encoder, decoder, frame_lengths, label_lengths)
        self.frame_lengths, self.label_lengths = frame_lengths, label_lengths
        self.encoder = _without_padding(encoder, frame_lengths)
        self.decoder = _without_padding(decoder, label_lengths + 1)
        self.weight, self.bias = full_precision(weight), full_precision(bias)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, T, U+1, V)."""
        B, T, _ = self.encoder.shape
        return B, T, self.decoder.shape[1], self.weight.shape[0]

    def scores(self, labels: Tensor) -> Scores:
        """See `Lattice.scores`."""
        labels = self._checked(labels)
        chunks = [
            checkpoint(
                _mlp_scores,
                frames,
                self.decoder,
                self.weight,
                self.bias,
                labels,
                use_reentrant=False,
                preserve_rng_state=False,
            )
            for frames in self._chunks()
        ]
        return Scores(*(torch.cat(part, 1) for part in zip(*chunks, strict=True)))

    @torch.no_grad()
    def entropy(self) -> Tensor:
        """See `Lattice.entropy`."""
        chunks = []
        for frames in self._chunks():
            log_p = torch.log_softmax(
                _mlp_logits(frames, self.decoder, self.weight, self.bias), dim=-1
            )
            chunks.append(-(log_p.exp() * _finite(log_p)).sum(-1))
        return torch.cat(chunks, 1)

    def _chunks(self) -> tuple[Tensor, ...]:
        B, _, U1, V = self.shape
        widest = max(V, self.encoder.shape[2])
        return torch.split(self.encoder, max(1, _CHUNK // max(1, B * U1 * widest)), dim=1)


def _mlp_logits(frames: Tensor, decoder: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    with torch.autocast(frames.device.type, enabled=False):
        inner = torch.tanh(frames[:, :, None] + decoder[:, None])
        return torch.nn.functional.linear(inner, weight, bias)


def _mlp_scores(
    frames: Tensor, decoder: Tensor, weight: Tensor, bias: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    U = labels.shape[1]
    logits = _mlp_logits(frames, decoder, weight, bias)
    log_z = torch.logsumexp(logits, -1)
    index = labels[:, None, :, None].expand(-1, frames.shape[1], -1, 1)
    label = logits[:, :, :U].gather(3, index)[..., 0]
    return logits[..., BLANK] - log_z, label - log_z[:, :, :U]


class _Shifted(NamedTuple):
    """exp(e - max e), exp(d - max d), the sums of their products, and the maxima's sum."""

    e: Tensor  # (B, T, V)
    d: Tensor  # (B, U+1, V)
    sum: Tensor  # (B, T, U+1)
    maximum: Tensor  # (B, T, U+1)

    @classmethod
    def of(cls, e: Tensor, d: Tensor) -> "_Shifted":
        e_max, d_max = e.amax(-1, keepdim=True), d.amax(-1, keepdim=True)
        e_exp, d_exp = (e - e_max).exp(), (d - d_max).exp()
        with torch.autocast(e.device.type, enabled=False):
            return cls(e_exp, d_exp, e_exp @ d_exp.mT, e_max + d_max.mT)

    def log_sum(self) -> Tensor:
        return self.sum.log() + self.maximum

    def unsafe(self) -> Tensor:
        """Cells whose sum may have lost digits, (B, T, U+1).

        A term loses at most the smallest normal number, so V of them are harmless to the last
        digit of a sum of at least V * tiny / eps (V * 2^-102 in float32).
        """
        limits = torch.finfo(self.sum.dtype)
        return self.sum < 2 * self.e.shape[2] * limits.tiny / limits.eps


class _Cells(NamedTuple):
    """Some cells of a batch of lattices, by index."""

    b: Tensor
    t: Tensor
    u: Tensor

    def logits(self, e: Tensor, d: Tensor) -> Tensor:
        return e[self.b, self.t] + d[self.b, self.u]


def _unsafe_cells(shifted: _Shifted) -> list[_Cells]:
    """The unsafe cells, in chunks whose logits may be made."""
    index = shifted.unsafe().nonzero()
    chunks = torch.split(index, max(1, _CHUNK // max(1, shifted.e.shape[2])))
    return [_Cells(*chunk.unbind(1)) for chunk in chunks if len(chunk)]


class _LogNormaliser(torch.autograd.Function):
    """log Z[t, u] of an additive lattice, (B, T, U+1), by one product; two in the backward pass."""

    @staticmethod
    def forward(ctx: Any, e: Tensor, d: Tensor) -> Tensor:
        shifted = _Shifted.of(e, d)
        log_z = shifted.log_sum()
        for cell in _unsafe_cells(shifted):
            log_z[cell.b, cell.t, cell.u] = torch.logsumexp(cell.logits(e, d), -1)
        ctx.save_for_backward(e, d, log_z, *shifted)
        return log_z

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        refuse_second_derivatives()
        e, d, log_z, *saved = ctx.saved_tensors
        shifted = _Shifted(*saved)
        weight = (gradient / shifted.sum).masked_fill_(shifted.unsafe(), 0)
        with torch.autocast(e.device.type, enabled=False):
            e_gradient = shifted.e * (weight @ shifted.d)
            d_gradient = shifted.d * (weight.mT @ shifted.e)
        for cell in _unsafe_cells(shifted):
            p = (cell.logits(e, d) - log_z[cell].unsqueeze(-1)).exp()
            p *= gradient[cell].unsqueeze(-1)
            e_gradient.index_put_((cell.b, cell.t), p, accumulate=True)
            d_gradient.index_put_((cell.b, cell.u), p, accumulate=True)
        return e_gradient, d_gradient


def refuse_second_derivatives() -> None:
    """For backward passes by formula, whose saved values autograd would take for constants.

    Raises:
        RuntimeError: the gradient is computed with create_graph=True.
    """
    if torch.is_grad_enabled():
        raise RuntimeError("a lattice can be differentiated only once; drop create_graph=True")


def _finite(x: Tensor) -> Tensor:
    """`x` with -inf as 0, for products with a probability of 0."""
    return x.masked_fill(x == -torch.inf, 0)


def inside(lengths: Tensor, size: int) -> Tensor:
    """Which of `size` positions lie inside each length, (B, size)."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def full_precision(x: Tensor) -> Tensor:
    """At least float32: exponentials of halves lose too much."""
    return x if x.dtype == torch.float64 else x.float()


def _without_padding(x: Tensor, lengths: Tensor) -> Tensor:
    real = inside(lengths.to(x.device), x.shape[1])
    return torch.where(real[..., None], full_precision(x), 0)


def _check(encoder: Tensor, decoder: Tensor, frame_lengths: Tensor, label_lengths: Tensor) -> None:
    if encoder.dim() != 3 or decoder.dim() != 3 or encoder.shape[::2] != decoder.shape[::2]:
        raise ValueError(
            f"the encoder gave {tuple(encoder.shape)} and the predictor {tuple(decoder.shape)}; "
            "they must be (B, T, V) and (B, U+1, V)"
        )
    B, T, _ = encoder.shape
    U = decoder.shape[1] - 1
    for name, lengths, most in (("frame", frame_lengths, T), ("label", label_lengths, U)):
        if lengths.shape != (B,):
            raise ValueError(f"{name}_lengths are {tuple(lengths.shape)}; write one per utterance")
        if lengths.is_cpu and B and not 0 <= int(lengths.min()) <= int(lengths.max()) <= most:
            raise ValueError(f"{name}_lengths {lengths.tolist()} do not lie within 0 to {most}")
