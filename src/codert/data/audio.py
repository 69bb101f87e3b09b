"""Recordings as samples."""

from pathlib import Path

import numpy as np
import soundfile
import soxr

from codert.errors import InputError

Samples = np.ndarray[tuple[int], np.dtype[np.float32]]


class AudioError(InputError):
    """A recording that cannot be used."""


def read_audio(path: Path, rate: int = 16000) -> Samples:
    """The samples (N,) of a recording in +-1: channels averaged, resampled to `rate` Hz.

    Raises:
        AudioError: the file is missing, not audio, empty, or holds values that are not finite.
    """
    try:
        if not path.is_file():
            raise AudioError(f"{path}: {'a folder' if path.is_dir() else 'no such file'}")
        channels, own_rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, TypeError) as error:  # of .raw files, a TypeError
        raise AudioError(f"{path}: not readable as audio: {error}") from None
    samples: Samples = channels[:, 0] if channels.shape[1] == 1 else channels.mean(axis=1)
    if len(samples) == 0:
        raise AudioError(f"{path}: holds no samples")
    if not np.isfinite(samples).all():
        raise AudioError(f"{path}: holds samples that are not finite")
    return resampled(samples, own_rate, rate)


def resampled(samples: Samples, rate: float, new_rate: float) -> Samples:
    """`samples` (N,) recorded at `rate` Hz as (N * new_rate / rate,) at `new_rate` Hz."""
    if rate == new_rate:
        return samples
    result: Samples = soxr.resample(samples, rate, new_rate)
    return result
