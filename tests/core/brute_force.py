"""Slow, plain references that share no code with codert, and the cases they are tried on.

Shapes: B batch, T frames, U labels, V symbols (blank is 0), J width of an MLP joint.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from codert.lattice import AdditiveLattice, Lattice, MLPLattice

JOINTS = ("additive", "mlp")

few = settings(max_examples=25)


@dataclass(frozen=True)
class Case:
    """A batch and what a lattice of it is made of.

    Attributes:
        joint: additive or mlp.
        leaves: encoder and decoder logits; or the MLP's frames, states, weight and bias.
    """

    joint: str
    leaves: tuple[Tensor, ...]
    labels: Tensor
    frame_lengths: Tensor
    label_lengths: Tensor

    def lattice(self, *leaves: Tensor) -> Lattice:
        """codert's lattice of the leaves given, else of its own."""
        encoder, decoder, *output = leaves or self.leaves
        if not output:
            return AdditiveLattice(encoder, decoder, self.frame_lengths, self.label_lengths)
        weight, bias = output
        return MLPLattice(encoder, decoder, weight, bias, self.frame_lengths, self.label_lengths)

    def logits(self, *leaves: Tensor) -> Tensor:
        """All B x T x (U+1) x V joint logits."""
        encoder, decoder, *output = leaves or self.leaves
        inner = encoder[:, :, None] + decoder[:, None]
        if not output:
            return inner
        weight, bias = output
        return torch.tanh(inner) @ weight.T + bias

    def of(self, *leaves: Tensor) -> "Case":
        """The same batch with other leaves."""
        return replace(self, leaves=leaves)

    def to(self, dtype: torch.dtype) -> "Case":
        """The same case in another precision, with leaves of its own."""
        return self.of(*(x.detach().to(dtype).requires_grad_() for x in self.leaves))

    def filled(self, filling: float) -> "Case":
        """The same case with something else in its padding, and leaves of its own."""
        encoder, decoder, *output = (x.detach().clone() for x in self.leaves)
        frames, positions = self.real()
        encoder[~frames], decoder[~positions] = filling, filling
        return self.of(*(x.requires_grad_() for x in (encoder, decoder, *output)))

    def real(self) -> tuple[Tensor, Tensor]:
        """Which frames and which label positions lie inside, (B, T) and (B, U+1)."""
        t = torch.arange(self.leaves[0].shape[1])
        u = torch.arange(self.leaves[1].shape[1])
        return t < self.frame_lengths[:, None], u <= self.label_lengths[:, None]

    def real_cells(self) -> Tensor:
        """(B, T, U+1)."""
        t, u = self.real()
        return t[:, :, None] & u[:, None]


def make_case(
    joint: str,
    frame_lengths: list[int],
    label_lengths: list[int],
    V: int = 5,
    seed: int = 0,
    scale: float = 2.0,
    more_frames: int = 0,
    more_labels: int = 0,
) -> Case:
    """A random case in float64, its T and U the longest plus those asked for."""
    generator = torch.Generator().manual_seed(seed)
    B, J = len(frame_lengths), V if joint == "additive" else 3
    T = max(frame_lengths, default=2) + more_frames
    U = max(label_lengths, default=2) + more_labels

    def normal(*shape: int) -> Tensor:
        drawn = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return (scale * drawn).requires_grad_()

    leaves = [normal(B, T, J), normal(B, U + 1, J)]
    if joint == "mlp":
        leaves += [normal(V, J), normal(V)]
    return Case(
        joint,
        tuple(leaves),
        torch.randint(1, V, (B, U), generator=generator),
        torch.tensor(frame_lengths, dtype=torch.long),
        torch.tensor(label_lengths, dtype=torch.long),
    )


def partner(case: Case, joint: str, seed: int = 1, scale: float = 2.0) -> Case:
    """Another recogniser of the same batch: its labels and lengths, and leaves of its own."""
    B, T, U1, V = case.logits().shape
    drawn = make_case(joint, [T] * B, [U1 - 1] * B, V, seed + 1000, scale)
    return replace(case, joint=joint, leaves=drawn.leaves)


