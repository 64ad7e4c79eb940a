"""How kernels are called: on the threads numba was given; those with a `prange` one at a time."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numba
from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
_lost_threads = False


def _after_fork() -> None:
    global _lock, _lost_threads
    _lock = threading.Lock()  # a thread that is not in this process may have held it
    with contextlib.suppress(ValueError, ImportError):  # where no threads have started
        if numba.threading_layer() == "omp":
            _lost_threads = importlib.import_module("numba.np.ufunc.omppool").openmp_vendor == "GNU"


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

Result = TypeVar("Result")


@contextlib.contextmanager
def all_threads() -> Iterator[int]:
    """Give the caller the threads, alone, and say how many there are.

    Numba's fallback threading layer, workqueue, aborts the process when two threads start parallel kernels at once.

    Raises
    ------
    RuntimeError
        In a process that was forked from one whose threads had started, where they do not outlast that: GNU's OpenMP
        would end the process, and a pool that waits for it would wait for ever.
    """
    if _lost_threads:
        raise RuntimeError(
            "this process was forked from one that had run parallel kernels, which GNU OpenMP does not outlast: start "
            'processes by multiprocessing.get_context("spawn"), or set NUMBA_THREADING_LAYER=workqueue.'
        )
    with _lock:
        yield numba.get_num_threads()


def workers_for(pieces: int) -> int:
    """Return how many threads so many independent pieces of work can use."""
    return max(1, min(int(numba.get_num_threads()), pieces))


def on_threads(workers: int, task: Callable[[int], Result]) -> list[Result]:
    """Run task(worker) for every worker on a thread of its own, and return what each returned.

    A compiled kernel releases the interpreter's lock. Uncompiled ones run one after the other: the queue they share is
    atomic only in compiled code.
    """
    if workers == 1 or numba.config.DISABLE_JIT:
        return [task(worker) for worker in range(workers)]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(task, range(workers)))


@functools.cache
def _blas() -> ThreadpoolController:
    """Find the BLAS libraries once, NumPy's and SciPy's: looking for them takes 2 ms."""
    importlib.import_module("scipy.linalg")
    return ThreadpoolController()


def one_blas_thread() -> contextlib.AbstractContextManager[Any]:
    """Limit BLAS to one thread: its results depend on the number, and they feed trajectories and tables."""
    limited: contextlib.AbstractContextManager[Any] = _blas().limit(limits=1, user_api="blas")
    return limited
