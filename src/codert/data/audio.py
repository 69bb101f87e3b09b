"""Recordings as samples."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
import soxr

from codert.errors import InputError

_LONGEST = 1e5  # seconds; a header that says more was never completed
_LOUDEST = 1e10  # whole numbers of 32 bits are heard; squares of what is far beyond overflow

Samples = np.ndarray[tuple[int], np.dtype[np.float32]]


class AudioError(InputError):
    """A recording that cannot be used."""


def read_audio(path: Path, rate: int = 16000) -> Samples:
    """The samples (N,) of a recording in +-1: channels averaged, resampled to `rate` Hz.

    Raises:
        AudioError: the file is missing, not audio, empty, or holds no levels (`check_levels`).
    """
    try:
        if not path.is_file():
            raise AudioError(f"{path}: {'a folder' if path.is_dir() else 'no such file'}")
        with _opened(path) as file:
            if not _is_complete(file):
                raise AudioError(f"{path}: its header does not say how long it is; convert it")
            own_rate = file.samplerate
            channels = file.read(dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, TypeError, MemoryError) as error:
        # Of .raw files it is a TypeError.
        raise AudioError(f"{path}: not readable as audio: {error}") from None
    samples: Samples = channels[:, 0] if channels.shape[1] == 1 else channels.mean(axis=1)
    if len(samples) == 0:
        raise AudioError(f"{path}: holds no samples")
    with in_file(path):
        check_levels(samples)
    return resampled(samples, own_rate, rate)


def check_levels(samples: Samples) -> None:
    """Raises AudioError where samples (N,) are not finite, or far outside of +-1."""
    loudest = np.abs(samples).max()
    if not np.isfinite(loudest):
        raise AudioError("holds samples that are not finite")
    if loudest > _LOUDEST:
        raise AudioError(f"samples up to {loudest:.3g}, far outside of -1 to 1; scale them")


@contextmanager
def in_file(path: Path) -> Iterator[None]:
    """Inside, an AudioError names the file."""
    try:
        yield
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from None


def _opened(path: Path) -> soundfile.SoundFile:
    """A recording whose name need not be UTF-8; raises what soundfile raises."""
    return soundfile.SoundFile(os.fsencode(path))


def seconds_of(path: Path) -> float:
    """How long a recording is by its header, which may leave it out: then 0.

    Raises:
        SoundFileError: the header is unreadable, or a TypeError where the file has none.
    """
    with _opened(path) as file:
        return file.frames / file.samplerate if _is_complete(file) else 0.0


def _is_complete(file: soundfile.SoundFile) -> bool:
    """Whether the header says how long it is."""
    return bool(file.frames <= _LONGEST * file.samplerate)


def resampled(samples: Samples, rate: float, new_rate: float) -> Samples:
    """`samples` (N,) recorded at `rate` Hz as (N * new_rate / rate,) at `new_rate` Hz."""
    if rate == new_rate:
        return samples
    result: Samples = soxr.resample(samples, rate, new_rate)
    return result
