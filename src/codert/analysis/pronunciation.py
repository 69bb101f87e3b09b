"""How word-pieces are pronounced, from the words that they occur in.

espeak-ng gives the phones of whole words. Which of them belong to which piece of a word is found
by expectation maximisation over all cuts of the phones into one stretch for each piece, in order
(a model of P(stretch | piece)). A piece that is a word by itself has all phones of that word. So a
letter that is spelled is pronounced as its name where that is how the texts use it most.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from codert.data.commands.espeak import Engine
from codert.data.wordpieces import UNKNOWN, WordPieces

Phones = tuple[str, ...]

# The commonest words are aligned; rarer ones add little and cost time.
_MOST_WORDS = 2000
_ITERATIONS = 6
# How much the guess about a stretch's length weighs, in words seen.
_TRUST = 1.0
_INVENTORY = 40  # phones of a language, about
_LONGEST = 4  # phones of a piece of a longer word


@dataclass(frozen=True)
class Word:
    """A word of the texts.

    Attributes:
        pieces: its pieces.
        phones: its pronunciation.
        count: how often it occurs.
    """

    pieces: tuple[int, ...]
    phones: Phones
    count: int


def pronunciations(texts: Iterable[str], pieces: WordPieces, voice: str) -> dict[int, Phones]:
    """How each piece of normalised texts is pronounced most often; silent ones are left out.

    Args:
        texts: what is said.
        pieces: that they are written in.
        voice: espeak-ng's, such as `en-us`; it decides the language.

    Raises:
        InputError: the extra `commands` is not installed, or there is no such voice.
    """
    counts = Counter(word for text in texts for word in text.split())
    with Engine() as engine:
        words = [
            Word(tuple(pieces.encode(word)), tuple(engine.phones(word.lower(), voice)), count)
            for word, count in counts.most_common(_MOST_WORDS)
        ]
    letters = {i: len(symbol.replace("▁", "")) for i, symbol in enumerate(pieces.symbols)}
    return align([word for word in words if UNKNOWN not in word.pieces], letters)


def align(words: Sequence[Word], letters: Mapping[int, int]) -> dict[int, Phones]:
    """The commonest stretch of phones of each piece, unless it is empty.

    Args:
        words: with pieces and phones.
        letters: of each piece; a stretch of about as many phones is expected at first.
    """
    words = [word for word in words if word.phones and word.pieces]
    counts: dict[int, Counter[Phones]] = defaultdict(Counter)
    for _ in range(_ITERATIONS):
        model = _Model(counts, letters)
        counts = defaultdict(Counter)
        for word in words:
            for piece, stretch, share in _shares(word, model):
                counts[piece][stretch] += share * word.count  # type: ignore[assignment]
    # Of equally common ones the first by spelling, whatever the order of the words.
    best = {
        piece: min(stretches, key=lambda s: (-stretches[s], s))
        for piece, stretches in counts.items()
    }
    return {piece: stretch for piece, stretch in sorted(best.items()) if stretch}


class _Model:
    """P(stretch | piece): shares of those seen, on top of a guess by length alone."""

    def __init__(self, counts: Mapping[int, Counter[Phones]], letters: Mapping[int, int]) -> None:
        self._counts, self._letters = counts, letters
        self._totals = {piece: sum(seen.values()) for piece, seen in counts.items()}

    def __call__(self, piece: int, stretch: Phones) -> float:
        surplus = abs(len(stretch) - self._letters[piece])
        guess = _TRUST * np.exp(-surplus) / _INVENTORY ** len(stretch)
        seen = self._counts[piece][stretch] if piece in self._counts else 0
        return float((seen + guess) / (self._totals.get(piece, 0) + _TRUST))


def _shares(word: Word, model: _Model) -> Iterable[tuple[int, Phones, float]]:
    """Pieces, stretches and how likely each piece of the word has that stretch."""
    pieces, phones = word.pieces, word.phones
    n, m = len(pieces), len(phones)
    longest = max(_LONGEST, m - _LONGEST * (n - 1))  # long enough that there is a cut
    scores = {
        (i, j, k): model(piece, phones[j:k])
        for i, piece in enumerate(pieces)
        for j in range(m + 1)
        for k in range(j, min(m, j + longest) + 1)
    }
    forward, backward = np.zeros((n + 1, m + 1)), np.zeros((n + 1, m + 1))
    forward[0, 0] = backward[n, m] = 1
    for (i, j, k), p in scores.items():
        forward[i + 1, k] += forward[i, j] * p
    for (i, j, k), p in reversed(scores.items()):
        backward[i, j] += p * backward[i + 1, k]
    for (i, j, k), p in scores.items():
        share = forward[i, j] * p * backward[i + 1, k] / forward[n, m]
        if share > 0:
            yield pieces[i], phones[j:k], share
