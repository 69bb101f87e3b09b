"""The folder of a corpus: made whole or not at all, and known again by what decided it."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from codert.errors import InputError
from codert.files import locked, unwritable, write_text

_DECIDED_BY = "corpus.json"


@contextmanager
def making(folder: Path, decided_by: Mapping[str, object]) -> Iterator[Path | None]:
    """A folder to make a corpus in, which then takes the place of `folder`.

    A second process waits for the first. What a killed one left behind is thrown away.

    Args:
        folder: where the corpus is to be.
        decided_by: what decides the corpus, of plain values; kept in its `corpus.json`.

    Yields:
        The folder, or None where `folder` holds this very corpus already.

    Raises:
        InputError: `folder` holds something else or cannot be written to.
    """
    folder = folder.resolve()
    if folder.is_mount() or folder == Path.cwd():
        raise InputError(f"{folder}: cannot be replaced by the corpus; name a folder within it")
    with locked(folder.with_name(f".{folder.name}.lock")):
        if _is_made(folder, decided_by):
            yield None
            return
        building = folder.with_name(f".{folder.name}.building")
        shutil.rmtree(building, ignore_errors=True)
        try:
            building.mkdir(parents=True)
            yield building
            write_text(building / _DECIDED_BY, json.dumps(decided_by))
            building.replace(folder)
        except OSError as error:
            raise unwritable(folder, error, building) from None
        finally:
            shutil.rmtree(building, ignore_errors=True)


def _is_made(folder: Path, decided_by: Mapping[str, object]) -> bool:
    """Whether the corpus is there; an error if anything else is."""
    try:
        found = json.loads((folder / _DECIDED_BY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        if folder.exists() and any(folder.iterdir()):
            raise InputError(
                f"{folder}: holds something else; name a folder that is new or empty"
            ) from None
        return False
    if found != decided_by:
        raise InputError(
            f"{folder}: holds a corpus of other settings ({json.dumps(found)}); "
            "delete it or name another folder"
        )
    return True
