"""The two house decorators, and an on-disk cache that cannot return stale code.

Numba keys a cached function by the file it stands in. A kernel that calls another module would therefore go on
returning old numbers after that module was edited or upgraded. Here every cache entry is named by a digest of its file
and of all kernel files that this one imports, at any distance, so an entry is found only by exactly the code that made
it.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import glob
import hashlib
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

try:
    import fcntl
except ImportError:  # Windows: numba's own guard against simultaneous writers has to do
    fcntl = None  # type: ignore[assignment]

# FMA contraction and unsigned zero only: no reassociation and no assumption that numbers are finite, because the
# labels of basins depend on rounding and NaN is an answer.
FASTMATH = {"contract", "nsz"}


_FOLDER = pathlib.Path(__file__).parent


def _imports(source: bytes) -> set[str]:
    """Names of the modules of this package that a source imports, and of everything that might be one."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return {name.removeprefix(f"{__package__}.") for name in names if name.startswith(f"{__package__}.")}


@functools.cache
def digest(path: pathlib.Path) -> str:
    """Hash of a source file and of all files of this package that it needs, with their names."""
    contents: dict[pathlib.Path, bytes] = {}
    found = [path]
    while found:
        if (file := found.pop()) not in contents:
            contents[file] = file.read_bytes() if file.is_file() else b""
            found += [part for name in _imports(contents[file]) if (part := _FOLDER / f"{name}.py").is_file()]
    sha = hashlib.sha256()
    for file in sorted(contents):
        sha.update(file.name.encode() + b"\0" + contents[file] + b"\0")
    return sha.hexdigest()


class _SourceKeyedCache(FunctionCache):
    """Numba's function cache with the digest of the sources in its file names."""

    def __init__(self, py_func: Callable[..., Any]) -> None:
        super().__init__(py_func)
        made_of = digest(pathlib.Path(py_func.__code__.co_filename))
        base = self._impl.filename_base  # module and name, then a line and the version of Python
        self._name, self._mark = base.rpartition("-")[0], made_of[:16]
        self._cache_file = IndexDataCacheFile(self._cache_path, f"{base}-{self._mark}", made_of)

    def save_overload(self, sig: Any, data: Any) -> None:
        # Numba reads the index, picks a file number and writes both without a lock: two processes that compile two
        # dtypes at once can end with one dtype's code under the other's name.
        try:
            with self._only_writer():
                super().save_overload(sig, data)
                self._remove_stale()
        except OSError:
            pass  # a full or vanished cache disk costs the next start its compile time, never this run its result

    @contextlib.contextmanager
    def _only_writer(self) -> Iterator[None]:
        os.makedirs(self._cache_path, exist_ok=True)
        if fcntl is None:
            yield
            return
        with open(os.path.join(self._cache_path, "fasthop.lock"), "w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _remove_stale(self) -> None:
        for path in glob.glob(os.path.join(glob.escape(self._cache_path), glob.escape(self._name) + "-*.nb[ci]")):
            if self._mark not in os.path.basename(path):
                with contextlib.suppress(OSError):
                    os.unlink(path)


def _cached(function: Callable[..., Any]) -> Callable[..., Any]:
    if numba.config.DISABLE_JIT:
        return function
    try:
        function._cache = _SourceKeyedCache(function.py_func)  # type: ignore[attr-defined]
    except RuntimeError:
        pass  # neither the package nor the user's cache folder is writable: compile in memory
    return function


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that is called from other kernels or, with the interpreter's lock released, from a thread."""
    return _cached(numba.njit(fastmath=FASTMATH, error_model="numpy", nogil=True)(function))


def inner_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function as a part of those that call it.

    For what a step calls with whole tables and tiles. Every level of functions is optimised again with all it calls,
    and passing a table costs a hundred moves: the fewer levels between a leaf and its entry point the better.
    """
    return numba.njit(fastmath=FASTMATH, error_model="numpy", inline="always")(function)


def formula(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a scalar formula that LLVM must inline into the loop that calls it.

    Without the force it left the largest ones as calls, which do not vectorise; inlining by numba itself does the same
    and costs half as much again to compile.
    """
    return numba.njit(fastmath=FASTMATH, error_model="numpy", forceinline=True)(function)


def parallel_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile an entry point whose `prange` runs on all threads.

    Numba optimises what it calls three times more than in a `kernel`. Where that is much, a `kernel` that does one
    worker's share is the entry point instead, and Python's threads call it side by side.
    """
    return _cached(numba.njit(fastmath=FASTMATH, error_model="numpy", parallel=True)(function))
