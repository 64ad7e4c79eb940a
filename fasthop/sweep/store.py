"""The folder of a sweep: a manifest, and Parquet files that are whole or not there."""

from __future__ import annotations

import datetime
import errno
import hashlib
import json
import os
import secrets
import shutil
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from fasthop.files import exchange, read_file, replace_file, sync_folder, write_new
from fasthop.sweep.columns import FOOTER, VERSIONS, file_name, is_file_name, parquet_bytes
from fasthop.sweep.errors import FolderError, SpecError
from fasthop.sweep.index import Failure, Held
from fasthop.sweep.machine import machine
from fasthop.sweep.pending import Result
from fasthop.sweep.plan import Names
from fasthop.sweep.spec import MOST_REALISATIONS, REALISATIONS, Registry, Spec, begun_spec

try:
    import fcntl
except ImportError:  # Windows: nothing keeps a second process out
    fcntl = None  # type: ignore[assignment]

#: A file is written when either is reached: what a crash costs at most, and what one row group should hold.
FLUSH_SECONDS = 5.0
FLUSH_ROWS = 100_000

#: Tables of chunks that wait side by side.
_TOGETHER = 1000

_MANIFEST, _TABLES, _PARTIAL, _OLD, _LOCK = "manifest.json", "tables", "partial", "old", "lock"

Used = TypeVar("Used")


def named(folder: str | Path) -> Path:
    """Return the path of a folder; an empty one, which would be the current folder, is a slip."""
    if not os.fspath(folder):
        raise FolderError("a folder must have a name; got an empty text. The current one is a dot.")
    return Path(folder)


# --- a folder, read -------------------------------------------------------------------------------------------------


def table_files(folder: Path) -> list[Path]:
    """List the Parquet files of a sweep, sorted by name: all of one moment, also while another process writes."""
    return [path for path in _listed(folder) if path.suffix == ".parquet"]


def other_files(folder: Path) -> list[Path]:
    """List what lies in `tables/` and is no Parquet file."""
    return [path for path in _listed(folder) if path.suffix != ".parquet"]


def using_files(folders: Sequence[Path], use: Callable[[list[Path]], Used]) -> Used:
    """Return use(files of the folders), asked again where one of them went meanwhile into another file."""
    while True:
        paths = [path for folder in folders for path in table_files(folder)]
        try:
            return use(paths)
        except FileNotFoundError as error:
            gone = Path(str(error.filename))
            if gone not in paths:
                raise
            if gone.is_symlink():
                raise FolderError(f"{gone} is a link to a file that is not there.") from None


