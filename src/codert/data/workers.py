"""Work spread over processes, or done ahead in a thread."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from threading import Thread
from typing import TypeVar

from codert.errors import InputError

Task = TypeVar("Task")
Result = TypeVar("Result")


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def processes(jobs: int) -> Iterator[Executor | None]:
    """A pool of so many processes, or None for one job: the work is then done in this process."""
    if jobs == 1:
        yield None
        return
    # Spawned, not forked: the parent may hold the locks of torch's or tqdm's threads.
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _end_with_parent)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """A process whose parent is killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def in_order(
    function: Callable[[Task], Result], tasks: Iterable[Task], pool: Executor | None
) -> Iterator[Result]:
    """The results of `function` in the order of `tasks`, which may be endless.

    Few tasks are under way at any time; closing the iterator takes back those not begun.

    Args:
        function: a function of a module, and one that imports no torch.
        tasks: what it is called with, one by one.
        pool: what `processes` gave.

    Raises:
        InputError: a process was killed, or had no memory left.
    """
    if pool is None:
        yield from map(function, tasks)
        return
    tasks = iter(tasks)
    under_way: deque[Future[Result]] = deque()
    try:
        under_way.extend(pool.submit(function, task) for task in islice(tasks, 2 * cores()))
        while under_way:
            result = under_way.popleft().result()
            under_way.extend(pool.submit(function, task) for task in islice(tasks, 1))
            yield result
    except (BrokenProcessPool, MemoryError):
        raise InputError(
            "a process that worked along was killed, or memory ran out; free some, or use one core "
            "(taskset -c 0), and run the same command again"
        ) from None
    finally:
        for future in under_way:
            future.cancel()


def made_ahead(items: Iterator[Result]) -> Iterator[Result]:
    """The items, none of them None, each made in a thread while the one before is in use."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, None)
        while (here := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield here
