import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from codert.data.audio import AudioError, read_audio, seconds_of
from codert.errors import InputError


def test_channels_are_averaged(tmp_path: Path) -> None:
    samples = np.stack([np.full(800, 0.5), np.full(800, -0.25)], axis=1)
    soundfile.write(tmp_path / "a.wav", samples, 16000)
    read = read_audio(tmp_path / "a.wav")
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, np.full(800, 0.125), atol=1e-4)


def test_a_name_need_not_be_utf8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    soundfile.write(os.fsencode(path), np.full(800, 0.5), 16000)
    assert len(read_audio(path)) == 800
    assert seconds_of(path) == 0.05


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_other_rates_keep_the_tone(tmp_path: Path, rate: int) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)
    soundfile.write(tmp_path / "a.wav", tone, rate)
    read = read_audio(tmp_path / "a.wav", 16000)
    assert len(read) == 16000
    assert np.abs(np.fft.rfft(read)).argmax() == 1000
    assert np.abs(read).max() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.wav", "none.wav: no such file"),
        ("text.wav", "text.wav: not readable as audio"),
        ("zero.wav", "zero.wav: not readable as audio"),
        ("empty.wav", "empty.wav: holds no samples"),
        ("nan.wav", "nan.wav: holds samples that are not finite"),
        ("loud.wav", r"loud.wav: samples up to 1e\+38, far outside of -1 to 1; scale them"),
        ("endless.flac", "endless.flac: its header does not say how long it is; convert it"),
        ("headless.raw", "headless.raw: not readable as audio"),
        ("a" * 300, "not readable as audio: .*File name too long"),
    ],
)
def test_what_is_not_audio(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "text.wav").write_text("hello")
    (tmp_path / "zero.wav").touch()
    (tmp_path / "headless.raw").write_bytes(bytes(800))
    soundfile.write(tmp_path / "endless.flac", np.zeros(800), 16000)
    header = bytearray((tmp_path / "endless.flac").read_bytes())
    header[21] &= 0xF0  # the number of samples is the last 36 bits of bytes 18 to 25
    header[22:26] = bytes(4)
    (tmp_path / "endless.flac").write_bytes(header)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16000)
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 16000, subtype="FLOAT")
    # Finite, and kaldi's sums of its squares are not.
    loud = np.random.default_rng(0).uniform(-1, 1, 800)
    soundfile.write(tmp_path / "loud.wav", 1e38 * loud / np.abs(loud).max(), 16000, "FLOAT")
    with pytest.raises(AudioError, match=message) as caught:
        read_audio(tmp_path / name)
    assert isinstance(caught.value, InputError)
