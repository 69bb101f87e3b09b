import kaldi_native_fbank as kaldi
import numpy as np
import pytest

from codert.data.audio import AudioError, Samples
from codert.data.features import Fbank, FeatureConfig, Features, even_sample, mean_and_deviation


def tone(hertz: float, seconds: float) -> Samples:
    time = np.arange(round(16000 * seconds), dtype=np.float32) / 16000
    return np.sin(2 * np.pi * hertz * time, dtype=np.float32) * np.float32(0.3)


def reference(samples: Samples, mels: int) -> Features:
    """Kaldi's filter bank written down once more, in numpy."""
    edges = np.pad(samples.astype(np.float64), 512, mode="symmetric")
    frames = round(len(samples) / 160)
    starts = 512 + 160 * np.arange(frames) + 80 - 200
    windows = np.stack([edges[start : start + 400] for start in starts])
    windows -= windows.mean(axis=1, keepdims=True)
    windows -= 0.97 * np.concatenate([windows[:, :1], windows[:, :-1]], axis=1)
    windows *= (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85
    power = np.abs(np.fft.rfft(windows, 512)) ** 2

    mel = 1127 * np.log(1 + np.array([20.0, 7600.0, *np.arange(257) * 16000 / 512]) / 700)
    points, bins = np.linspace(mel[0], mel[1], mels + 2), mel[2:]
    rise = (bins - points[:-2, None]) / (points[1:-1] - points[:-2])[:, None]
    fall = (points[2:, None] - bins) / (points[2:] - points[1:-1])[:, None]
    weights = np.maximum(0, np.minimum(rise, fall))
    features: Features = np.log(power @ weights.T).astype(np.float32)
    return features


def test_they_are_kaldis() -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 16000).astype(np.float32)
    samples += tone(700, 1.0)
    features = Fbank(FeatureConfig())(samples)
    assert features.shape == (100, 80)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, reference(samples, 80), atol=2e-3)


def test_a_higher_tone_is_in_a_higher_band() -> None:
    fbank = Fbank(FeatureConfig(mels=40))
    bands = [int(fbank(tone(hertz, 0.5)).mean(axis=0).argmax()) for hertz in (200, 800, 3000)]
    assert bands == sorted(bands)
    assert len(set(bands)) == 3


def test_frames_of_a_length_are_foreseen() -> None:
    config = FeatureConfig(shift_ms=12.5)
    assert len(Fbank(config)(tone(500, 1.0))) == config.frames(1.0) == 80


def test_audio_shorter_than_a_window() -> None:
    with pytest.raises(AudioError, match=r"20\.0 ms of audio; one window takes 25 ms"):
        Fbank(FeatureConfig())(tone(500, 0.02))


@pytest.mark.parametrize(
    ("scale", "message"),
    [(1e25, r"^samples up to 3e\+24, far outside of -1 to 1"), (np.nan, "^holds .* not finite$")],
)
def test_audio_without_levels(scale: float, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        Fbank(FeatureConfig())(tone(500, 0.1) * np.float32(scale))


@pytest.mark.parametrize("piece", [1, 399, 4096])
def test_pieces_give_the_features_of_the_whole(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 9999).astype(np.float32)
    whole = Fbank(FeatureConfig())(samples)
    given: list[int] = []

    class Told(kaldi.OnlineFbank):  # type: ignore[misc]
        def accept_waveform(self, rate: float, waveform: list[float]) -> None:
            given.append(len(waveform))
            super().accept_waveform(rate, waveform)

    fbank = Fbank(FeatureConfig())
    monkeypatch.setattr("codert.data.features._PIECE", piece)
    monkeypatch.setattr(kaldi, "OnlineFbank", Told)
    np.testing.assert_array_equal(fbank(samples), whole)
    assert sum(given) == 9999
    assert max(given) == piece


def test_configurations_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="above 0"):
        FeatureConfig(mels=0)


def test_mean_and_deviation_are_over_all_frames() -> None:
    rng = np.random.default_rng(1)
    parts = [rng.normal(3, 2, (n, 4)).astype(np.float32) for n in (5, 70, 1)]
    mean, deviation = mean_and_deviation(parts)
    np.testing.assert_allclose(mean, np.concatenate(parts).mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(deviation, np.concatenate(parts).std(axis=0), rtol=1e-5)


def test_a_constant_band_can_be_divided_by_its_deviation() -> None:
    assert mean_and_deviation([np.ones((9, 2), np.float32)])[1].min() > 0


def test_no_frames_have_no_mean() -> None:
    with pytest.raises(AudioError, match="none of the recordings"):
        mean_and_deviation([])


def test_the_sample_does_not_depend_on_the_order() -> None:
    ids = [f"{n:05}" for n in range(1234)]
    assert even_sample(ids) == even_sample(ids[::-1])
    assert 100 < len(even_sample(ids)) <= 500
    assert even_sample(ids[:7]) == ids[:7]
