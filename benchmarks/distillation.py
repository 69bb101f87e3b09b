"""Ways to teach a student's lattice, each against the transducer loss itself.

    python benchmarks/distillation.py --json -

Teacher and student are additive lattices; the gradient reaches the student. A method's
memory and time are those of its forward and backward pass alone, the teacher's occupancies included
where it weighs cells by them.

Shapes: B batch, T frames, U labels, V symbols.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from codert.distillation import encoder_logit_loss, lattice_loss
from codert.lattice import AdditiveLattice
from codert.transducer import transducer_loss
from measure import Case, Options, Row, main, measured, rounded, say

SIZE = (16, 400, 60, 1024)
SHORT = (8, 150, 30, 500)


@dataclass(frozen=True)
class Pair:
    """A batch without padding, as its teacher and its student see it."""

    teacher: AdditiveLattice
    student: AdditiveLattice
    labels: Tensor

    @classmethod
    def of(cls, B: int, T: int, U: int, V: int) -> "Pair":
        """Standard normal logits."""
        generator = torch.Generator().manual_seed(0)
        lengths = torch.full((B,), T), torch.full((B,), U)

        def lattice() -> AdditiveLattice:
            encoder = torch.randn(B, T, V, generator=generator)
            decoder = torch.randn(B, U + 1, V, generator=generator)
            return AdditiveLattice(encoder, decoder, *lengths)

        pair = cls(lattice(), lattice(), torch.randint(1, V, (B, U), generator=generator))
        for leaf in pair.leaves:
            leaf.requires_grad_()
        return pair

    @property
    def leaves(self) -> tuple[Tensor, Tensor]:
        """What the gradient reaches: the student's encoder and decoder logits."""
        return self.student.encoder_logits, self.student.decoder_logits


def _loss(pair: Pair) -> Tensor:
    return transducer_loss(pair.student, pair.labels).sum()


def _encoder_logits(pair: Pair, **options: str) -> Tensor:
    teacher, student = pair.teacher.encoder_logits, pair.student.encoder_logits
    return encoder_logit_loss(teacher, student, pair.student.frame_lengths, **options)  # type: ignore[arg-type]


def _full_lattice(pair: Pair, **options: str) -> Tensor:
    return lattice_loss(pair.teacher, pair.student, pair.labels, **options)  # type: ignore[arg-type]


_DIVERGENCES = ("kl", "reverse_kl", "jensen_shannon", "l2")
METHODS: dict[str, Callable[[Pair], Tensor]] = {
    **{f"encoder_logits_{d}": partial(_encoder_logits, divergence=d) for d in _DIVERGENCES},
    "full_lattice_kl_uniform": partial(_full_lattice, divergence="kl", cells="uniform"),
    **{f"full_lattice_{d}": partial(_full_lattice, divergence=d) for d in _DIVERGENCES},
}
_SHORT = ("encoder_logits_kl", "full_lattice_kl")


def one(case: Case) -> Row:
    """Seconds and memory of a method, or of the loss."""
    method = METHODS.get(case["method"], _loss)

    def step(pair: Pair) -> None:
        torch.autograd.grad(method(pair), pair.leaves, allow_unused=True)

    step(Pair.of(1, 4, 2, case["V"]))  # compiles, and starts threads
    pair = Pair.of(case["B"], case["T"], case["U"], case["V"])
    found = measured(lambda: step(pair))
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
