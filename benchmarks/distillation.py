"""Ways to teach a student's lattice, each against the transducer loss itself.

    python benchmarks/distillation.py --json -

Teacher and student are additive lattices, or a layer of each; the gradient reaches the student. A
method's memory and time are those of its forward and backward pass alone, the teacher's
occupancies or its best path included where it weighs cells by them. Methods that go over all
symbols of all cells have `full` in their names.

Shapes: B batch, T frames, U labels, V symbols, D width of a layer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import torch
from torch import Tensor

from codert.distillation import (
    DIVERGENCES,
    Distance,
    collapsed_loss,
    decoder_logit_loss,
    encoder_logit_loss,
    hidden_loss,
    lattice_loss,
    path_posterior_loss,
    sequence_loss,
)
from codert.lattice import AdditiveLattice, Lattice
from codert.transducer import transducer_loss
from measure import Case, Options, Row, main, measured, rounded, say

SIZE = (16, 400, 60, 1024)
SHORT = (8, 150, 30, 500)
WIDTH = 512  # of the hidden layers, which are matched without a projection


@dataclass(frozen=True)
class Pair:
    """A batch without padding, as its teacher and its student see it.

    Attributes:
        teacher: its lattice.
        student: likewise.
        labels: (B, U).
        hidden: a layer of each encoder, (B, T, D).
    """

    teacher: AdditiveLattice
    student: AdditiveLattice
    labels: Tensor
    hidden: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, B: int, T: int, U: int, V: int, device: str = "cpu") -> "Pair":
        """Standard normal logits and layers."""
        generator = torch.Generator().manual_seed(0)
        lengths = [torch.full((B,), n, device=device) for n in (T, U)]

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator).to(device)

        def lattice() -> AdditiveLattice:
            return AdditiveLattice(normal(B, T, V), normal(B, U + 1, V), *lengths)

        pair = cls(
            lattice(),
            lattice(),
            torch.randint(1, V, (B, U), generator=generator).to(device),
            (normal(B, T, WIDTH), normal(B, T, WIDTH)),
        )
        for leaf in pair.leaves:
            leaf.requires_grad_()
        return pair

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """What the gradient reaches: the student's encoder and decoder logits, and its layer."""
        return self.student.encoder_logits, self.student.decoder_logits, self.hidden[1]


def _loss(pair: Pair) -> Tensor:
    return transducer_loss(pair.student, pair.labels).sum()


def _encoder_logits(pair: Pair, **options: Any) -> Tensor:
    teacher, student = pair.teacher.encoder_logits, pair.student.encoder_logits
    return encoder_logit_loss(teacher, student, pair.student.frame_lengths, **options)


def _decoder_logits(pair: Pair) -> Tensor:
    teacher, student = pair.teacher.decoder_logits, pair.student.decoder_logits
    return decoder_logit_loss(teacher, student, pair.student.label_lengths)


def _lattices(loss: Callable[..., Tensor], pair: Pair, **options: Any) -> Tensor:
    return loss(pair.teacher, pair.student, pair.labels, **options)


def _half_rate(pair: Pair) -> Tensor:
    frames = torch.arange(0, pair.student.shape[1], 2, device=pair.labels.device)
    lengths = torch.full_like(pair.student.frame_lengths, len(frames))
    student: Lattice = pair.student.frames(frames, lengths)
    return lattice_loss(pair.teacher, student, pair.labels, ratio=2)


def _hidden(pair: Pair, **options: Any) -> Tensor:
    return hidden_loss(*pair.hidden, pair.student.frame_lengths, **options)


def _sequence(pair: Pair, size: int) -> Tensor:
    """The beam is left out: what it takes is the teacher's."""
    utterances = torch.arange(len(pair.labels), device=pair.labels.device).repeat_interleave(size)

    def repeated(lattice: AdditiveLattice) -> AdditiveLattice:
        parts = lattice.encoder_logits, lattice.decoder_logits
        lengths = lattice.frame_lengths, lattice.label_lengths
        return AdditiveLattice(*(x.index_select(0, utterances) for x in (*parts, *lengths)))

    labels = pair.labels[utterances]
    log_p = -transducer_loss(repeated(pair.teacher), labels)
    return sequence_loss(log_p, repeated(pair.student), labels, utterances)


_lattice = partial(_lattices, lattice_loss)
_paths = partial(_lattices, path_posterior_loss)
# docs/methods.md has a row for each.
METHODS: dict[str, Callable[[Pair], Tensor]] = {
    **{f"encoder_logits_{d}": partial(_encoder_logits, divergence=d) for d in DIVERGENCES},
    "decoder_logits_kl": _decoder_logits,
    "full_lattice_kl_uniform": partial(_lattice, cells="uniform"),
    **{f"full_lattice_{d}": partial(_lattice, divergence=d) for d in DIVERGENCES},
    "full_lattice_kl_delayed": partial(_lattice, shift=-2),
    "full_lattice_kl_half_rate": _half_rate,
    "best_path_kl": partial(_lattice, cells="best_path"),
    "band_kl": partial(_lattice, cells="best_path", width=5),
    "sampled_kl": partial(_lattice, cells="sampled", samples=2),
    "collapsed_kl": partial(_lattices, collapsed_loss),
    "path_posterior_kl": _paths,
    "path_posterior_reverse_kl": partial(_paths, divergence="reverse_kl"),
    **{f"hidden_{d}": partial(_hidden, distance=d) for d in get_args(Distance)},
    "sequence_4": partial(_sequence, size=4),
    "sequence_1": partial(_sequence, size=1),
}
_SHORT = ("encoder_logits_kl", "full_lattice_kl")


def one(case: Case) -> Row:
    """Seconds and memory of a method, or of the loss."""
    method = METHODS.get(case["method"], _loss)

    def step(pair: Pair) -> None:
        torch.autograd.grad(method(pair), pair.leaves, allow_unused=True)

    device, V = case["device"], case["V"]
    step(Pair.of(1, 4, 2, V, device))  # compiles, and starts threads
    pair = Pair.of(case["B"], case["T"], case["U"], V, device)
    found = measured(lambda: step(pair), device)
    return {"seconds": rounded(found.seconds), "peak_mb": rounded(found.peak_mb)}


def collect(options: Options, measure: Callable[[Case], Row]) -> list[Row]:
    """A row per method."""
    rows: list[Row] = []
    for shape in options.shapes or [SHORT if options.short else SIZE]:
        size = dict(zip("BTUV", shape, strict=True))
        loss = measure({**size, "method": "loss"})
        for method in _SHORT if options.short else METHODS:
            found = measure({**size, "method": method})
            row = {
                "method": method,
                **size,
                **found,
                "loss_seconds": loss["seconds"],
                "loss_peak_mb": loss["peak_mb"],
                "ratio_time": rounded(found["seconds"] / loss["seconds"]),
                "ratio_memory": rounded(found["peak_mb"] / loss["peak_mb"]),
            }
            say(row)
            rows.append(row)
    return rows


if __name__ == "__main__":
    main(__doc__.splitlines()[0], __file__, one, collect)
