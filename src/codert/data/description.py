"""What a corpus teaches to understand, in words for people: a line beside its manifest."""

from collections.abc import Iterable
from pathlib import Path

from codert.errors import InputError
from codert.files import write_text

_FILE = "understands.txt"


def describe(folder: Path, text: str) -> None:
    """Say what the manifests in a folder teach to understand.

    Raises:
        InputError: the folder cannot be written to.
    """
    write_text(folder / _FILE, f"{text}\n")


def description(manifests: Iterable[Path]) -> str:
    """What is said beside some manifests; where nothing is, that it is as they are."""
    return said_beside(manifests) or "speech like that of its training data"


def said_beside(manifests: Iterable[Path]) -> str:
    """What is said beside some manifests; empty where nothing is.

    Raises:
        InputError: it is not UTF-8.
    """
    files = dict.fromkeys(manifest.absolute().parent / _FILE for manifest in manifests)
    said = [_said(file) for file in files if file.is_file()]
    return "; ".join(text for text in said if text)


def _said(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise InputError(f"{file}: not UTF-8; save the file as UTF-8") from None