@st.composite
def cases(draw: st.DrawFn, joint: str | None = None, least_frames: int = 1) -> Case:
    """Batches of all shapes, with and without padding."""
    B = draw(st.integers(1, 3))
    return make_case(
        joint or draw(st.sampled_from(JOINTS)),
        draw(st.lists(st.integers(least_frames, 5), min_size=B, max_size=B)),
        draw(st.lists(st.integers(0, 4), min_size=B, max_size=B)),
        V=draw(st.integers(2, 6)),
        seed=draw(st.integers(0, 1000)),
        scale=draw(st.sampled_from([0.1, 1.0, 10.0])),
        more_frames=draw(st.integers(0, 2)),
        more_labels=draw(st.integers(0, 2)),
    )


def paths(T: int, U: int) -> Iterator[list[tuple[bool, int, int]]]:
    """All alignments of U labels to T frames, as arcs (is a label, t, u); T at least 1."""
    # The last arc is always the blank that leaves the last frame.
    for where in itertools.combinations(range(T - 1 + U), U):
        t = u = 0
        arcs = []
        for step in range(T - 1 + U):
            arcs.append((step in where, t, u))
            t, u = (t, u + 1) if step in where else (t + 1, u)
        yield [*arcs, (False, t, u)]


def path_sum(blank: Tensor, label: Tensor) -> Tensor:
    """-log of the sum over all alignments, one by one; blank (T, U+1), label (T, U)."""
    T, U = label.shape
    scores = [
        torch.stack([label[t, u] if is_label else blank[t, u] for is_label, t, u in path]).sum()
        for path in paths(T, U)
    ]
    return -torch.stack(scores).logsumexp(0)


def arc_scores(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of blank (B, T, U+1) and label (B, T, U) from all joint logits."""
    log_p = logits.log_softmax(-1)
    U = labels.shape[1]
    index = labels.clamp(0, logits.shape[3] - 1)[:, None, :, None]
    return log_p[..., 0], log_p[:, :, :U].gather(3, index.expand(-1, logits.shape[1], -1, 1))[
        ..., 0
    ]


def dense_loss(case: Case, *leaves: Tensor) -> Tensor:
    """The transducer loss of each utterance, (B,), by the forward recursion cell by cell."""
    losses = []
    blanks, labels = arc_scores(case.logits(*leaves), case.labels)
    for b, (T, U) in enumerate(
        zip(case.frame_lengths.tolist(), case.label_lengths.tolist(), strict=True)
    ):
        blank, label = blanks[b], labels[b]
        alpha: dict[tuple[int, int], Tensor] = {(0, 0): blank.new_zeros(())}
        for t, u in itertools.product(range(T), range(U + 1)):
            ways = []
            if t:
                ways.append(alpha[t - 1, u] + blank[t - 1, u])
            if u:
                ways.append(alpha[t, u - 1] + label[t, u - 1])
            if ways:
                alpha[t, u] = torch.stack(ways).logsumexp(0)
        losses.append(-(alpha[T - 1, U] + blank[T - 1, U]) if T else blank.new_tensor(torch.inf))
    return torch.stack(losses) if losses else blanks.new_zeros(0)


def visits(case: Case) -> Tensor:
    """How likely the alignment passes through each cell, (B, T, U+1), path by path."""
    blanks, labels = (x.detach() for x in arc_scores(case.logits(), case.labels))
    likely = torch.zeros_like(blanks)
    lengths = zip(case.frame_lengths.tolist(), case.label_lengths.tolist(), strict=True)
    for b, (T, U) in enumerate(lengths):
        ways = list(paths(T, U)) if T else []
        scores = [
            sum(float((labels if is_label else blanks)[b, t, u]) for is_label, t, u in way)
            for way in ways
        ]
        for way, p in zip(ways, torch.tensor(scores, dtype=torch.float64).softmax(0), strict=True):
            for _, t, u in way:
                likely[b, t, u] += p
    return likely


def gradients(loss: Tensor, case: Case) -> tuple[Tensor, ...]:
    """Of a differently weighted sum over the batch, with respect to the leaves."""
    weights = torch.linspace(0.5, 2, len(loss), dtype=loss.dtype)
    return torch.autograd.grad((loss * weights).sum(), case.leaves)
