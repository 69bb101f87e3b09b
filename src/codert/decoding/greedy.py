"""Greedy decoding, batched over utterances.

Shapes: B batch, T frames, V symbols.
"""

import torch
from torch import Tensor

from codert.lattice import BLANK
from codert.models.predictor import State
from codert.models.recogniser import Encoded, Recogniser


# Frames that are looked through at once for the next label; speech has a label in every five or
# six frames of 40 ms.
_WINDOW = 8


@torch.no_grad()
def greedy(recogniser: Recogniser, encoded: Encoded, most: int = 10) -> list[list[int]]:
    """The likeliest symbol at each cell on the way, blank moving to the next frame.

    The loop is over labels, not frames: until a label comes the predictor's output stays as it
    is, so several frames are looked through at once (Bataev et al., 2024, arXiv 2406.06220). Each
    utterance has a place of its own in its lattice and all move together.

    Args:
        recogniser: in inference mode.
        encoded: its encoder's output.
        most: labels per frame; then the frame is left whatever the joint says.

    Returns:
        Labels of each utterance, without blanks.
    """
    B, device = len(encoded.lengths), encoded.joint.device
    frame = torch.zeros(B, dtype=torch.long, device=device)
    emitted = torch.zeros_like(frame)  # at this frame
    lengths = encoded.lengths.to(device) if most else torch.zeros_like(frame)
    rows, window = torch.arange(B, device=device)[:, None], torch.arange(_WINDOW, device=device)
    decoder, state = recogniser.decoder.step(
        torch.full_like(frame, BLANK), recogniser.decoder.predictor.initial_state(B, device)
    )
    steps: list[Tensor] = []
    while bool((frame < lengths).any()):
        frames = frame[:, None] + window
        cells = encoded.joint[rows, frames.clamp_max(encoded.joint.shape[1] - 1)]
        best = recogniser.joint.logits(cells, decoder[:, None]).argmax(-1)
        best = best.masked_fill(frames >= lengths[:, None], BLANK)
        is_label = best != BLANK
        emits, blanks = is_label.any(1), is_label.byte().argmax(1)
        label = torch.where(emits, best.gather(1, blanks[:, None])[:, 0], BLANK)
        blanks = torch.where(emits, blanks, _WINDOW)
        emitted = torch.where(blanks > 0, 0, emitted) + emits
        left = emitted == most
        frame = frame + blanks + left
        emitted = emitted.masked_fill(left, 0)
        if bool(emits.any()):
            steps.append(label)
            stepped, after = recogniser.decoder.step(label, state)
            decoder = torch.where(emits[:, None], stepped, decoder)
            state = _choose(emits, after, state)
    if not steps:
        return [[] for _ in range(B)]
    return [[x for x in row if x != BLANK] for row in torch.stack(steps, 1).tolist()]


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
