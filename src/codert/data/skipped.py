"""Utterances that are left out, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

from codert.data.wordpieces import WordPieces
from codert.errors import InputError

_UNCOVERED = "no word-piece covers"


@dataclass(frozen=True)
class Skipped:
    """An utterance that is left out, and why."""

    id: str
    reason: str


def too_long(seconds: float, most: float) -> str | None:
    """Why so many seconds of audio are left out where `most` are allowed, or None."""
    return f"{seconds:.1f} s of audio; max_seconds is {most:g}" if seconds > most else None


def unusable_text(text: str, pieces: WordPieces, training: bool, untranscribed: bool) -> str | None:
    """Why a normalised text can be neither trained on nor scored by, or None.

    What is scored may have any characters; a training takes no text where it is `untranscribed`.
    """
    if not text and not training:
        return "no text"
    if not text and not untranscribed:
        return "no text; with data.untranscribed: true an edge teaches from it"
    if training and (character := pieces.uncovered(text)):
        return f"{_UNCOVERED} {character!r}"
    return None


def none_left(those: str, skipped: Sequence[Skipped]) -> InputError:
    """The error where all of `those` are left out."""
    why = f"; the last: {skipped[-1].reason}" if skipped else ""
    if _UNCOVERED in why:
        why += "; to train word-pieces on these texts, settings have wordpieces.size and "
        why += "neither wordpieces.model nor start"
    return InputError(f"none of {those} can be used{why}")
