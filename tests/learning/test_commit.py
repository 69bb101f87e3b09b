"""The code that a run is made with."""

import shutil
import subprocess
from pathlib import Path

import pytest

import codert
from codert.learning.commit import commit, commits_of, note_commit

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(
    not (ROOT / ".git").exists() or shutil.which("git") is None, reason="not in a git checkout"
)
def test_the_commit_is_that_of_the_checkout() -> None:
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


def test_a_run_knows_the_commits_that_it_was_trained_at(tmp_path: Path) -> None:
    run = tmp_path / "alone"
    assert commits_of(run) is None
    note_commit(run, "aaaaaaa", resume=False)
    note_commit(run, "aaaaaaa", resume=True)
    note_commit(run, "bbbbbbb+", resume=True)
    assert commits_of(run) == "aaaaaaa,bbbbbbb+"
    note_commit(run, "ccccccc", resume=False)
    assert commits_of(run) == "ccccccc"


def test_outside_a_checkout_none_is_known(tmp_path: Path) -> None:
    note_commit(tmp_path, None, resume=False)
    assert commits_of(tmp_path) is None