def _listed(folder: Path) -> list[Path]:
    """List what lies in `tables/`; a rewriting that has no single step to end with has all rows in `partial/` first."""
    while True:
        tables = folder / _TABLES
        before = _identity(tables)
        place = tables if before else folder / _PARTIAL / _TABLES
        there = _identity(place)
        try:
            found = sorted(place.iterdir())
        except FileNotFoundError:
            found = []
        except OSError as error:
            raise FolderError(f"{place} cannot be read: {error.strerror}.") from None
        # A folder that was replaced may have been half deleted while it was listed.
        if (before, there) == (_identity(tables), _identity(place)):
            return found


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read what a folder says of itself.

    Raises
    ------
    FolderError
        Where it holds no sweep, one of another version of the tables, or a manifest that was changed.
    """
    path = folder / _MANIFEST
    try:
        data = read_file(path)
    except (FileNotFoundError, NotADirectoryError):
        raise FolderError(f"{folder} holds no sweep: there is no {path}.") from None
    except OSError as error:
        raise FolderError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        manifest = json.loads(data)
        versions = {name: manifest[name] for name in VERSIONS}
        complete = all(type(number) is int for number in versions.values())
    except (KeyError, RecursionError, TypeError, ValueError):
        complete = False
    if complete and versions != VERSIONS:
        there, here = (
            ", ".join(f"{name.removesuffix('_version')} {number}" for name, number in some.items())
            for some in (versions, VERSIONS)
        )
        raise FolderError(f"{folder} holds a sweep of another version: {there}; this fasthop has {here}.")
    if not complete or data != _signed(data.rpartition(_SIGNATURE)[0]) or not _is_manifest(manifest):
        raise FolderError(
            f"{folder} holds no sweep: {path} is not a manifest of fasthop, or was changed; to save its rows run its "
            f"spec in a new folder, copy {folder / _TABLES}/*.parquet into the tables there, and run again."
        )
    return dict(manifest)


#: Stands before the digest of all that stands before it.
_SIGNATURE = b',\n"digest": "'


def _signed(data: bytes) -> bytes:
    return data + _SIGNATURE + hashlib.sha256(data).hexdigest().encode() + b'"\n}\n'


def _spelled(entries: Mapping[str, Any]) -> bytes:
    """Spell entries of a manifest as JSON: one line for each entry of a list."""

    def spelled(value: Any) -> str:
        if isinstance(value, list) and value:
            return "[\n " + ",\n ".join(json.dumps(entry, ensure_ascii=False) for entry in value) + "\n]"
        return json.dumps(value, ensure_ascii=False)

    lines = ",\n".join(f"{json.dumps(key)}: {spelled(value)}" for key, value in entries.items())
    return lines.encode("utf-8", "backslashreplace")  # what is no text of a path is JSON's \udcff


def _is_manifest(manifest: Mapping[str, Any]) -> bool:
    """Say whether what readers rely on has the form that `open_store` gives it."""
    spec, runs, tasks = manifest.get("spec"), manifest.get("runs"), manifest.get("tasks")
    return (
        isinstance(manifest.get("source"), str)
        and isinstance(spec, dict)
        and isinstance(spec.get("experiment"), str)
        and type(spec.get("seed")) is int
        and 0 <= spec["seed"] < 2**64
        and all(isinstance(section, dict) for name, section in spec.items() if name not in ("experiment", "seed"))
        and isinstance(tasks, list)
        and all(isinstance(task, str) and task.isascii() for task in tasks)
        and isinstance(runs, list)
        and all(isinstance(run, dict) for run in runs)
        and all(isinstance(run.get(key), str) for run in runs for key in ("command", "started", "host"))
        and all(type(run.get(key)) in (int, float) for run in runs for key in ("seconds", "chunks", "rows"))
        and isinstance(manifest.get("derived"), dict)
        and isinstance(manifest.get("failed"), list)
        and all(isinstance(one, list) and list(map(type, one)) == [str, int, str] for one in manifest["failed"])
    )


def read_spec(folder: Path, registry: Registry | None = None) -> Spec:
    """Return the spec that a folder holds a sweep of; errors as `read_manifest`."""
    return spec_of(folder, read_manifest(folder), registry)


def spec_of(folder: Path, manifest: Mapping[str, Any], registry: Registry | None = None) -> Spec:
    """Return the spec in the manifest of a folder; errors as `read_manifest`."""
    try:
        return begun_spec(manifest["spec"], registry, manifest["source"])
    except SpecError as error:
        raise FolderError(f"{folder} holds a sweep that this fasthop cannot run: {error.problems[0]}") from None


def outstanding(
    failures: Iterable[Sequence[Any]], there: Held, names: Names, realisations: int = MOST_REALISATIONS
) -> list[Failure]:
    """Return the failures that have no rows by now, each once: in the manifest they may have.

    Parameters
    ----------
    failures : iterable of (str, int, str)
    there : Held
    names : Names
        Of the tasks.
    realisations : int
        Those from here on are left out.
    """
    last = {(task_id, realisation): reason for task_id, realisation, reason in failures}
    lost = [Failure(*which, reason) for which, reason in sorted(last.items()) if which[1] < realisations]
    ranks = names.ranks([one.task_id for one in lost]).tolist()
    return [one for rank, one in zip(ranks, lost, strict=True) if not there.has(rank, one.realisation)]


def check_folder(folder: Path, spec: Spec) -> dict[str, Any] | None:
    """Return the manifest of a folder that holds this sweep, None where it can be begun there.

    Raises
    ------
    FolderError
        Where the folder holds anything else.
    """
    if not folder.is_dir():
        if folder.exists():
            raise FolderError(f"{folder} cannot hold a sweep: it is a file.")
        return None
    if not os.path.lexists(folder / _MANIFEST):
        # A run that was killed before it wrote its manifest leaves these, and no tables.
        try:
            strangers = sorted({entry.name for entry in folder.iterdir()} - {_LOCK, _PARTIAL, _TABLES})
        except OSError as error:
            raise FolderError(f"{folder} cannot be read: {error.strerror}.") from None
        strangers += [path.name for path in table_files(folder)]
        if strangers:
            raise FolderError(f"{folder} is not empty and holds no sweep: it has {strangers[0]} and no {_MANIFEST}.")
        return None
    manifest = read_manifest(folder)
    if difference := spec_difference(manifest["spec"], spec):
        raise FolderError(f"{folder} holds another sweep: {difference}; take another folder for this one.")
    return manifest


def spec_difference(there: Mapping[str, Any], spec: Spec) -> str | None:
    """Name the first field, but for the number of realisations and the rule in its place, in which a spec differs."""
    here = spec.to_mapping()
    for name in ("experiment", "seed"):
        if there[name] != here[name]:
            return f"{name} is {json.dumps(there[name])} there and {json.dumps(here[name])} here"
    for field in spec.experiment.fields:
        values = [mapping.get(field.section, {}).get(field.key, "not given") for mapping in (there, here)]
        if values[0] != values[1] and field.column != REALISATIONS:
            old, new = (text if len(text) <= 60 else text[:57] + "..." for text in map(json.dumps, values))
            return f"{field.section}.{field.key} is {old} there and {new} here"
    return None


# --- a folder, written ----------------------------------------------------------------------------------------------


@contextmanager
def open_store(folder: Path, spec: Spec, names: Iterable[str], command: str = "run", **facts: Any) -> Iterator[Store]:
    """Open the folder of a sweep for writing, made where it is not there and locked against other processes.

    However the block ends, the rows that were added are on the disk afterwards, unless the disk refused them.

    Parameters
    ----------
    folder : Path
    spec : Spec
    names : iterable of str
        The ids of its tasks.
    command : str
        What is done, for the manifest.
    **facts
        More for the manifest.

    Raises
    ------
    FolderError
        Where the folder holds anything but this sweep, cannot be written, or is in use.
    """
    check_folder(folder, spec)  # before anything is made
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _Lock(folder)
    except OSError as error:
        raise FolderError(f"{folder} cannot hold a sweep: {error.strerror}.") from None
    with lock:
        manifest = _changing(check_folder(folder, spec))  # again: it may have been filled before it was locked
        try:
            _tidy(folder)
        except OSError as error:
            raise FolderError(f"{folder} cannot hold a sweep: {error.strerror}.") from None
        started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        entry = {"command": command, "started": started, **machine(), **facts}
        entry |= {} if lock.holds else {"locked": False}
        fixed = _spelled({**VERSIONS, "spec": spec.to_mapping(), "source": spec.source, "tasks": list(names)})
        manifest["runs"].append(entry)
        store = Store(folder, spec, fixed, manifest, lock)
        store.note()
        try:
            yield store
        except BaseException as error:
            store.note(ended=type(error).__name__)
            raise
        else:
            store.note(ended="done")


def _changing(there: dict[str, Any] | None) -> dict[str, Any]:
    """Return what a run changes of a manifest: digests of what was made of the rows, what failed, and the runs."""
    there = there or {"derived": {}, "failed": [], "runs": []}
    return {name: there[name] for name in ("derived", "failed", "runs")}


class _Lock:
    """A lock on an open file, not on its existence: whatever ends the process ends the lock.

    Attributes
    ----------
    holds : bool
        Whether it keeps others out: some network disks refuse to lock, some only pretend to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / _LOCK
        _refuse_link(self._path)
        self._handle = self._opened()
        try:
            if not stat.S_ISREG(os.fstat(self._handle).st_mode):
                raise FolderError(f"{self._path} is no plain file: fasthop did not make it.")
            self.holds = self._taken(self._handle)
            if self.holds is None:
                raise FolderError(f"{folder} is in use: another process is running a sweep in it.")
            if self.holds:
                second = self._opened()
                self.holds = self._taken(second) is None
                os.close(second)
        except BaseException:
            os.close(self._handle)
            raise

    def _opened(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        return os.open(self._path, flags, 0o666)

    def _taken(self, handle: int) -> bool | None:
        """Lock an open file: True where that is done, None where another one has it, False where there are no locks."""
        if fcntl is None:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL):
                return False
            raise
        return True

    def check(self) -> None:
        """Refuse to write where the folder was moved and another has its name."""
        own = os.fstat(self._handle)
        if _identity(self._path) != (own.st_dev, own.st_ino):
            raise FolderError(
                f"{self._folder} was moved or replaced while its sweep ran: nothing more is written to it."
            )

    def __enter__(self) -> _Lock:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise FolderError(f"{path} is a link: fasthop writes only to what lies in the folder itself.")


