"""Log-mel filter banks, the same as the devices of sherpa-onnx compute."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import kaldi_native_fbank as kaldi
import numpy as np

from codert.data.audio import AudioError, Samples, check_levels

Features = np.ndarray[tuple[int, int], np.dtype[np.float32]]
Vector = np.ndarray[tuple[int], np.dtype[np.float32]]

_PIECE = 1 << 20  # samples that kaldi is given at a time: a minute at 16 kHz
_SAMPLE = 500  # utterances that the mean and the deviation are taken of


@dataclass(frozen=True)
class FeatureConfig:
    """What the recogniser hears: mel bands, sampling rate in Hz, windows in milliseconds.

    A `high_frequency` of zero or less, in Hz, counts from half the sampling rate.
    """

    mels: int = 80
    rate: int = 16000
    window_ms: float = 25.0
    shift_ms: float = 10.0
    high_frequency: float = -400.0

    def __post_init__(self) -> None:
        """Refuse what no filter bank can be made of."""
        if min(self.mels, self.rate, self.window_ms, self.shift_ms) <= 0:
            raise ValueError("mels, rate, window_ms and shift_ms must be above 0")
        if self.shift_ms * self.rate < 1000:
            raise ValueError("shift_ms is less than a sample; write a longer one")
        try:
            kaldi.OnlineFbank(_options(self))
        except ValueError as error:
            raise ValueError(
                f"kaldi has no filter bank of these mels, rate, window_ms and high_frequency: "
                f"{str(error).rstrip('.')}; write 3 mels or more, fewer for a shorter window, "
                "and a high_frequency between 20 and half the rate"
            ) from None

    def frames(self, seconds: float) -> int:
        """The number of frames that so much audio gives."""
        return round(seconds * 1000 / self.shift_ms)


def _options(config: FeatureConfig) -> kaldi.FbankOptions:
    options = kaldi.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = False
    options.frame_opts.samp_freq = config.rate
    options.frame_opts.frame_length_ms = config.window_ms
    options.frame_opts.frame_shift_ms = config.shift_ms
    options.mel_opts.num_bins = config.mels
    options.mel_opts.low_freq = 20.0
    options.mel_opts.high_freq = config.high_frequency
    return options


class Fbank:
    """Kaldi's filter bank on samples in +-1."""

    def __init__(self, config: FeatureConfig) -> None:
        """Make the windows and the bands that `config` asks for."""
        self.config = config
        self._options = _options(config)

    def __call__(self, samples: Samples) -> Features:
        """The log-mel energies (T, mels) of `samples` (N,).

        Raises:
            AudioError: the audio is shorter than one window, or holds no levels
                (`check_levels`).
        """
        milliseconds = 1000 * len(samples) / self.config.rate
        if milliseconds < self.config.window_ms:
            raise AudioError(
                f"{milliseconds:.1f} ms of audio; one window takes {self.config.window_ms:g} ms"
            )
        check_levels(samples)
        fbank = kaldi.OnlineFbank(self._options)
        # As lists, which are twice as fast as the array and take eight times its memory.
        for start in range(0, len(samples), _PIECE):
            fbank.accept_waveform(self.config.rate, samples[start : start + _PIECE].tolist())
        fbank.input_finished()
        return np.stack([fbank.get_frame(i) for i in range(fbank.num_frames_ready)])


def even_sample(ids: Sequence[str]) -> Sequence[str]:
    """At most 500 of `ids`, evenly spread in sorted order."""
    return sorted(ids)[:: len(ids) // _SAMPLE + 1]


def mean_and_deviation(features: Iterable[Features]) -> tuple[Vector, Vector]:
    """The mean and the standard deviation (mels,) over the frames of all `features` (T, mels).

    Raises:
        AudioError: there are no frames.
    """
    frames, total, squares = 0, np.zeros(()), np.zeros(())
    for each in features:
        exact = each.astype(np.float64)
        frames += len(exact)
        total = total + exact.sum(axis=0)
        squares = squares + np.square(exact).sum(axis=0)
    if not frames:
        raise AudioError("no features to take a mean of: none of the recordings can be read")
    mean = total / frames
    # A band that never moves must not be divided by zero.
    deviation = np.sqrt(np.maximum(squares / frames - np.square(mean), 1e-6))
    return mean.astype(np.float32), deviation.astype(np.float32)
