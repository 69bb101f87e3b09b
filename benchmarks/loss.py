"""The transducer loss, forward and backward, against others.

    python benchmarks/loss.py --json -

Each system is given what the joint reads and makes the gradients of that, so the time in which a
T x U x V tensor is built counts for those that need one. codert's losses and gradients
are checked against float64 at every size, made a few frames at a time; of the first and the last
utterance only where there are more than 10^8 logits. The others' losses are checked against
codert's.

Shapes: B batch, T frames, U labels, V symbols, J width of the MLP joint.
"""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from codert.lattice import AdditiveLattice, Lattice, MLPLattice
from codert.transducer import transducer_loss
from codert.transducer.recursion import forward_backward
from codert.transducer.recursion_torch import forward_backward as reference
from measure import Case, Options, Row, available_mb, main, measured, rounded, say

J = 128
SHORT = [(8, 150, 30, 500), (8, 150, 30, 1024)]
SIZES = [(B, T, U, V) for B, T, U in ((8, 150, 30), (16, 200, 40)) for V in (128, 500, 1024, 4096)]
GROWTH = [(8, T, 30, 500) for T in (75, 300, 600)] + [(8, 150, U, 500) for U in (15, 60, 120)]
# The second is as large as dense can be in 24 GB; the third has more than 2^31 logits.
LARGE = [(32, 400, 60, 500), (16, 330, 50, 4096), (16, 800, 45, 4096)]
MLP = [*SIZES[:5], LARGE[2]]

# What a peer takes for a T x U x V tensor of float32, in such tensors.
_TENSORS = {"dense": 3.5, "warprnnt_numba": 4, "torchaudio": 3, "fast_rnnt": 3.5}
# Where others take milliseconds these take ten seconds on a CPU: the most cells, and symbols.
_SLOW = {"warprnnt_numba": (38_000, 500)}
_MANY = 1e8
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Inputs:
    """A batch without padding, and what its joint reads.

    Attributes:
        leaves: encoder and decoder logits; or the MLP's frames, states, weight and bias.
    """

    leaves: tuple[Tensor, ...]
    labels: Tensor
    frame_lengths: Tensor
    label_lengths: Tensor

    @classmethod
    def of(cls, joint: str, B: int, T: int, U: int, V: int, device: str = "cpu") -> "Inputs":
        """Standard normal ones."""
        generator = torch.Generator().manual_seed(0)

        def normal(*shape: int, scale: float = 1.0) -> Tensor:
            values = torch.randn(*shape, generator=generator).mul_(scale)
            return values.to(device).requires_grad_()

        width = V if joint == "additive" else J
        leaves = [normal(B, T, width), normal(B, U + 1, width)]
        if joint == "mlp":
            leaves += [normal(V, J, scale=J**-0.5), normal(V)]
        labels = torch.randint(1, V, (B, U), generator=generator).to(device)
        lengths = (torch.full((B,), n, device=device) for n in (T, U))
        return cls(tuple(leaves), labels, *lengths)

    def logits(self) -> Tensor:
        """All B x T x (U+1) x V."""
        return _logits(self.leaves)


class _FullSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, blank: Tensor, label: Tensor, frames: Tensor, labels: Tensor) -> Tensor:
        log_likelihood, *occupied = forward_backward(blank, label, frames, labels)
        ctx.save_for_backward(*occupied)
        return -log_likelihood

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        blank, label = ctx.saved_tensors
        return -gradient[:, None, None] * blank, -gradient[:, None, None] * label, None, None


def codert(of: Inputs) -> Tensor:
    """What codert exports."""
    lengths = of.frame_lengths, of.label_lengths
    encoder, decoder, *output = of.leaves
    lattice: Lattice = (
        MLPLattice(encoder, decoder, output[0], output[1], *lengths)
        if output
        else AdditiveLattice(encoder, decoder, *lengths)
    )
    return transducer_loss(lattice, of.labels)


def dense(of: Inputs) -> Tensor:
    """log_softmax over all logits, one gather, and codert's compiled recursion."""
    scores = _arc_scores(of.logits(), of.labels)
    loss: Tensor = _FullSum.apply(*scores, of.frame_lengths, of.label_lengths)  # type: ignore[no-untyped-call]
    return loss


def warprnnt_numba(of: Inputs) -> Tensor:
    """The package of that name."""
    from warprnnt_numba import RNNTLossNumba

    lengths = of.frame_lengths.int(), of.label_lengths.int()
    loss: Tensor = RNNTLossNumba(reduction="none")(of.logits(), of.labels.int(), *lengths)
    return loss


