"""How fast a recogniser is on the machine that it is measured on."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from codert.decoding.transcriber import Transcriber

_SECONDS = 5.0  # of audio
_ROUNDS = 5


def real_time_factor(transcriber: Transcriber) -> float:
    """Seconds of computing for a second of audio: features, encoder and greedy decoding.

    One thread decodes five seconds of noise by themselves, as one utterance. The fastest of five
    rounds counts: what else runs on a machine can only add to it.
    """
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 0.1, round(_SECONDS * transcriber.features.rate)).astype(np.float32)
    with _one_thread():
        transcriber.words(samples)  # the first is slower
        return min(_timed(transcriber, samples) for _ in range(_ROUNDS)) / _SECONDS


def _timed(
    transcriber: Transcriber, samples: np.ndarray[tuple[int], np.dtype[np.float32]]
) -> float:
    began = time.perf_counter()
    transcriber.words(samples)
    return time.perf_counter() - began


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
