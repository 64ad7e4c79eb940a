"""How kernels are called: one at a time, on the threads numba was given."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import numba
from threadpoolctl import threadpool_limits

_lock = threading.Lock()


@contextlib.contextmanager
def all_threads() -> Iterator[int]:
    """Give the caller the threads, alone, and say how many there are.

    Numba's fallback threading layer, workqueue, aborts the process when two threads start parallel kernels at once.
    """
    with _lock:
        yield numba.get_num_threads()


def one_blas_thread() -> threadpool_limits:
    """Limit BLAS to one thread: its results depend on the number, and they feed trajectories and tables."""
    return threadpool_limits(limits=1, user_api="blas")
