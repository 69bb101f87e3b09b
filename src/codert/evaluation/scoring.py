"""Word and character errors of utterances, counted by Levenshtein distance.

Texts are compared as they come: normalise both sides before.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kaldialign import align, edit_distance

from codert.errors import InputError


@dataclass(frozen=True)
class UtteranceScore:
    """One utterance, what was recognised, and how far that is from what was said.

    Attributes:
        id: the utterance's.
        speaker: who said it.
        reference: what was said.
        hypothesis: what was recognised.
        errors: words substituted, deleted and inserted.
        words: words of the reference.
        character_errors: likewise for characters, spaces included.
        characters: characters of the reference, spaces included.
    """

    id: str
    speaker: str
    reference: str
    hypothesis: str
    errors: int
    words: int
    character_errors: int
    characters: int


class Kinds(NamedTuple):
    """Words that were taken for others, not heard, and made up, in percent of those said."""

    substituted: float
    deleted: float
    inserted: float


def score(id: str, speaker: str, reference: str, hypothesis: str) -> UtteranceScore:
    """Count the errors of one utterance; words are what whitespace separates."""
    said, heard = reference.split(), hypothesis.split()
    said_text, heard_text = " ".join(said), " ".join(heard)
    return UtteranceScore(
        id=id,
        speaker=speaker,
        reference=reference,
        hypothesis=hypothesis,
        errors=_distance(said, heard),
        words=len(said),
        character_errors=_distance(said_text, heard_text),
        characters=len(said_text),
    )


def wer(scores: Iterable[UtteranceScore]) -> float:
    """The word error rate of all utterances together, in percent.

    Raises:
        InputError: the references have no words.
    """
    return _rate(((s.errors, s.words) for s in scores), "words")


def cer(scores: Iterable[UtteranceScore]) -> float:
    """The character error rate of all utterances together, in percent.

    Raises:
        InputError: the references have no characters.
    """
    return _rate(((s.character_errors, s.characters) for s in scores), "characters")


def kinds(scores: Iterable[UtteranceScore]) -> Kinds:
    """Of which kinds the word errors of all utterances together are.

    Raises:
        InputError: the references have no words.
    """
    scores = list(scores)
    found = [edit_distance(s.reference.split(), s.hypothesis.split()) for s in scores]

    def rate(kind: str) -> float:
        counts = ((int(each[kind]), s.words) for each, s in zip(found, scores, strict=True))
        return _rate(counts, "words")

    return Kinds(rate("sub"), rate("del"), rate("ins"))


def alignment(reference: str, hypothesis: str) -> list[tuple[str, str]]:
    """Pairs of a word said and the word recognised for it, "" where there is none."""
    pairs: list[tuple[str, str]] = align(reference.split(), hypothesis.split(), "")
    return pairs


def _distance(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    return int(edit_distance(reference, hypothesis)["total"])


def _rate(counts: Iterable[tuple[int, int]], unit: str) -> float:
    errors = total = 0
    for wrong, size in counts:
        errors += wrong
        total += size
    if not total:
        raise InputError(f"the references have no {unit}; score utterances in which some are said")
    return 100 * errors / total
