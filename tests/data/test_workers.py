"""Processes and threads that work for another one, and end with it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from codert.data.workers import in_order, made_ahead, processes
from codert.errors import InputError

PARENT = """
import os, time
from pathlib import Path
from codert.data.workers import processes

if __name__ == "__main__":
    with processes(2) as pool:
        ids = {pool.submit(os.getpid).result() for _ in range(9)}
        Path("part").write_text(" ".join(map(str, ids)))
        Path("part").rename("ids")
        pool.submit(time.sleep, 60).result()
"""


def is_there(process: int) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    # Z is a process that has ended, and whose end nobody has asked for.
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.slow
def test_whose_parent_is_killed_ends_too(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    parent = subprocess.Popen([sys.executable, "parent.py"], cwd=tmp_path)
    until = time.monotonic() + 60
    while not (tmp_path / "ids").exists():
        assert time.monotonic() < until
        time.sleep(0.1)
    workers = list(map(int, (tmp_path / "ids").read_text().split()))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while any(map(is_there, workers)):
        assert time.monotonic() < until
        time.sleep(0.1)


def test_one_that_is_killed_is_told_with_the_mend() -> None:
    with (
        processes(2) as pool,
        pytest.raises(InputError, match=r"was killed, or memory .*taskset -c 0"),
    ):
        list(in_order(os._exit, [1], pool))
    with (
        processes(2) as pool,
        pytest.raises(InputError, match=r"was killed, or memory ran out"),
    ):
        list(in_order(bytes, [1 << 62], pool))


def test_one_is_made_ahead_and_an_error_comes_where_it_was_made() -> None:
    second = Event()

    def making() -> Iterator[int]:
        yield 1
        second.set()
        yield 2
        raise InputError("no third")

    items = made_ahead(making())
    assert next(items) == 1
    assert second.wait(60)
    assert next(items) == 2
    with pytest.raises(InputError, match="no third"):
        next(items)
    assert list(made_ahead(iter(()))) == []
