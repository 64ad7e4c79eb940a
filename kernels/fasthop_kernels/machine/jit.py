"""The house decorators, and an on-disk cache that returns neither stale nor damaged code.

Numba keys a cached function by the file it stands in. A kernel that calls another module would therefore go on
returning old numbers after that module was edited or upgraded. Here every cache entry is named by a digest of its file
and of all kernel files that this one imports, at any distance, so an entry is found only by exactly the code that made
it. The index of a cache has a digest of itself and of every file of code: where bytes were lost or changed nothing of
them is looked at, and the code is compiled anew.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import glob
import hashlib
import itertools
import os
import pathlib
import pickle
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


_PACKAGE = __package__.partition(".")[0]
_FOLDER = pathlib.Path(__file__).parents[1]


@functools.cache
def _imports(source: bytes) -> set[str]:
    """Names of the modules of all kernels that a source imports, and of everything that might be one."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return {name.removeprefix(f"{_PACKAGE}.") for name in names if name.startswith(f"{_PACKAGE}.")}


@functools.cache
def digest(path: pathlib.Path) -> str:
    """Hash of a source file and of all files of this package that it needs, with their names."""
    contents: dict[pathlib.Path, bytes] = {}
    found = [path]
    while found:
        if (file := found.pop()) not in contents:
            contents[file] = file.read_bytes() if file.is_file() else b""
            parts = [_FOLDER / f"{name.replace('.', '/')}.py" for name in _imports(contents[file])]
            found += [part for part in parts if part.is_file()]
    sha = hashlib.sha256()
    for file in sorted(contents):
        sha.update(f"{file.parent.name}/{file.name}".encode() + b"\0" + contents[file] + b"\0")
    return sha.hexdigest()


class _CheckedFiles(IndexDataCacheFile):
    """Numba's index and files of code, read only where every byte is as it was written."""

    def save(self, key: Any, data: Any) -> None:
        """Write the code of one overload, then the index with its digest."""
        overloads, content = self._load_index(), self._dump(data)
        taken = {name for name, _ in overloads.values()}
        free = (name for number in itertools.count(1) if (name := self._data_name(number)) not in taken)
        name = overloads[key][0] if key in overloads else next(free)
        self._write(self._data_path(name), content)
        self._save_index(overloads | {key: (name, hashlib.sha256(content).digest())})

    def load(self, key: Any) -> Any:
        """Return the code of one overload; None where it is not there as it was written."""
        name, due = self._load_index().get(key, (None, b""))
        content = b"" if name is None else _content(self._data_path(name))
        return pickle.loads(content) if hashlib.sha256(content).digest() == due else None

    def _load_index(self) -> dict[Any, tuple[str, bytes]]:
        content = _content(self._index_path)
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            return {}
        version, stamp, overloads = pickle.loads(content[32:])
        return dict(overloads) if (version, stamp) == (self._version, self._source_stamp) else {}

    def _save_index(self, overloads: dict[Any, tuple[str, bytes]]) -> None:
        content = self._dump((self._version, self._source_stamp, overloads))
        self._write(self._index_path, hashlib.sha256(content).digest() + content)

    def _write(self, path: str, content: bytes) -> None:
        with self._open_for_write(path) as handle:
            handle.write(content)


def _content(path: str) -> bytes:
    try:
        return pathlib.Path(path).read_bytes()
    except OSError:
        return b""


class _SourceKeyedCache(FunctionCache):
    """Numba's function cache with the digest of the sources in its file names."""

    def __init__(self, py_func: Callable[..., Any]) -> None:
        super().__init__(py_func)
        made_of = digest(pathlib.Path(py_func.__code__.co_filename))
        base = self._impl.filename_base  # module and name, then a line and the version of Python
        self._name, self._mark = base.rpartition("-")[0], made_of[:16]
        self._cache_file = _CheckedFiles(self._cache_path, f"{base}-{self._mark}", made_of)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            return None  # whole, but of no use to this numba: a cache is no reason not to start

    def save_overload(self, sig: Any, data: Any) -> None:
        # Without a lock two processes that compile two dtypes at once would take one name for both, and one of them
        # would be compiled again.
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
            with contextlib.suppress(OSError):  # a disk without locks: at worst one dtype is compiled once more
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
    """Compile a function that is called from other kernels or, with the interpreter's lock released, from a thread.

    An entry point does one worker's share, and Python's threads call it side by side: numba's own `prange` optimises
    what it calls three times more, and holds Python's signals off until it ends.
    """
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
