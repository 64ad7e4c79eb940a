"""The folder of a sweep: a manifest, and Parquet files that are whole or not there."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from fasthop.sweep.agenda import Result
from fasthop.sweep.columns import FOOTER, parquet_bytes
from fasthop.sweep.errors import FolderError
from fasthop.sweep.machine import machine
from fasthop.sweep.plan import KERNEL_VERSION, SCHEMA_VERSION, STREAM_VERSION, TaskPlan
from fasthop.sweep.spec import REALISATIONS, Registry, Spec, spec_from_mapping

try:
    import fcntl
except ImportError:  # Windows: nothing keeps a second process out
    fcntl = None  # type: ignore[assignment]

#: A file is written when either is reached: what a crash costs at most, and what one row group should hold.
FLUSH_SECONDS = 5.0
FLUSH_ROWS = 100_000

_VERSIONS = {"schema_version": SCHEMA_VERSION, "stream_version": STREAM_VERSION, "kernel_version": KERNEL_VERSION}
_KEYS = {"spec", "source", "tasks", "runs"}
_MANIFEST, _TABLES, _PARTIAL, _LOCK = "manifest.json", "tables", "partial", "lock"

#: First chunk, last chunk, and the digest of the content.
_NAME = re.compile(r"rows-\d{7,}-\d{7,}-([0-9a-f]{12})\.parquet")


# --- a folder, read -------------------------------------------------------------------------------------------------


def table_files(folder: Path) -> list[Path]:
    """List the Parquet files of a sweep, sorted by name.

    Raises
    ------
    FolderError
        Where a rewriting was interrupted between its two last steps: all rows are there, but not in their place.
    """
    if _rewritten(folder):
        raise FolderError(f"{folder} was left half compacted: run fasthop compact {folder} to finish that.")
    return sorted((folder / _TABLES).glob("*.parquet"))


def other_files(folder: Path) -> list[Path]:
    """List what lies in `tables/` and is no Parquet file."""
    return sorted(path for path in (folder / _TABLES).iterdir() if path.suffix != ".parquet")


def file_name(first: int, last: int, data: bytes | memoryview) -> str:
    """Name a file by its chunks and its content: no file can take the place of another with other rows."""
    return f"rows-{first:07d}-{last:07d}-{hashlib.sha256(data).hexdigest()[:12]}.parquet"


def name_fits(path: Path) -> bool:
    """Say whether a file has the content that its name promises."""
    match = _NAME.fullmatch(path.name)
    return match is not None and hashlib.sha256(path.read_bytes()).hexdigest().startswith(match[1])


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read what a folder says of itself.

    Raises
    ------
    FolderError
        Where it holds no sweep, or one of another version of the tables.
    """
    path = folder / _MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        versions = {name: manifest[name] for name in _VERSIONS}
        complete = manifest.keys() >= _KEYS and manifest["spec"].keys() >= {"experiment", "seed"}
    except (FileNotFoundError, NotADirectoryError):
        raise FolderError(f"{folder} holds no sweep: there is no {path}.") from None
    except OSError as error:
        raise FolderError(f"{folder} cannot be read: {error.strerror}.") from None
    except (AttributeError, KeyError, TypeError, ValueError):
        complete = False
    if not complete:
        raise FolderError(f"{folder} holds no sweep: {path} is not a manifest of fasthop.")
    if versions != _VERSIONS:
        there, here = (
            ", ".join(f"{name.removesuffix('_version')} {number}" for name, number in some.items())
            for some in (versions, _VERSIONS)
        )
        raise FolderError(f"{folder} holds a sweep of another version: {there}; this fasthop has {here}.")
    return dict(manifest)


