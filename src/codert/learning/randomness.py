"""Random streams of their own for each recogniser and each step.

A stream is named, not carried along: its numbers are a function of the seed and of the words
that name it. So a recogniser draws the same numbers whoever else is trained beside it, and a
resumed run needs no stored state.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def stream(*name: object) -> Iterator[None]:
    """Inside, torch draws from the stream of that name; outside, as if nothing had happened."""
    digest = hashlib.sha256(repr(name).encode()).digest()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        yield
