"""What was said, by the search that was asked for."""

from codert.decoding.beam import beam_search
from codert.decoding.greedy import greedy
from codert.models.recogniser import Encoded, Recogniser


def decode(recogniser: Recogniser, encoded: Encoded, beam: int = 1) -> list[list[int]]:
    """The labels of each utterance: greedily, or the likeliest that a wider beam finds.

    Args:
        recogniser: in inference mode.
        encoded: its encoder's output.
        beam: the search's width.

    Raises:
        ValueError: the width is below 1.
    """
    if beam == 1:
        return greedy(recogniser, encoded)
    return [list(found[0].labels) for found in beam_search(recogniser, encoded, beam)]