def _tidy(folder: Path) -> None:
    """Make the folders that a sweep has, and finish or drop what a process has left that was killed."""
    tables, partial = folder / _TABLES, folder / _PARTIAL
    _refuse_link(tables)
    _refuse_link(partial)
    if not tables.exists() and (partial / _TABLES).exists():  # between the two last steps of `_switch`
        os.rename(partial / _TABLES, tables)
    tables.mkdir(exist_ok=True)
    partial.mkdir(exist_ok=True)
    for name in (_TABLES, _OLD):
        if (partial / name).is_dir():
            _put_away(partial / name, tables, None)
    for path in partial.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _switch(new: Path, tables: Path) -> Path:
    """Let new tables take the place of the old ones at once, where the system can; return where the old ones are now.

    Elsewhere in two steps, never both sets in one folder, where readers would count rows twice: in between, `_listed`
    finds the new ones where they are.
    """
    if exchange(new, tables):
        return new
    old = new.with_name(_OLD)
    os.rename(tables, old)
    os.rename(new, tables)
    return old


def _put_away(old: Path, tables: Path, known: set[str] | None) -> None:
    """Remove tables whose rows are elsewhere by now; what others have put beside them stays.

    `known` are the names of the files that were read; without it they are told by the form of their names.
    """
    for path in old.iterdir():
        if path.name in known if known is not None else is_file_name(path.name):
            path.unlink()
        elif not os.path.lexists(tables / path.name):
            os.rename(path, tables / path.name)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block. Signals reach the main thread alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if seen:
            signal.raise_signal(seen[0])


