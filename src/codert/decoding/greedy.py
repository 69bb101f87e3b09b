"""Greedy decoding, batched over utterances.

Shapes: B batch, T frames, V symbols.
"""

import torch
from torch import Tensor

from codert.lattice import BLANK
from codert.models.predictor import State
from codert.models.recogniser import Encoded, Recogniser


@torch.no_grad()
def greedy(recogniser: Recogniser, encoded: Encoded, most: int = 10) -> list[list[int]]:
    """The likeliest symbol at each cell on the way, blank moving to the next frame.

    Each utterance has a place of its own in its lattice and all move together, so the number
    of steps is the largest T + U of the batch, not the sum.

    Args:
        recogniser: in inference mode.
        encoded: its encoder's output.
        most: labels per frame; then the frame is left whatever the joint says.

    Returns:
        Labels of each utterance, without blanks.
    """
    B, device = len(encoded.lengths), encoded.joint.device
    hypotheses: list[list[int]] = [[] for _ in range(B)]
    frame = torch.zeros(B, dtype=torch.long, device=device)
    emitted = torch.zeros_like(frame)
    lengths = encoded.lengths.to(device)
    rows = torch.arange(B, device=device)
    blank = torch.full_like(frame, BLANK)
    decoder, state = recogniser.decoder.step(
        blank, recogniser.decoder.predictor.initial_state(B, device)
    )
    while bool((frame < lengths).any()):
        cells = encoded.joint[rows, frame.clamp_max(encoded.joint.shape[1] - 1)]
        label = recogniser.joint.logits(cells, decoder).argmax(-1)
        emits = (frame < lengths) & (label != BLANK) & (emitted < most)
        frame = torch.where(emits, frame, frame + 1)
        emitted = torch.where(emits, emitted + 1, 0)
        if bool(emits.any()):
            stepped, after = recogniser.decoder.step(label, state)
            decoder = torch.where(emits[:, None], stepped, decoder)
            state = _choose(emits, after, state)
            for b in emits.nonzero()[:, 0].tolist():
                hypotheses[b].append(int(label[b]))
    return hypotheses


def ctc_greedy(encoded: Encoded) -> list[list[int]]:
    """The best path through the encoder logits read as CTC: repeats merged, blanks dropped."""
    best = encoded.logits.argmax(-1).tolist()
    hypotheses = []
    for path, length in zip(best, encoded.lengths.tolist(), strict=True):
        pairs = zip([BLANK, *path], path[:length], strict=False)
        hypotheses.append([now for before, now in pairs if now not in (before, BLANK)])
    return hypotheses


def _choose(emits: Tensor, after: State, before: State) -> State:
    """Each utterance's state: the next where it emitted. The batch is the last but one axis."""
    return tuple(torch.where(emits[:, None], a, b) for a, b in zip(after, before, strict=True))
