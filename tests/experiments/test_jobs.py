"""Processes side by side: order, failures, deadlines, and folders that are in use."""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from codert.experiments.jobs import Job, run_jobs
from codert.files import hold


@dataclass(frozen=True, kw_only=True)
class Script(Job):
    """Runs a line of Python, and leaves its name in a list."""

    line: str = "pass"

    def words(self) -> list[str]:
        done = f"open({str(self.folder.parent / 'order')!r}, 'a').write({self.name + ' '!r})"
        return ["timeit", "-n1", "-r1", f"{self.line}; {done}"]


def script(name: str, folder: Path, after: str = "", line: str = "pass") -> Script:
    return Script(name=name, folder=folder / name, after=tuple(after.split()), line=line)


def order(folder: Path) -> list[str]:
    return (folder / "order").read_text().split()


def test_jobs_run_in_order_and_wait_for_those_before(tmp_path: Path) -> None:
    jobs = [script("c", tmp_path, "a b"), script("a", tmp_path), script("b", tmp_path, "a")]
    outcome = run_jobs(jobs, at_once=2)
    assert (outcome.failed, outcome.left) == ({}, [])
    assert order(tmp_path) == ["a", "b", "c"]


def test_a_failure_ends_only_those_that_wait_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [
        script("bad", tmp_path, line="raise ValueError('no such thing')"),
        script("behind", tmp_path, "bad"),
        script("good", tmp_path),
    ]
    outcome = run_jobs(jobs, at_once=1)
    assert outcome.failed.keys() == {"bad"}
    assert "no such thing; the whole of it:" in outcome.failed["bad"]
    assert outcome.left == ["behind"]
    assert order(tmp_path) == ["good"]
    assert "bad: failed: " in capsys.readouterr().err


def test_of_several_sessions_the_last_is_told(tmp_path: Path) -> None:
    bad = script("bad", tmp_path, line="print('codert: two lines:\\nno'); 1 / 0")
    assert "two lines:;" in run_jobs([bad]).failed["bad"]
    other = script("bad", tmp_path, line="raise ValueError('another')")
    assert "another;" in run_jobs([other]).failed["bad"]
    assert (tmp_path / "bad" / "log.txt").read_text().count("$ python -m timeit") == 2


def test_one_that_is_killed_says_so(tmp_path: Path) -> None:
    job = script("shot", tmp_path, line="import os; os.kill(os.getpid(), 9)")
    complaint = run_jobs([job]).failed["shot"]
    assert "killed by SIGKILL" in complaint
    assert "fewer --jobs" in complaint


def test_a_deadline_stops_what_runs_and_begins_nothing_more(tmp_path: Path) -> None:
    jobs = [script("long", tmp_path, line="import time; time.sleep(60)"), script("next", tmp_path)]
    began = time.monotonic()
    outcome = run_jobs(jobs, at_once=1, until=began + 2)
    assert time.monotonic() - began < 40
    assert (outcome.failed, outcome.left) == ({}, ["long", "next"])
    assert run_jobs(jobs, until=began).left == ["long", "next"]


def test_a_folder_that_another_process_works_on_is_waited_for(tmp_path: Path) -> None:
    lock = tmp_path / "mine" / ".lock"
    held = hold(lock)
    assert held is not None
    assert hold(lock) is None
    # The lock goes on in a process that inherited it.
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(2)"], pass_fds=[held.fileno()]
    )
    held.close()
    assert hold(lock) is None
    outcome = run_jobs([script("mine", tmp_path)])
    assert child.wait() == 0
    assert (outcome.failed, outcome.left) == ({}, [])


def test_the_process_holds_its_folder(tmp_path: Path) -> None:
    job = script("mine", tmp_path, line="import time; time.sleep(60)")
    process = job.start()
    assert process is not None
    assert job.start() is None
    process.terminate()
    process.wait()
    again = job.start()
    assert again is not None
    again.terminate()
    again.wait()
