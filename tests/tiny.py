"""A tiny corpus of tones, one for each letter, and tiny recognisers that learn from it."""

from pathlib import Path

import numpy as np

from codert.learning.plan import Plan
from codert.learning.recipe import read_plan

RATE = 16000
TINY = """
models:
  small: {encoder: {kind: lstm, channels: 8, strides: [2, 2], layers: 1, width: 8, dropout: 0.1},
          predictor: {kind: stateless, context: 2, width: 8, dropout: 0.2}}
  large: {encoder: {kind: lstm, channels: 12, strides: [2, 2], layers: 2, width: 16, dropout: 0.1},
          predictor: {kind: stateless, context: 2, width: 8, dropout: 0.2}}
wordpieces: {size: 9}
edge: {match: encoder_logits}
data: {batch_seconds: 4}
training: {epochs: 2, checkpoint_every: 0}
"""
RECIPES = Path(__file__).parents[1] / "recipes"


def spoken(text: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """A tone of 0.12 s for each letter, and silence for a space."""
    time = np.arange(int(0.12 * RATE)) / RATE
    tones = [
        0.0 * time if letter == " " else 0.3 * np.sin(2 * np.pi * 300 * (ord(letter) - 60) * time)
        for letter in f" {text} "
    ]
    return np.concatenate(tones)


def tiny_plan(name: str, settings: Path, **over: object) -> Plan:
    """A recipe of the repository with tiny models."""
    return read_plan(RECIPES / f"{name}.yaml", settings, dict(over))
