"""What holds for all tests: random numbers of their own, and each kernel compiled by one process alone."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from numba.core.caching import FunctionCache
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher

try:
    import fcntl
except ImportError:  # Windows: a kernel may be compiled twice
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


def compile_alone():
    """Let processes that need one kernel at once, such as those of pytest-xdist, compile it once.

    The first compiles it, which takes up to a minute; the others wait for it and find it in the cache on the disk.
    """
    compile_, locks = Dispatcher.compile, {}

    def compile(self, sig):
        if not isinstance(self._cache, FunctionCache):
            return compile_(self, sig)
        folder = Path(self._cache.cache_path)
        if folder not in locks:
            folder.mkdir(parents=True, exist_ok=True)
            locks[folder] = (folder / "tests.lock").open("w")
        # A byte of the file stands for a kernel and its types. The compiler's own lock comes first: threads hold both.
        byte = zlib.crc32(f"{self.py_func.__module__}.{self.py_func.__qualname__}{sig}".encode())
        with global_compiler_lock:
            fcntl.lockf(locks[folder], fcntl.LOCK_EX, 1, byte)
            try:
                return compile_(self, sig)
            finally:
                fcntl.lockf(locks[folder], fcntl.LOCK_UN, 1, byte)

    Dispatcher.compile = compile


if fcntl:
    compile_alone()
