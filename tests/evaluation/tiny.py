"""Recognisers whose transcripts are known beforehand, and systems whose scores are."""

from collections.abc import Mapping
from pathlib import Path

import torch

from codert.config import plain
from codert.data.features import FeatureConfig
from codert.data.wordpieces import WordPieceConfig, WordPieces
from codert.evaluation.scoring import score
from codert.evaluation.systems import System
from codert.lattice import BLANK
from codert.models.encoder import LSTMEncoderConfig
from codert.models.folder import WORDPIECES, Card, save_recogniser
from codert.models.predictor import StatelessPredictorConfig
from codert.models.recogniser import Recogniser, RecogniserConfig

# How likely a letter is after another; a blank is "", and all else shares what is left. Greedily
# it is AB, although its last letter and each blank behind it are unlikely; so a beam finds CD.
AB_OR_CD = {"": {"A": 0.5, "C": 0.4}, "A": {"B": 0.3}, "B": {"": 0.3}, "C": {"D": 1.0}}
CD = {"": {"C": 1.0}, "C": {"D": 1.0}}


def scribe(folder: Path, after: Mapping[str, Mapping[str, float]], ctc: str = "E") -> Path:
    """A recogniser of the letters A to E that writes the same whatever it hears.

    A letter of which `after` says nothing is the last, and `ctc` is what its encoder says at
    every frame.
    """
    pieces = WordPieces.train(["AB CD E"], WordPieceConfig(size=8))
    ids = {"": BLANK} | {piece: i for i, piece in enumerate(pieces.symbols)}
    V = len(pieces)
    likely = torch.zeros(V, V)
    for last, row in enumerate(likely):
        letter = "" if last == BLANK else pieces.symbols[last]
        known = after.get(letter, {"": 1.0})
        row[:] = max(1e-9, 1 - sum(known.values())) / (V - len(known))
        for following, p in known.items():
            row[ids[following]] = p

    config = RecogniserConfig(
        LSTMEncoderConfig(channels=4, layers=1, width=4),
        StatelessPredictorConfig(context=1, width=V),
    )
    features = FeatureConfig(mels=20)
    recogniser = Recogniser.build(config, features.mels, V)
    encoder, decoder = recogniser.encoder.projection, recogniser.decoder
    weights = dict(decoder.predictor.named_parameters())
    with torch.no_grad():
        encoder.weight.zero_()
        encoder.bias.zero_()[ids[ctc]] = 1
        weights["embedding.weight"].copy_(torch.eye(V))
        weights["mix.weight"].copy_(torch.eye(V))
        weights["mix.bias"].zero_()
        decoder.projection.weight.copy_((likely.log() - encoder.bias).T)
    card = Card(config, V, plain(features), "student", "alone", "whatever")
    save_recogniser(folder, recogniser, card)
    pieces.save(folder / WORDPIECES)
    return folder


def system(name: str, scores: Mapping[str, tuple[str, str]]) -> System:
    """Of what was said and what was recognised, by id; each by a speaker of its own."""
    card = Card(RecogniserConfig(), 9, {}, "student", "alone", "whatever")
    scored = [score(id, id, *pair) for id, pair in sorted(scores.items())]
    return System(Path(name), card, 1, 2, scored, [])