def put(folder: Path, name: str, content: bytes | memoryview) -> None:
    """Put a file into the folder of a sweep, in the place of what has its name, at once or never."""
    partial, target = folder / _PARTIAL, folder / name
    while True:
        _refuse_link(partial)
        try:
            partial.mkdir(exist_ok=True)
            return replace_file(target, content, partial / f"{target.name}.{secrets.token_hex(4)}")
        except FileNotFoundError:  # another process has begun to write there, and has tidied up
            if not target.parent.exists():
                raise
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), str(target)) from error


class Store:
    """The rows of a sweep on their way to the disk.

    Attributes
    ----------
    chunks, rows : int
        What has been added.
    """

    def __init__(self, folder: Path, spec: Spec, fixed: bytes, manifest: dict[str, Any], lock: _Lock) -> None:
        self.chunks = self.rows = 0
        self._folder, self._spec, self._lock = folder, spec, lock
        #: What the manifest says first and for ever, spelled, and what changes.
        self._fixed, self._manifest = fixed, manifest
        self._entry: dict[str, Any] = manifest["runs"][-1]
        self._seen: Mapping[str, Any] = {}
        self._pending: list[tuple[int, int, pa.Table]] = []
        self._waiting = 0
        self._failed = {(task_id, realisation): reason for task_id, realisation, reason in manifest["failed"]}
        self._names = self._table_names()
        self._began = self._flushed = time.monotonic()

    @property
    def notes(self) -> list[str]:
        """What should be known of the folder."""
        if self._lock.holds:
            return []
        return [f"{self._folder} is on a disk that cannot lock: no other process may write to it at the same time."]

    def _table_names(self) -> set[str]:
        return {path.name for path in table_files(self._folder)}

    def _check(self) -> None:
        """Refuse to write where the folder is another one's by now."""
        self._lock.check()
        if not self._lock.holds and (strange := self._table_names() - self._names):
            raise FolderError(f"{self._folder} is in use: another process has written {min(strange)} meanwhile.")

    def add(self, result: Result) -> None:
        """Take what was computed for a chunk; write a file when one is due."""
        with _uninterrupted():
            if result.failed or self._failed:
                for realisation in result.chunk.realisations:
                    self._failed.pop((result.chunk.task.task_id, realisation), None)
                self._failed |= {(result.chunk.task.task_id, one): reason for one, reason in result.failed.items()}
            if result.table.num_rows:
                self._pending.append((result.chunk.number, result.chunk.number, result.table))
                if len(self._pending) >= _TOGETHER:
                    self._pending = [self._together()]
            self._waiting += result.table.num_rows
            self.chunks += 1
            self.rows += result.table.num_rows
            if result.machine is not self._seen:  # of most chunks it is the one of the last
                self._seen = result.machine
                if any(self._entry.get(name) != fact for name, fact in result.machine.items()):
                    workers = self._entry.setdefault("workers", [])
                    workers += [result.machine] if result.machine not in workers else []
            if self._waiting > FLUSH_ROWS or time.monotonic() - self._flushed >= FLUSH_SECONDS:
                self.note()

    def _together(self) -> tuple[int, int, pa.Table]:
        """Return the first chunk that waits, the last one, and their rows: many small tables take much memory."""
        firsts, lasts, tables = zip(*self._pending, strict=True)
        return min(firsts), max(lasts), pa.concat_tables(tables).combine_chunks()

    def note(self, **facts: Any) -> None:
        """Write what has been added since the last time to one new file, and to the manifest what was done by now."""
        with _uninterrupted():
            self._check()
            if self._pending:
                first, last, table = self._together()
                data = self._bytes(table)
                name = file_name(first, last, data)
                put(self._folder, f"{_TABLES}/{name}", data)
                self._names.add(name)
                self._pending.clear()
                self._waiting = 0
            self._flushed = time.monotonic()
            seconds = round(self._flushed - self._began, 3)
            self._entry |= {"seconds": seconds, "chunks": self.chunks, "rows": self.rows, **facts}
            self._manifest["failed"] = [[*which, reason] for which, reason in self._failed.items()]
            put(self._folder, _MANIFEST, _signed(b"{\n" + self._fixed + b",\n" + _spelled(self._manifest)))

    @property
    def derived(self) -> dict[str, str]:
        """Digests of what was made of the rows, by file, and what it was made of: kept in the manifest."""
        return dict(self._manifest["derived"])

    @derived.setter
    def derived(self, digests: Mapping[str, str]) -> None:
        self._manifest["derived"] = dict(digests)
        self.note()

    @property
    def failed(self) -> list[Failure]:
        """The realisations that have failed, and not succeeded since."""
        return [Failure(*which, reason) for which, reason in self._failed.items()]

    @failed.setter
    def failed(self, failures: Iterable[Failure]) -> None:
        self._failed = {(task_id, realisation): reason for task_id, realisation, reason in failures}

    def inherit(self, runs: Sequence[Mapping[str, Any]]) -> None:
        """Put the runs of other folders before those of this one, each once."""
        own = self._manifest["runs"]
        self._manifest["runs"] = [*(run for run in runs if run not in own), *own]

    def rewrite(self, pieces: Iterable[tuple[int, int, pa.Table]], replaced: Iterable[Path]) -> None:
        """Put new files in the place of those that were read, at once; what else lies beside them stays.

        Parameters
        ----------
        pieces : iterable of (int, int, Table)
            First and last chunk of each file, and its rows.
        replaced : iterable of Path
            The files that were read.
        """
        tables, new = self._folder / _TABLES, self._folder / _PARTIAL / _TABLES
        new.mkdir()
        rows = 0
        try:
            for first, last, table in pieces:
                data = self._bytes(table)
                self._write(new / file_name(first, last, data), data)
                rows += table.num_rows
            sync_folder(new)
            self._check()
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)  # the disk may be full
            raise
        with _uninterrupted():
            old = _switch(new, tables)
            sync_folder(self._folder)
            _put_away(old, tables, {path.name for path in replaced if path.parent == tables})
            self._names = self._table_names()
        self.rows += rows

    def _write(self, path: Path, data: memoryview) -> None:
        try:
            write_new(path, data)
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error

    def _bytes(self, table: pa.Table) -> memoryview:
        footer = {FOOTER: json.dumps(self._spec.to_mapping())}
        return parquet_bytes(table.combine_chunks().replace_schema_metadata(footer))