def torchaudio(of: Inputs) -> Tensor:
    """torchaudio.functional.rnnt_loss."""
    from torchaudio.functional import rnnt_loss

    lengths = of.frame_lengths.int(), of.label_lengths.int()
    loss: Tensor = rnnt_loss(of.logits(), of.labels.int(), *lengths, blank=0, reduction="none")
    return loss


def fast_rnnt(of: Inputs) -> Tensor:
    """Its exact loss from all logits."""
    from fast_rnnt import rnnt_loss

    loss: Tensor = rnnt_loss(of.logits(), of.labels, 0, _boundary(of), reduction="none")
    return loss


def fast_rnnt_simple(of: Inputs) -> Tensor:
    """Its loss of the additive joint, which also factors log Z."""
    from fast_rnnt import rnnt_loss_simple

    am, lm, *_ = of.leaves
    loss: Tensor = rnnt_loss_simple(lm, am, of.labels, 0, _boundary(of), reduction="none")
    return loss


def bare_products(of: Inputs) -> Tensor:
    """Not a loss: an exp of both inputs and three batched products, which factored ones need."""
    with torch.no_grad():
        e, d = (x.exp() for x in of.leaves)
        normaliser = e @ d.mT
        torch.matmul(normaliser, d)
        return normaliser.mT @ e


SYSTEMS: dict[str, Callable[[Inputs], Tensor]] = {
    system.__name__: system
    for system in (
        codert, dense, warprnnt_numba, torchaudio, fast_rnnt, fast_rnnt_simple, bare_products
    )
}  # fmt: skip
_FACTORED = {"fast_rnnt_simple", "bare_products"}
_PACKAGES = {
    "warprnnt_numba": "warprnnt_numba",
    "torchaudio": "torchaudio",
    "fast_rnnt": "fast_rnnt",
    "fast_rnnt_simple": "fast_rnnt",
}
_NOT_A_LOSS = {"bare_products"}
_SHORT_SYSTEMS = ["codert", "dense"]


def one(case: Case) -> Row:
    """Seconds, memory and the summed loss of a system; codert's are checked."""
    system = SYSTEMS[case["system"]]
    joint, device, V = case["joint"], case["device"], case["V"]
    step(system, Inputs.of(joint, 1, 4, 2, V, device))  # compiles, and starts threads
    inputs = Inputs.of(joint, case["B"], case["T"], case["U"], V, device)
    results: list[tuple[Tensor, tuple[Tensor, ...]]] = []

    def work() -> None:
        results[:] = [step(system, inputs)]

    found = measured(work, device)
    losses, gradients = results[0]
    if system is codert:
        check(inputs, losses, gradients)
    return {
        "seconds": rounded(found.seconds),
        "peak_mb": rounded(found.peak_mb),
        "loss": float(losses.double().sum()),
    }


