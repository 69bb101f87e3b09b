"""What a record says of the code that made it."""

import shutil
import subprocess
from pathlib import Path

import pytest

import codert
from codert.experiments.scoring import commit

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(
    not (ROOT / ".git").exists() or shutil.which("git") is None, reason="not in a git checkout"
)
def test_a_record_names_the_commit_of_the_checkout() -> None:
    head = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    )
    known = commit()
    assert known is not None
    assert head.stdout.startswith(known.removesuffix("+"))


def test_installed_in_somebody_elses_checkout_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("git") is None:
        pytest.skip("no git")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setattr(codert, "__file__", str(tmp_path / "__init__.py"))
    (tmp_path / "__init__.py").touch()
    assert commit() is None
