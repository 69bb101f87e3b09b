"""Big files from the web: downloads that go on where they were cut off, and are checked."""

import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from codert.errors import InputError
from codert.files import unwritable

_PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds between attempts that bring nothing new
_TIMEOUT = 30.0  # seconds without a byte
_BLOCK = 1 << 20


class _ConnectionLostError(Exception):
    """What another attempt may mend."""


def download(url: str, path: Path, md5: str) -> None:
    """Bring a file here, unless it is here already.

    What has arrived stays in `path` with `.part` behind it, and the next attempt, or the next
    call, asks for the rest alone where the server can do that.

    Args:
        url: of http or https.
        path: the file; it is there only once it is whole and has the right checksum.
        md5: the checksum, in hexadecimal.

    Raises:
        InputError: the server does not have the file or cannot be reached, the checksum is
            wrong, or there is no room; says whether the same command goes on from there.
    """
    if path.exists():  # somebody else may have laid it there
        _check(path, md5, f"{path}: has")
        return
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as file, tqdm(desc=path.name, unit="B", unit_scale=True) as progress:
            _persist(url, file, progress)
        _check(part, md5, f"{url}: what came has")
        part.replace(path)
    except OSError as error:
        raise unwritable(path.parent, error) from None


def _check(path: Path, md5: str, what: str) -> None:
    """Raises InputError where a file is not what it should be, and deletes it."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != md5:
        path.unlink()
        raise InputError(
            f"{what} the md5 checksum {found}, not {md5}; it was deleted: run the same command "
            "again, or name another server with --url"
        )


def _persist(url: str, file: IO[bytes], progress: "tqdm[Any]") -> None:
    """Ask until all is there, again and again as long as something arrives."""
    pauses = iter(_PAUSES)
    while True:
        before = file.tell()
        try:
            _attempt(url, file, progress)
            return
        except _ConnectionLostError as error:
            if file.tell() > before:
                pauses = iter(_PAUSES)
            pause = next(pauses, None)
            if pause is None:
                raise InputError(
                    f"{url}: the connection was lost after {file.tell():,} bytes: {error}; run "
                    "the same command again to go on from there, or name another server with --url"
                ) from None
            time.sleep(pause)


def _attempt(url: str, file: IO[bytes], progress: "tqdm[Any]") -> None:
    """Ask once for what is missing."""
    have = file.tell()
    try:
        request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except (ValueError, http.client.InvalidURL):
        raise InputError(f"{url}: not an address; write one that begins with https://") from None
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            # There is nothing behind what has arrived: it is whole, or not this file.
            if error.headers.get("Content-Range") == f"bytes */{have}":
                return
            _empty(file)
            raise _ConnectionLostError("what had arrived was not the server's file") from None
        if error.code >= 500 or error.code == http.HTTPStatus.TOO_MANY_REQUESTS:
            raise _ConnectionLostError(f"the server says {error.code} {error.reason}") from None
        raise InputError(
            f"{url}: the server says {error.code} {error.reason}; name another one with --url"
        ) from None
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise _ConnectionLostError(getattr(error, "reason", error)) from None
    with response:
        if have and not _goes_on(response, have):
            _empty(file)  # the server knows no ranges and sends all
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        progress.total, progress.n = total, have
        progress.refresh()
        while block := _received(response):
            file.write(block)
            have += len(block)
            progress.update(len(block))
        file.flush()
        os.fsync(file.fileno())
    if total is not None and have < total:
        raise _ConnectionLostError(f"{total - have:,} bytes are missing")


def _empty(file: IO[bytes]) -> None:
    file.seek(0)
    file.truncate()


def _goes_on(response: http.client.HTTPResponse, have: int) -> bool:
    start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return response.status == http.HTTPStatus.PARTIAL_CONTENT and bool(
        start and int(start[1]) == have
    )


def _received(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(_BLOCK)
    except (http.client.HTTPException, OSError) as error:
        raise _ConnectionLostError(str(error) or type(error).__name__) from None
