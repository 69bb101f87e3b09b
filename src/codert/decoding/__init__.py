"""From audio to words."""

from codert.decoding.beam import Hypothesis, beam_search
from codert.decoding.decode import decode
from codert.decoding.greedy import ctc_greedy, greedy

__all__ = ["Hypothesis", "beam_search", "ctc_greedy", "decode", "greedy"]
