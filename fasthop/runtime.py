"""How kernels are called: side by side on threads, while the main thread waits where Ctrl-C reaches it."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import importlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import numba
import numpy as np
from threadpoolctl import ThreadpoolController

Result = TypeVar("Result")

#: Seconds for which an interrupted caller waits for its threads. One that is in a long call of LAPACK, or still
#: compiles, ends later and by itself: what it works on is its own.
PATIENCE = 0.1

#: Seconds between two looks for signals where a system does not wake who waits.
_LOOK = 0.25


class _Here(threading.local):
    """What a thread knows of itself: the mark that stops the call it works for."""

    stop: np.ndarray | None = None


class _OneThread:
    """BLAS on one thread for as long as anyone asks for it."""

    def __init__(self) -> None:
        self._lock, self._users, self._limit = threading.Lock(), 0, contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._limit.enter_context(_blas().limit(limits=1, user_api="blas"))
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._limit.close()


#: As many threads as are at work at a time; one begins where none is idle, and takes a tenth of a millisecond.
_MOST_THREADS = 2**15

_here = _Here()
_threads = ThreadPoolExecutor(_MOST_THREADS, "fasthop")
_one_blas_thread = _OneThread()


def _after_fork() -> None:
    """Start afresh: a forked process has none of these threads, and one of them may have held a lock."""
    global _here, _threads, _one_blas_thread
    _here, _threads, _one_blas_thread = _Here(), ThreadPoolExecutor(_MOST_THREADS, "fasthop"), _OneThread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def workers_for(pieces: int) -> int:
    """Return how many threads so many independent pieces of work can use."""
    return max(1, min(int(numba.get_num_threads()), pieces))


def on_threads(workers: int, task: Callable[[int, np.ndarray], Result]) -> list[Result]:
    """Run task(worker, stop) for every worker on a thread of its own, and return what each returned.

    `stop` is an int64 array of one number. Where that is not 0 any more nobody wants the results, and a task that takes
    long looks at it every few milliseconds (`fasthop_kernels.machine.lanes.stopped`): so it is after Ctrl-C, or
    whatever else a handler of a signal has raised here. The main thread runs no compiled kernel itself, because
    Python's handlers would wait for it. Calls of this function from a task stop with it.

    A compiled kernel releases the interpreter's lock. Uncompiled ones run one after the other: the queue they share is
    atomic only in compiled code.
    """
    stop = np.zeros(1, np.int64) if _here.stop is None else _here.stop
    if numba.config.DISABLE_JIT or (workers == 1 and threading.current_thread() is not threading.main_thread()):
        results = [task(worker, stop) for worker in range(workers)]
    else:
        results = _together(workers, task, stop)
    if stop[0]:
        raise KeyboardInterrupt
    return results


def _together(workers: int, task: Callable[[int, np.ndarray], Result], stop: np.ndarray) -> list[Result]:
    count, running = int(numba.get_num_threads()), list[Future[Result]]()

    def work(worker: int) -> Result:
        _here.stop = stop
        numba.set_num_threads(count)  # which every thread has of its own
        try:
            return task(worker, stop)
        finally:
            _here.stop = None

    try:
        for worker in range(workers):
            running.append(_threads.submit(work, worker))
        for future in running:
            while not _has_ended(future):
                pass
    except BaseException:
        stop[0] = 1
        wait(running, PATIENCE)
        raise
    return [future.result() for future in running]


def _has_ended(future: Future[Any]) -> bool:
    """Wait a moment for a task; whoever waits without an end is not woken by a signal on every system."""
    try:
        future.exception(_LOOK)
    except TimeoutError:
        return False
    return True


def on_queue(pieces: int, kernel: Callable[..., None], *arguments: Any) -> None:
    """Call kernel(*arguments, taken, stop) on threads that take so many pieces of work from the queue `taken`."""
    taken = np.zeros(1, np.int64)
    on_threads(workers_for(pieces), lambda _, stop: kernel(*arguments, taken, stop))


def aside(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function that takes long on another thread: Ctrl-C reaches the main thread at once."""
    here = contextvars.copy_context()  # as numpy.errstate is
    return on_threads(1, lambda worker, stop: here.run(function, *arguments))[0]


@functools.cache
def _blas() -> ThreadpoolController:
    """Find the BLAS libraries once, NumPy's and SciPy's: looking for them takes 2 ms."""
    importlib.import_module("scipy.linalg")
    return ThreadpoolController()


def one_blas_thread() -> contextlib.AbstractContextManager[Any]:
    """Limit BLAS to one thread: its results depend on the number, and they feed trajectories and tables."""
    return _one_blas_thread
