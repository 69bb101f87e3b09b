"""The commit of codert that a run is made at."""

import subprocess
from pathlib import Path

import codert


def commit() -> str | None:
    """The short hash of codert's checkout, with + where files were changed; None outside one."""
    try:
        # Installed below a repository of somebody else's, codert has no commit.
        _git("ls-files", "--error-unmatch", Path(codert.__file__).name)
        return _git("describe", "--always", "--exclude=*", "--dirty=+")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*words: str) -> str:
    git = ["git", "-C", str(Path(codert.__file__).parent), *words]
    return subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
