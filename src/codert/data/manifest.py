"""Lists of utterances, as tab-separated values or JSON lines."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import soundfile

from codert.data.audio import seconds_of
from codert.errors import InputError
from codert.files import replacing

COLUMNS = ("id", "split", "speaker", "seconds", "audio", "text")
REQUIRED = ("id", "audio", "text")
# There may be others, which nothing is trained on or chosen by.
SPLITS = ("train", "dev", "test")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Utterance:
    """One recording and what is said in it; `seconds` is 0 where the header is unreadable."""

    id: str
    audio: Path
    text: str
    speaker: str
    split: str
    seconds: float


def read_manifest(path: Path) -> list[Utterance]:
    """The utterances of a manifest.

    A `.jsonl` file holds one JSON object a line; any other file holds tab-separated values
    under a header and knows no quoting. `id`, `audio` (relative to the manifest) and `text`
    are required; the speaker is the id, the split `train` and the seconds those of the
    audio's header unless they are given. What else there is, a manifest may keep for itself,
    under names that nobody takes for one of these.

    Raises:
        InputError: names the file, the line and the mend.
    """
    try:
        lines = path.read_text(encoding="utf-8").removeprefix("\ufeff").split("\n")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; write its name as seen from here") from None
    except IsADirectoryError:
        raise InputError(f"{path}: a folder; name the manifest in it") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: not UTF-8; save the file as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    rows = _json_rows if path.suffix == ".jsonl" else _tsv_rows
    folder = path.absolute().parent
    first: dict[str, int] = {}
    utterances = []
    for number, row in rows(path, [line.removesuffix("\r") for line in lines]):
        where = f"{path}, line {number}"
        utterance = _utterance(row, folder, where)
        if utterance.id in first:
            raise InputError(
                f"{where}: id {utterance.id!r} is also on line {first[utterance.id]}; "
                "give each utterance an id of its own"
            )
        first[utterance.id] = number
        utterances.append(utterance)
    if not utterances:
        raise InputError(f"{path}: lists no utterances; add a line for each recording")
    return utterances


def _tsv_rows(path: Path, lines: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    if not lines[0].strip():
        raise InputError(
            f"{path}, line 1: empty; write a header with tabs between {', '.join(COLUMNS)}"
        )
    header = lines[0].split("\t")
    _check_columns(header, f"{path}, line 1")
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        fields = line.split("\t")
        if len(fields) != len(header):
            raise InputError(
                f"{path}, line {number}: {len(fields)} fields where the header names "
                f"{len(header)}; put one tab between fields"
            )
        yield number, dict(zip(header, fields, strict=True))


def _json_rows(path: Path, lines: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: not JSON that can be read: {error}") from None
        if not isinstance(row, dict):
            raise InputError(f"{where}: write an object such as {{'id': ..., 'audio': ...}}")
        _check_columns(row, where)
        if "\\u" in line.lower() and any(_SURROGATE.search(str(each)) for each in row.values()):
            raise InputError(f"{where}: holds half of a character; write the line again")
        yield number, row


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; raises ValueError where a column comes twice: one would be lost."""
    for name, times in Counter(name for name, _ in pairs).items():
        if times > 1 and name in COLUMNS:
            raise ValueError(f"{name!r} comes twice; remove one")
    return dict(pairs)


def _check_columns(given: Iterable[str], where: str) -> None:
    """Raises InputError where one is missing, or seems to be misspelt and would not be read."""
    given = list(given)
    for column in REQUIRED:
        if column not in given:
            raise InputError(f"{where}: no column {column!r}; add it")
    for column in COLUMNS:
        if given.count(column) > 1:
            raise InputError(f"{where}: the column {column!r} comes twice; remove one")
    absent = [column for column in COLUMNS if column not in given]
    for name in given:
        if name not in COLUMNS and (meant := get_close_matches(name.lower(), absent, 1)):
            raise InputError(f"{where}: {name!r} is not a column; did you mean {meant[0]!r}?")


def _utterance(row: Mapping[str, Any], folder: Path, where: str) -> Utterance:
    for column in COLUMNS:
        if column != "seconds" and not isinstance(row.get(column, ""), str):
            raise InputError(f"{where}: {column} is {row[column]!r}; write text in quotes")
    for column in ("id", "audio"):
        if not row[column]:
            raise InputError(f"{where}: the {column} is empty; write one")
    for column in ("id", "speaker", "split"):
        if any(mark in row.get(column, "") for mark in "\t\r\n"):
            raise InputError(f"{where}: the {column} holds a tab or a line break; remove it")
    if "\0" in row["audio"]:
        raise InputError(f"{where}: the audio holds a null byte; write the line again")
    split = row.get("split") or "train"
    if split not in SPLITS and split.strip().lower() in SPLITS:
        raise InputError(f"{where}: split is {split!r}; write {split.strip().lower()}")
    audio = folder / row["audio"]
    seconds = row.get("seconds")
    return Utterance(
        id=row["id"],
        audio=audio,
        text=row["text"],
        speaker=row.get("speaker") or row["id"],
        split=split,
        seconds=_number(0 if seconds in ("", None) else seconds, where) or _header_seconds(audio),
    )


def _number(seconds: str | float, where: str) -> float:
    try:
        number = -1.0 if isinstance(seconds, bool) else float(seconds)
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if not 0 <= number < float("inf"):
        raise InputError(f"{where}: seconds is {seconds!r}; write a number such as 2.5")
    return number


def _header_seconds(audio: Path) -> float:
    try:
        return seconds_of(audio)
    except (soundfile.SoundFileError, TypeError):
        return 0.0  # whoever reads the samples finds out why


def write_manifest(path: Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest of tab-separated values, with audio relative to it where it lies below.

    Raises:
        InputError: an utterance holds a tab or a line break, or the folder cannot be written to.
    """
    folder = path.absolute().parent
    with replacing(path) as file:
        file.write(("\t".join(COLUMNS) + "\n").encode())
        for each in utterances:
            below = each.audio.is_relative_to(folder)
            audio = each.audio.relative_to(folder) if below else each.audio
            fields = (
                each.id,
                each.split,
                each.speaker,
                f"{each.seconds:.3f}",
                str(audio),
                each.text,
            )
            if any(mark in field for field in fields for mark in "\t\r\n"):
                raise InputError(f"{path}: {each.id!r} holds a tab or a line break; remove it")
            file.write(("\t".join(fields) + "\n").encode())


def joined(utterances: Iterable[Utterance]) -> list[Utterance]:
    """The utterances of several manifests as one corpus.

    Raises:
        InputError: two of them have the same id.
    """
    first: dict[str, Utterance] = {}
    for each in utterances:
        other = first.setdefault(each.id, each)
        if other is not each:
            raise InputError(
                f"id {each.id!r} is both {other.audio} and {each.audio}; give each utterance an "
                "id of its own, or leave out a manifest that is part of another or named twice"
            )
    return list(first.values())
