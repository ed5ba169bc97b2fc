"""Work in threads: blocks in order, few in flight, memory used again, and calls that never end.

Opens no file.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from concurrent.futures import Executor, Future

    from numpy.typing import NDArray

NUM_THREADS = os.cpu_count() or 1
"""Threads that compute at once."""

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


def call_interruptibly(function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Call what a signal cannot end, as a session's run, so that the caller can be interrupted.

    Whoever is interrupted ends the call itself, as by closing the session.

    Args:
        function: Called in a second thread if the caller is the main one, which sees signals.
        arguments: What it is called with.

    Returns:
        What it returns.
    """
    if threading.current_thread() is not threading.main_thread():
        return function(*arguments)
    pool = ThreadPoolExecutor(1)
    try:
        return result_of(pool.submit(function, *arguments))
    finally:
        pool.shutdown(wait=False)


def result_of(future: Future[_Result]) -> _Result:
    """Return a future's result; whoever waits can be interrupted within a second.

    A signal between two instructions of the main thread, just before it begins to wait, does not
    end that wait: so it is not a long one.

    Args:
        future: Of any thread.
    """
    while not wait([future], timeout=1).done:
        pass
    return future.result()


@cache
def shared_pool() -> ThreadPoolExecutor:
    """Return a pool of `NUM_THREADS` threads for short tasks, none of which waits for another."""
    return ThreadPoolExecutor(NUM_THREADS)


def map_in_order(
    pool: Executor, function: Callable[[_Job], _Result], jobs: Iterable[_Job], *, ahead: int
) -> Generator[_Result, None, None]:
    """Run a function over jobs in a pool, without holding more than a few results.

    Args:
        pool: Where to.
        function: Called with each job, several at a time.
        jobs: Taken one by one, as results are asked for.
        ahead: Results that may wait, beside the one in use.

    Yields:
        Results in the order of the jobs.
    """
    pending: deque[Future[_Result]] = deque()
    try:
        for job in jobs:
            pending.append(pool.submit(function, job))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


class BlockMemory:
    """Memory for blocks, used again; threads may take and give back at once.

    Fresh memory costs a page fault every 4 kB, which can take longer than the arithmetic.

    Args:
        nbytes: Bytes of the largest block.
    """

    def __init__(self, nbytes: int) -> None:
        self._nbytes = nbytes
        self._free: deque[NDArray[np.uint8]] = deque()

    def take(self, size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array of `size` values, whatever is in it."""
        try:
            memory = self._free.pop()
        except IndexError:
            memory = np.empty(self._nbytes, np.uint8)
        return memory[: size * dtype.itemsize].view(dtype)

    def give_back(self, block: NDArray[Any]) -> None:
        """Take back an array that `take` gave and that nobody needs any more."""
        memory = block.base
        if isinstance(memory, np.ndarray):
            self._free.append(memory)
