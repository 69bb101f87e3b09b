from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from codert.data.manifest import Utterance
from codert.data.wordpieces import WordPieceConfig, WordPieces

TEXTS = ("SEVEN DOGS", "NINE CATS AND A DOG", "SAD EGGS", "AN OCEAN", "GATES AND DOTS", "VAN")

MakeUtterance = Callable[..., Utterance]


@pytest.fixture
def make_utterance(tmp_path: Path) -> MakeUtterance:
    """Utterances of noise, one after the other, in `tmp_path`."""
    made: list[Utterance] = []

    def make(seconds: float = 0.5, text: str | None = None, split: str = "train") -> Utterance:
        number = len(made)
        audio = tmp_path / f"u{number}.wav"
        samples = np.random.default_rng(number).uniform(-0.5, 0.5, round(seconds * 16000))
        soundfile.write(audio, samples, 16000)
        text = TEXTS[number % len(TEXTS)] if text is None else text
        made.append(Utterance(f"u{number}", audio, text, f"s{number % 3}", split, seconds))
        return made[-1]

    return make


@pytest.fixture(scope="session")
def pieces() -> WordPieces:
    return WordPieces.train(TEXTS, WordPieceConfig(size=18))
