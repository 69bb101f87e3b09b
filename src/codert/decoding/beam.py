"""Time-synchronous beam search with merged prefixes, batched over utterances.

Shapes: B batch, T frames, V symbols, J what the joint reads, W the beam's width.
"""

from math import inf
from typing import NamedTuple

import numpy as np
import torch

from codert.lattice import BLANK
from codert.models.recogniser import Encoded, Recogniser


class Hypothesis(NamedTuple):
    """What may have been said.

    Attributes:
        labels: without blanks.
        log_probability: of those of its alignments that the search has kept, in nats; never
            above that of them all.
    """

    labels: tuple[int, ...]
    log_probability: float


@torch.no_grad()
def beam_search(
    recogniser: Recogniser, encoded: Encoded, width: int = 4, most: int = 10
) -> list[list[Hypothesis]]:
    """The likeliest labels of each utterance, as far as a beam can tell.

    In a step each hypothesis that is still at its frame emits a label, or by a blank waits for
    the next frame; of all these and of those that wait already the likeliest W are kept. When
    all wait, the next frame begins. Alignments of the same labels that wait for the same frame
    are one hypothesis, whose probability is their sum (Graves, 2012, arXiv 1211.3711). Each
    utterance has a place of its own in its lattice and all move together.

    With a width of 1 it finds what `greedy` finds. Where a beam never drops anything, each
    log-probability is exact over the alignments with at most `most` labels at a frame.

    Args:
        recogniser: in inference mode.
        encoded: its encoder's output.
        width: W.
        most: labels per frame; then a blank follows, however unlikely.

    Returns:
        Up to W hypotheses of each utterance, each with labels of its own, the likeliest first.

    Raises:
        ValueError: the width is below 1.
    """
    if width < 1:
        raise ValueError(f"width is {width}; it is at least 1")
    joint, device = encoded.joint, encoded.joint.device
    beams = [_Beam(frames, width, most) for frames in encoded.lengths.tolist()]
    rows = torch.arange(len(beams), device=device)
    slots = torch.arange(len(beams) * width, device=device)
    decoder, state = recogniser.decoder.step(
        torch.full_like(slots, BLANK),
        recogniser.decoder.predictor.initial_state(len(slots), device),
    )
    while not all(beam.is_done for beam in beams):
        frames = torch.tensor([beam.frame for beam in beams], device=device)
        cells = joint[rows, frames.clamp_max_(joint.shape[1] - 1)]
        logits = recogniser.joint.logits(cells[:, None], decoder.view(len(beams), width, -1))
        so_far = torch.tensor([beam.scores for beam in beams], dtype=torch.float64, device=device)
        # In float64, so that no two logits become equal; behind an utterance there may be nan.
        scores = so_far[..., None] + logits.double().log_softmax(-1)
        scores = scores.masked_fill(so_far[..., None] == -inf, -inf)
        blanks = scores[..., BLANK].tolist()
        best, index = (x.tolist() for x in scores[..., BLANK + 1 :].flatten(1).topk(width))
        for b, beam in enumerate(beams):
            beam.step(blanks[b], best[b], [divmod(i, logits.shape[2] - 1) for i in index[b]])
        moves = torch.tensor([beam.moves for beam in beams], device=device).flatten(0, 1)
        source, label = slots - slots % width + moves[:, 0], moves[:, 1]
        decoder, state = decoder[source], tuple(x.index_select(-2, source) for x in state)
        if len(emits := label.nonzero()[:, 0]):
            stepped, after = recogniser.decoder.step(
                label[emits], tuple(x.index_select(-2, emits) for x in state)
            )
            decoder = decoder.index_copy(0, emits, stepped)
            state = tuple(x.index_copy(-2, emits, y) for x, y in zip(state, after, strict=True))
    return [[Hypothesis(x.labels, x.score) for x in beam.places] for beam in beams]


class _Place(NamedTuple):
    """A hypothesis in a beam."""

    labels: tuple[int, ...]
    score: float
    waits: bool  # for the next frame
    source: int = 0  # where it, or what it extends, was before this step
    label: int = BLANK  # that it extends it by


class _Beam:
    """The hypotheses of one utterance, the likeliest first; at its end they all wait."""

    def __init__(self, frames: int, width: int, most: int) -> None:
        self.frames, self.width, self.most = frames, width, most
        self.frame = self.emitted = 0  # the latter at this frame, by each that does not wait
        self.places = [_Place((), 0.0, self.is_done)]

    @property
    def is_done(self) -> bool:
        return self.frame == self.frames

    @property
    def scores(self) -> list[float]:
        """Of each place, (W,); -inf where there is none, or what is there waits."""
        scores = [-inf if x.waits else x.score for x in self.places]
        return scores + [-inf] * (self.width - len(scores))

    @property
    def moves(self) -> list[tuple[int, int]]:
        """Of each place, (W,): where its predictor is to be found, and what that is to see."""
        moves = [(x.source, x.label) for x in self.places]
        return moves + [(0, BLANK)] * (self.width - len(moves))

    def step(self, blanks: list[float], best: list[float], ways: list[tuple[int, int]]) -> None:
        """One step further.

        Args:
            blanks: the score of each place with a blank.
            best: the best scores of places with a label.
            ways: the places of these, and their labels less 1.
        """
        waiting: dict[tuple[int, ...], _Place] = {}
        for i, place in enumerate(self.places):
            score = place.score if place.waits else blanks[i]
            if other := waiting.get(place.labels):
                score = float(np.logaddexp(score, other.score))
            waiting[place.labels] = _Place(place.labels, score, True, i)
        pool = list(waiting.values())
        if self.emitted < self.most:
            pool += [
                _Place((*self.places[i].labels, v + 1), score, False, i, v + 1)
                for score, (i, v) in zip(best, ways, strict=True)
                if score != -inf
            ]
        # Waiting comes first, so where a label is as likely as the blank the blank is taken.
        self.places = sorted(pool, key=lambda place: -place.score)[: self.width]
        self.emitted += 1
        if not self.is_done and all(place.waits for place in self.places):
            self.frame, self.emitted = self.frame + 1, 0
            self.places = [place._replace(waits=self.is_done) for place in self.places]
