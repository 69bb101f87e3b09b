"""Greedy decoding, batched over utterances.

Shapes: B batch, T frames, V symbols.
"""

import torch
from torch import Tensor

from codert.lattice import BLANK
from codert.models.predictor import State
from codert.models.recogniser import Encoded, Recogniser

# Frames that are looked through at once for the next label; speech has one in every five or six
# frames of 40 ms. Of 4 to 64, this was the fastest at all batch sizes.
_WINDOW = 16


@torch.no_grad()
def greedy(recogniser: Recogniser, encoded: Encoded, most: int = 10) -> list[list[int]]:
    """The likeliest symbol at each cell on the way, blank moving to the next frame.

    The loop is over labels, not frames: until a label comes the predictor's output stays as it
    is, so several frames are looked through at once (Bataev et al., 2024, arXiv 2406.06220).
    Each utterance has a place of its own in its lattice and all move together.

    Args:
        recogniser: in inference mode.
        encoded: its encoder's output.
        most: labels per frame; then the frame is left whatever the joint says.

    Returns:
        Labels of each utterance, without blanks.
    """
    joint, lengths = encoded.joint, encoded.lengths.tolist()
    B, T, device = len(lengths), joint.shape[1], joint.device
    hypotheses: list[list[int]] = [[] for _ in range(B)]
    frame, emitted = [0] * B, [0] * B  # the latter at this frame
    rows = torch.arange(B, device=device)[:, None]
    window = torch.arange(_WINDOW, device=device)
    decoder, state = recogniser.decoder.step(
        torch.full((B,), BLANK, device=device),
        recogniser.decoder.predictor.initial_state(B, device),
    )
    while most and any(t < length for t, length in zip(frame, lengths, strict=True)):
        frames = torch.tensor(frame, device=device)[:, None] + window
        cells = joint[rows, frames.clamp_max_(T - 1)]
        best = recogniser.joint.logits(cells, decoder[:, None]).argmax(-1).tolist()
        labels = [BLANK] * B
        for b, symbols in enumerate(best):
            ahead = symbols[: max(0, lengths[b] - frame[b])]
            blanks = next((i for i, x in enumerate(ahead) if x != BLANK), len(ahead))
            if blanks:
                frame[b], emitted[b] = frame[b] + blanks, 0
            if blanks < len(ahead):
                labels[b] = ahead[blanks]
                hypotheses[b].append(labels[b])
                emitted[b] += 1
                if emitted[b] == most:
                    frame[b], emitted[b] = frame[b] + 1, 0
        if any(labels):
            label = torch.tensor(labels, device=device)
            stepped, after = recogniser.decoder.step(label, state)
            if BLANK in labels:
                emits = label != BLANK
                stepped = torch.where(emits[:, None], stepped, decoder)
                after = _choose(emits, after, state)
            decoder, state = stepped, after
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
