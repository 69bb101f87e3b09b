import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codert.data.augmentation import Noise, SpecAugment


def test_masks_hold_the_mean_and_the_rest_stays() -> None:
    features = np.random.default_rng(0).normal(size=(60, 20)).astype(np.float32)
    before = features.copy()
    masked = SpecAugment(2, 10, 1, 5)(features, np.random.default_rng(3))
    np.testing.assert_array_equal(features, before)
    changed = masked != features
    assert changed.any()
    np.testing.assert_array_equal(masked[changed], features.mean())
    whole = changed.all(axis=1)[:, None] | changed.all(axis=0)[None, :]
    np.testing.assert_array_equal(changed, whole)
    assert changed.all(axis=1).sum() <= 20
    assert changed.all(axis=0).sum() <= 5


@given(st.integers(1, 5), st.integers(0, 9), st.integers(0, 99))
def test_masks_fit_any_utterance(frames: int, width: int, seed: int) -> None:
    features = np.zeros((frames, 3), np.float32)
    masked = SpecAugment(1, width, 1, width)(features, np.random.default_rng(seed))
    assert masked.shape == features.shape


@given(st.floats(-5, 20), st.integers(1, 5000), st.integers(0, 99))
def test_noise_is_as_loud_as_asked(decibels: float, length: int, seed: int) -> None:
    samples = np.sin(np.arange(length, dtype=np.float32) + 1)
    added = Noise(decibels, decibels)(samples, np.random.default_rng(seed)) - samples
    ratio = 10 * np.log10(np.mean(samples**2) / np.mean(added**2))
    assert ratio == pytest.approx(decibels, abs=0.05)


def test_silence_stays_silent() -> None:
    quiet = Noise(5, 20)(np.zeros(100, np.float32), np.random.default_rng(0))
    np.testing.assert_array_equal(quiet, np.zeros(100))


def test_one_stream_gives_one_noise() -> None:
    samples = np.sin(np.arange(3000, dtype=np.float32))
    first, again = (Noise(5, 20)(samples, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, Noise(5, 20)(samples, np.random.default_rng(8)))
