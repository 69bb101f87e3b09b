"""Debian's package of the game."""

import shutil
import subprocess
from pathlib import Path

from codert.errors import InputError

PACKAGE = "flight-of-the-amazon-queen"
GAME = Path("usr/share/scummvm", PACKAGE, "queen.1c")
# The licence allows to hand on the game's data where these stay with it.
LICENCE = Path("usr/share/doc", PACKAGE)

_ELSE = (
    "or prepare another corpus: `codert prepare commands`, `codert prepare librispeech`, "
    "or a manifest of your own speech"
)


def unpack(folder: Path, deb: Path | None) -> Path:
    """Unpack the package below `folder` and return where its files are.

    Args:
        folder: an empty folder.
        deb: the package, or None to fetch it with apt-get, which needs no root.

    Raises:
        InputError: the package cannot be had or is not this one; says what else there is.
    """
    if deb is None:
        deb = _fetch(folder)
    elif not deb.is_file():
        raise InputError(f"{deb}: no such file")
    files = folder / "files"
    problem = _run(["dpkg-deb", "-x", str(deb.absolute()), str(files)], folder)
    if problem:
        raise InputError(f"{deb}: cannot be unpacked: {problem}; fetch it anew, {_ELSE}")
    for part in (GAME, LICENCE):
        if not (files / part).exists():
            raise InputError(f"{deb}: holds no {part}; give the package {PACKAGE}, {_ELSE}")
    return files


def _fetch(folder: Path) -> Path:
    problem = _run(["apt-get", "download", PACKAGE], folder)
    fetched = list(folder.glob("*.deb"))
    if problem or not fetched:
        raise InputError(
            f"{PACKAGE}: apt-get cannot download this package of Debian and Ubuntu: {problem}; "
            f"try `apt-get update` first, name the downloaded package with --deb FILE, {_ELSE}"
        )
    return fetched[0]


def _run(command: list[str], folder: Path) -> str:
    """Run a command in `folder`; what went wrong in a line, or nothing."""
    program = shutil.which(command[0])
    if program is None:
        return f"there is no {command[0]} here"
    done = subprocess.run(
        [program, *command[1:]], cwd=folder, capture_output=True, text=True, errors="replace"
    )
    if done.returncode == 0:
        return ""
    said = done.stderr.strip().splitlines()
    return said[-1] if said else f"{command[0]} ended with status {done.returncode}"
