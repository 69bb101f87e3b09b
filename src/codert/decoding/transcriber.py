"""A recogniser with all that it needs to write down what it hears."""

from dataclasses import dataclass
from pathlib import Path

import torch

from codert.config import build
from codert.data.audio import Samples, in_file, read_audio
from codert.data.features import Fbank, FeatureConfig
from codert.data.text import normalise
from codert.data.wordpieces import WordPieces
from codert.decoding.decode import decode
from codert.errors import InputError
from codert.models.folder import CONFIG, WORDPIECES, Card, load_recogniser
from codert.models.recogniser import Recogniser


@dataclass(frozen=True)
class Transcriber:
    """What the folder of a recogniser holds.

    Attributes:
        recogniser: in inference mode.
        card: what there is to know about it.
        features: that it hears.
        wordpieces: that it writes.
    """

    recogniser: Recogniser
    card: Card
    features: FeatureConfig
    wordpieces: WordPieces

    @classmethod
    def load(cls, folder: Path) -> "Transcriber":
        """Read a recogniser's folder.

        Raises:
            InputError: it is not one, or its files do not belong together.
        """
        recogniser, card = load_recogniser(folder)
        features = build(FeatureConfig, card.features, str(folder / CONFIG), "features")
        pieces = WordPieces.load(folder / WORDPIECES)
        if len(pieces) != card.symbols:
            raise InputError(
                f"{folder / WORDPIECES}: has {len(pieces)} word-pieces and the recogniser "
                f"{card.symbols}; bring back the file that it was trained with"
            )
        return cls(recogniser, card, features, pieces)

    def transcribe(self, audio: Path, beam: int = 1) -> str:
        """The words of a recording in any format and at any rate that soundfile reads.

        Raises:
            AudioError: it cannot be read, or holds no speech to speak of.
        """
        samples = read_audio(audio, self.features.rate)
        with in_file(audio):
            return self.words(samples, beam)

    @torch.no_grad()
    def words(self, samples: Samples, beam: int = 1) -> str:
        """The words in samples (N,) at the rate of its features, by a beam of some width.

        Raises:
            AudioError: they are too few, or no levels.
        """
        features = torch.from_numpy(Fbank(self.features)(samples))
        encoded = self.recogniser.encode(features[None], torch.tensor([len(features)]))
        return normalise(self.wordpieces.decode(decode(self.recogniser, encoded, beam)[0]))