def step(system: Callable[[Inputs], Tensor], of: Inputs) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Losses (B,) and the gradients of their sum; none of what is no loss."""
    losses = system(of)
    gradients = torch.autograd.grad(losses.sum(), of.leaves) if losses.requires_grad else ()
    return losses.detach(), gradients


def check(of: Inputs, losses: Tensor, gradients: tuple[Tensor, ...]) -> None:
    """Compare codert's losses (B,) and gradients with float64.

    Raises:
        AssertionError: they differ by more than float32 rounds.
    """
    B, T, V = *of.leaves[0].shape[:2], of.leaves[-1].shape[-1]
    U1 = of.labels.shape[1] + 1
    few = B * T * U1 * V > _MANY
    rows = [0, B - 1] if few else list(range(B))
    # Encoder and decoder have a row for each utterance; the MLP's weights one value for all.
    leaves = [x[rows] if i < 2 else x for i, x in enumerate(of.leaves)]
    leaves = [x.detach().double() for x in leaves]
    labels, lengths = of.labels[rows], (of.frame_lengths[rows], of.label_lengths[rows])
    frames = max(1, _CHUNK // (U1 * V))
    cells = [(b, slice(t, t + frames)) for b in range(len(rows)) for t in range(0, T, frames)]

    def parts(of_all: Sequence[Tensor], b: int, t: slice) -> list[Tensor]:
        encoder, decoder, *output = of_all
        return [encoder[b : b + 1, t], decoder[b : b + 1], *output]

    blank, label = losses.new_zeros(2, len(rows), T, U1, dtype=torch.float64)
    label = label[..., :-1]
    for b, t in cells:
        scores = _arc_scores(_logits(parts(leaves, b, t)), labels[b : b + 1])
        blank[b, t], label[b, t] = (x[0] for x in scores)
    expected, *occupied = reference(blank, label, *lengths)
    torch.testing.assert_close(losses[rows].double(), -expected, rtol=1e-5, atol=1e-3)

    exact = [torch.zeros_like(x) for x in leaves]
    for b, t in cells:
        wanted = [x.detach().requires_grad_() for x in parts(leaves, b, t)]
        scores = _arc_scores(_logits(wanted), labels[b : b + 1])
        found = torch.autograd.grad(scores, wanted, [-x[b : b + 1, t] for x in occupied])
        for to, part in zip(parts(exact, b, t), found, strict=True):
            to += part
    # Of a few utterances' gradients no sum over all can be compared.
    for i, (whole, value) in enumerate(zip(gradients[: 2 if few else None], exact, strict=False)):
        tolerance = 1e-4 * max(1.0, float(value.abs().max()))
        gradient = (whole[rows] if i < 2 else whole).double()
        torch.testing.assert_close(gradient, value, rtol=1e-3, atol=tolerance)


def collect(options: Options, measure: Callable[[Case], Row]) -> list[Row]:
    """All rows; a system that is not installed, or needs more memory than there is, has none."""
    systems = _SHORT_SYSTEMS if options.short else [s for s in SYSTEMS if _installed(s)]
    rows: list[Row] = []
    for joint, shapes in _shapes(options).items():
        for shape in shapes:
            compared = _SHORT_SYSTEMS if shape in GROWTH else systems
            rows += _compared(joint, shape, compared, options.device, measure)
    return rows


def _shapes(options: Options) -> dict[str, Sequence[tuple[int, ...]]]:
    if options.shapes:
        return {"additive": options.shapes, "mlp": options.shapes}
    if options.short:
        return {"additive": SHORT, "mlp": SHORT[:1]}
    return {"additive": [*SIZES, *GROWTH, *LARGE], "mlp": MLP}


def _installed(system: str) -> bool:
    package = _PACKAGES.get(system)
    return package is None or importlib.util.find_spec(package) is not None


def _compared(
    joint: str,
    shape: tuple[int, ...],
    systems: Sequence[str],
    device: str,
    measure: Callable[[Case], Row],
) -> list[Row]:
    size = dict(zip("BTUV", shape, strict=True))
    rows: list[Row] = []
    for system in systems:
        if reason := _left_out(system, joint, shape, device):
            print(f"{joint} {shape} {system}: left out, {reason}", file=sys.stderr)
            continue
        row = measure({"joint": joint, **size, "system": system})
        loss = row.pop("loss")
        ours = rows[0] if rows else row
        if not rows:
            expected = loss
        elif system not in _NOT_A_LOSS and abs(loss - expected) > 1e-4 * abs(expected):
            raise SystemExit(f"{system} gives {loss} where codert gives {expected}: {shape}")
        row = {**size, "joint": joint, "system": system, **row}
        row["ratio_time"] = rounded(row["seconds"] / ours["seconds"])
        row["ratio_memory"] = rounded(row["peak_mb"] / ours["peak_mb"])
        say(row)
        rows.append(row)
    return rows


def _left_out(system: str, joint: str, shape: tuple[int, ...], device: str) -> str | None:
    """Why a system is not run, if it is not."""
    B, T, U, V = shape
    values = B * T * (U + 1) * V
    if system in _FACTORED and joint != "additive":
        return "it is for the additive joint"
    most_cells, most_symbols = _SLOW.get(system, (values, V))
    if device == "cpu" and min(most_cells - B * T * (U + 1), most_symbols - V) < 0:
        return "it would take minutes"
    needed = 4e-6 * values * (_TENSORS.get(system, 0) + (2 * J / V if joint == "mlp" else 0))
    if needed > 0.9 * available_mb(device) and system != "codert":
        return f"it needs {needed:.0f} MB"
    return None


def _logits(leaves: Sequence[Tensor]) -> Tensor:
    encoder, decoder, *output = leaves
    inner = encoder[:, :, None] + decoder[:, None]
    return inner.tanh_() @ output[0].T + output[1] if output else inner


def _arc_scores(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    log_p = logits.log_softmax(-1)
    following = torch.nn.functional.pad(labels, (0, 1))
    index = torch.stack([torch.zeros_like(following), following], -1)
    scores = log_p.gather(3, index[:, None].expand(-1, log_p.shape[1], -1, -1))
    return scores[..., 0], scores[:, :, :-1, 1]


def _boundary(of: Inputs) -> Tensor:
    zeros = torch.zeros_like(of.frame_lengths)
    return torch.stack([zeros, zeros, of.label_lengths, of.frame_lengths], 1)


if __name__ == "__main__":
    main(__doc__.splitlines()[0], __file__, one, collect)
