"""The commits of codert that a run is made at."""

import subprocess
from pathlib import Path

import codert
from codert.files import write_text
from codert.learning.run_folder import COMMITS


def commit() -> str | None:
    """The short hash of codert's checkout, with + where files were changed; None outside one."""
    try:
        # Installed below a repository of somebody else's, codert has no commit.
        _git("ls-files", "--error-unmatch", Path(codert.__file__).name)
        return _git("describe", "--always", "--exclude=*", "--dirty=+")
    except (OSError, subprocess.CalledProcessError):
        return None


def commits_of(run: Path) -> str | None:
    """Those of codert that a run was trained at, with commas between; None where none is known."""
    return ",".join(_commits(run)) or None


def note_commit(run: Path, now: str | None, resume: bool) -> None:
    """Add the commit that a run is trained at from here on.

    Raises:
        InputError: the folder cannot be written to.
    """
    before = _commits(run) if resume else []
    commits = dict.fromkeys([*before, now] if now else before)
    write_text(run / COMMITS, "".join(f"{each}\n" for each in commits))


def _commits(run: Path) -> list[str]:
    path = run / COMMITS
    return path.read_text(encoding="utf-8").split() if path.exists() else []


def _git(*words: str) -> str:
    git = ["git", "-C", str(Path(codert.__file__).parent), *words]
    return subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
