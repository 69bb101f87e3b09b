"""Files that are either whole or absent, also when a process is killed.

Who may write one while another does takes a lock.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import file_digest
from pathlib import Path
from typing import IO

from codert.errors import InputError

LOCK = ".lock"  # in the folder of a run, or of an experiment
HELD = "CODERT_HELD"  # names the lock that whoever started this process holds for it


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file, open for writing, that takes the place of `path` once it is whole.

    Raises:
        InputError: it cannot be written, or the disk is full.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w+b") as file:
            yield file
        os.replace(part, path)
    except OSError as error:
        raise unwritable(path, error, part) from None
    finally:
        with suppress(OSError):
            part.unlink()


def write_bytes(path: Path, content: bytes) -> None:
    """A file that appears whole or not at all.

    Raises:
        InputError: it cannot be written, or the disk is full.
    """
    with replacing(path) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """A text file, in UTF-8, that appears whole or not at all.

    Raises:
        InputError: it cannot be written, or the disk is full.
    """
    write_bytes(path, text.encode())


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal; raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path` as a lock; a second process waits until the first lets go or dies.

    Raises:
        InputError: the folder cannot be written to.
    """
    with _opened(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def hold(path: Path) -> IO[str] | None:
    """Take `path` as a lock without waiting; None where another process has it.

    The lock lasts until the file is closed here and in every process that inherited it.

    Raises:
        InputError: the folder cannot be written to.
    """
    file = _opened(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold `path` as a lock, unless whoever started this process does so for it.

    Raises:
        InputError: another process has it, or the folder cannot be written to.
    """
    if os.environ.get(HELD) == str(path.absolute()):
        yield
        return
    lock = hold(path)
    if lock is None:
        raise InputError(
            f"{path.parent}: another codert works there; wait for it, or choose another --out"
        )
    with lock:
        yield


def _opened(path: Path) -> IO[str]:
    """A lock's file, made where it is missing, with its folder."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise unwritable(path.parent, error) from None
    return file


def unwritable(path: Path, error: OSError, at: Path | None = None) -> InputError:
    """The error for a file or a folder that cannot be written, or that another one kept from it.

    Args:
        path: that was to be.
        error: that came while it was made.
        at: where it was made, if elsewhere.
    """
    reason = error.strerror or str(error)
    made = named = (at or path).absolute()
    if isinstance(error.filename, str | bytes | os.PathLike):
        named = Path(os.fsdecode(error.filename)).absolute()
    if named.is_relative_to(made) or made.is_relative_to(named):
        return InputError(f"{path}: cannot be written: {reason}; free space or name another folder")
    return InputError(f"{named}: {reason}; so {path} was not written")
