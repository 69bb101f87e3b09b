"""From audio to words."""

from codert.decoding.greedy import ctc_greedy, greedy

__all__ = ["ctc_greedy", "greedy"]