def read_spec(folder: Path, registry: Registry | None = None) -> Spec:
    """Return the spec that a folder holds a sweep of; errors as `read_manifest` and `spec_from_mapping`."""
    manifest = read_manifest(folder)
    return spec_from_mapping(manifest["spec"], registry, manifest["source"])


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
    if not (folder / _MANIFEST).exists():
        # A run that was killed before it wrote its manifest leaves these, and no tables.
        strangers = sorted({entry.name for entry in folder.iterdir()} - {_LOCK, _PARTIAL, _TABLES})
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
def open_store(
    folder: Path, spec: Spec, tasks: Sequence[TaskPlan], command: str = "run", **facts: Any
) -> Iterator[Store]:
    """Open the folder of a sweep for writing, made where it is not there and locked against other processes.

    However the block ends, the rows that were added are on the disk afterwards, unless the disk refused them.

    Parameters
    ----------
    folder : Path
    spec : Spec
    tasks : sequence of TaskPlan
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
        handle = open(folder / _LOCK, "ab")  # noqa: SIM115 (closed below, where its errors are not those of opening)
    except OSError as error:
        raise FolderError(f"{folder} cannot hold a sweep: {error.strerror}.") from None
    with handle:
        _lock(handle, folder)
        before = check_folder(folder, spec)  # again: it may have been filled before it was locked
        if _rewritten(folder):
            os.rename(folder / _PARTIAL / _TABLES, folder / _TABLES)
        (folder / _TABLES).mkdir(exist_ok=True)
        shutil.rmtree(folder / _PARTIAL, ignore_errors=True)
        started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        entry = {"command": command, "started": started, **machine(), **facts}
        manifest = {
            **_VERSIONS,
            "spec": spec.to_mapping(),
            "source": spec.source,
            "tasks": [task.task_id for task in tasks],
            "runs": [*(before["runs"] if before else []), entry],
        }
        store = Store(folder, spec, manifest)
        store.note()
        try:
            yield store
        except BaseException as error:
            store.note(ended=type(error).__name__)
            raise
        else:
            store.note(ended="done")


def _rewritten(folder: Path) -> bool:
    """Say whether new tables are whole and the old ones away: what `Store.rewrite` does between two renames."""
    return not (folder / _TABLES).exists() and (folder / _PARTIAL / _TABLES).exists()


def _lock(handle: BinaryIO, folder: Path) -> None:
    """Lock the open file, not its existence: whatever ends the process ends the lock."""
    if fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderError(f"{folder} is in use: another process is running a sweep in it.") from None


@contextmanager
def replacing(folder: Path, target: Path) -> Iterator[Path]:
    """Give the path of a file to write, which then takes the place of `target` at once, or never."""
    (folder / _PARTIAL).mkdir(exist_ok=True)
    partial = folder / _PARTIAL / target.name
    try:
        yield partial
        _sync(partial)
        os.replace(partial, target)
        _sync(target.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(target)) from error
    finally:
        partial.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # where a folder cannot be opened
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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


class Store:
    """The rows of a sweep on their way to the disk.

    Attributes
    ----------
    chunks, rows : int
        What has been added.
    """

    def __init__(self, folder: Path, spec: Spec, manifest: dict[str, Any]) -> None:
        self.chunks = self.rows = 0
        self._folder, self._spec, self._manifest = folder, spec, manifest
        self._entry: dict[str, Any] = manifest["runs"][-1]
        self._pending: list[tuple[int, pa.Table]] = []
        self._waiting = 0
        self._began = self._flushed = time.monotonic()

    def add(self, result: Result) -> None:
        """Take what was computed for a chunk; write a file when one is due."""
        with _uninterrupted():
            self._pending.append((result.chunk.number, result.table))
            self._waiting += result.table.num_rows
            self.chunks += 1
            self.rows += result.table.num_rows
            if any(self._entry.get(name) != fact for name, fact in result.machine.items()):
                workers = self._entry.setdefault("workers", [])
                workers += [result.machine] if result.machine not in workers else []
            if self._waiting > FLUSH_ROWS or time.monotonic() - self._flushed >= FLUSH_SECONDS:
                self.note()

    def note(self, **facts: Any) -> None:
        """Write what has been added since the last time to one new file, and to the manifest what was done by now."""
        with _uninterrupted():
            if self._pending:
                numbers, tables = zip(*self._pending, strict=True)
                data = self._bytes(pa.concat_tables(tables))
                name = file_name(min(numbers), max(numbers), data)
                with replacing(self._folder, self._folder / _TABLES / name) as partial:
                    partial.write_bytes(data)
                self._pending.clear()
                self._waiting = 0
            self._flushed = time.monotonic()
            seconds = round(self._flushed - self._began, 3)
            self._entry |= {"seconds": seconds, "chunks": self.chunks, "rows": self.rows, **facts}
            with replacing(self._folder, self._folder / _MANIFEST) as partial:
                partial.write_text(json.dumps(self._manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def inherit(self, runs: Sequence[Mapping[str, Any]]) -> None:
        """Put the runs of other folders before those of this one, each once."""
        own = self._manifest["runs"]
        self._manifest["runs"] = [*(run for run in runs if run not in own), *own]

    def rewrite(self, pieces: Iterable[tuple[int, int, pa.Table]]) -> None:
        """Put new files in the place of all that are there, at once.

        Parameters
        ----------
        pieces : iterable of (int, int, Table)
            First and last chunk of each file, and its rows.
        """
        new = self._folder / _PARTIAL / _TABLES
        new.mkdir(parents=True)
        try:
            for first, last, table in pieces:
                data = self._bytes(table)
                path = new / file_name(first, last, data)
                path.write_bytes(data)
                _sync(path)
                self.rows += table.num_rows
        except OSError as error:
            shutil.rmtree(new)  # the disk may be full
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        _sync(new)
        with _uninterrupted():
            # Never both sets in one folder, where readers would count rows twice; `_rewritten` sees a crash between.
            os.rename(self._folder / _TABLES, self._folder / _PARTIAL / "old")
            os.rename(new, self._folder / _TABLES)
            _sync(self._folder)
            shutil.rmtree(self._folder / _PARTIAL / "old")

    def _bytes(self, table: pa.Table) -> memoryview:
        footer = {FOOTER: json.dumps(self._spec.to_mapping())}
        return parquet_bytes(table.combine_chunks().replace_schema_metadata(footer))
