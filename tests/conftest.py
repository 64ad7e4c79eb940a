"""What holds for all tests: random numbers of their own, and each kernel compiled by one process alone."""

import os
import re
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numba.core.caching import FunctionCache
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher

try:
    import fcntl
except ImportError:  # Windows, where a kernel may be compiled by several at once
    fcntl = None


@pytest.fixture(autouse=True)
def numbers_of_its_own(request, monkeypatch):
    """What a test draws from the generator of its module depends on its name alone, not on the tests before it."""
    if hasattr(request.module, "RNG"):
        seed = zlib.crc32(request.node.nodeid.rpartition("/")[2].encode())
        monkeypatch.setattr(request.module, "RNG", np.random.default_rng(seed))


def pytest_collection_modifyitems(config, items):
    """Leave tests that are marked as long to those who ask for them."""
    if "long" not in config.option.markexpr:
        long = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@contextmanager
def alone(folder, name, open_files={}):  # noqa: B006 – one file for each folder: closing one would release all locks
    """Hold a lock that stands for a name: a byte of a file in the folder."""
    if fcntl is None:
        yield
        return
    if folder not in open_files:
        folder.mkdir(parents=True, exist_ok=True)
        open_files[folder] = os.open(folder / "tests.lock", os.O_RDWR | os.O_CREAT)
    byte = zlib.crc32(name.encode())
    fcntl.lockf(open_files[folder], fcntl.LOCK_EX, 1, byte)
    try:
        yield
    finally:
        fcntl.lockf(open_files[folder], fcntl.LOCK_UN, 1, byte)


def compile_once():
    """See that a kernel is compiled once for its types, which takes up to a minute.

    Of processes that need it at the same time, such as those of pytest-xdist, the first compiles it; the others wait
    and find it on the disk. And no entry point is compiled again for arrays that differ in nothing but their layout,
    or in being read-only: who calls it copies them.
    """
    compile_, within = Dispatcher.compile, []

    def compile(self, sig):
        if not isinstance(self._cache, FunctionCache):
            return compile_(self, sig)
        name = f"{self.py_func.__module__}.{self.py_func.__qualname__}{sig}"
        with global_compiler_lock:  # the compiler's own, before that of the name: a thread may hold both
            assert within or not re.search(r"readonly array|, [FA]\)", name), f"compiled once more: {name}"
            within.append(name)
            try:
                with alone(Path(self._cache.cache_path), name):
                    return compile_(self, sig)
            finally:
                within.pop()

    Dispatcher.compile = compile


compile_once()
