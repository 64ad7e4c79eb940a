"""The folder of a sweep: a manifest, and Parquet files that are whole or not there."""

from __future__ import annotations

import datetime
import functools
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import fasthop
from fasthop.experiments.experiment import Experiment
from fasthop.sweep.errors import FolderError, TableError
from fasthop.sweep.plan import SCHEMA_VERSION, STREAM_VERSION, Chunk, TaskPlan
from fasthop.sweep.spec import REALISATIONS, Spec

try:
    import fcntl
except ImportError:  # Windows: nothing keeps a second process out
    fcntl = None  # type: ignore[assignment]

#: A file is written when either is reached: what a crash costs at most, and what one row group should hold.
FLUSH_SECONDS = 5.0
FLUSH_ROWS = 100_000

#: What every row carries, before the columns of its experiment.
IDENTITY = pa.schema(
    [
        pa.field(name, kind, nullable=False)
        for name, kind in [
            ("task_id", pa.string()),
            ("schema_version", pa.int32()),
            ("stream_version", pa.int32()),
            ("engine_version", pa.string()),
            ("instruction_set", pa.string()),
            ("seed", pa.uint64()),
        ]
    ]
)

_VERSIONS = SCHEMA_VERSION, STREAM_VERSION
_KEYS = {"spec", "source", "tasks", "runs"}
_MANIFEST, _TABLES, _PARTIAL, _LOCK = "manifest.json", "tables", "partial", "lock"


# --- tables ---------------------------------------------------------------------------------------------------------


def table_schema(experiment: Experiment) -> pa.Schema:
    """Return the columns of the experiment's files: identity first, strings plain, nothing null."""
    own = [
        pa.field(field.name, field.type.value_type if pa.types.is_dictionary(field.type) else field.type, False)
        for field in experiment.schema
    ]
    return pa.schema([*IDENTITY, *own])


@functools.cache
def _instruction_set() -> str:
    from fasthop_kernels.lanes import instruction_set

    return instruction_set()


def make_table(
    spec: Spec, task: TaskPlan, realisations: Sequence[int], columns: Mapping[str, np.ndarray | list[Any]]
) -> pa.Table:
    """Turn what an experiment has returned into a table.

    Raises
    ------
    TableError
        Where columns or realisations lack, are too many, of unequal length, of another type, or null.
    """
    schema = table_schema(spec.experiment)
    own = schema.names[len(IDENTITY) :]
    wrong = sorted(set(own) ^ set(columns))
    if wrong:
        raise TableError(f"{spec.experiment.name} must return the columns {own}; {wrong} lack or are too many.")
    if set(np.unique(columns["realisation"]).tolist()) != set(realisations):
        raise TableError(f"{spec.experiment.name} must return rows of the realisations {list(realisations)}, each.")
    identity = [task.task_id, SCHEMA_VERSION, STREAM_VERSION, fasthop.__version__, _instruction_set(), spec.seed]
    count = len(columns["realisation"])
    arrays = [pa.array([value] * count, field.type) for value, field in zip(identity, IDENTITY, strict=True)]
    for name in own:
        try:
            array = pa.array(columns[name], schema.field(name).type)
        except (pa.ArrowException, OverflowError, TypeError) as error:
            kind = schema.field(name).type
            raise TableError(f"{spec.experiment.name} must return {name} as {kind}: {error}") from None
        if len(array) != count or array.null_count:
            raise TableError(f"{spec.experiment.name} must return {count} values of {name}, none of them null.")
        arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=schema)


def parquet_bytes(table: pa.Table) -> memoryview:
    """Return the bytes of a Parquet file with one row group; equal tables give equal bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", row_group_size=max(1, table.num_rows))
    return memoryview(sink.getvalue())


def read_table(path: Path, schema: pa.Schema | None, columns: list[str] | None = None) -> pa.Table:
    """Read one file of `tables/`, or some of its columns; without a schema it may have any.

    Raises
    ------
    FolderError
        Where it is damaged or has other columns than those of the schema.
    """
    try:
        with pq.ParquetFile(path) as file:
            if schema is not None and not file.schema_arrow.equals(schema):
                raise FolderError(f"{path} has other columns than this sweep: it is not one of its files.")
            return file.read(columns=columns)
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise FolderError(f"{path} is damaged ({reason}); remove it and run again to compute its rows anew.") from None


# --- a folder, read -------------------------------------------------------------------------------------------------


def table_files(folder: Path) -> list[Path]:
    """List the Parquet files of a sweep, sorted by name."""
    return sorted((folder / _TABLES).glob("*.parquet"))


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
        versions = manifest["schema_version"], manifest["stream_version"]
        complete = manifest.keys() >= _KEYS and manifest["spec"].keys() >= {"experiment", "seed"}
    except (FileNotFoundError, NotADirectoryError):
        raise FolderError(f"{folder} holds no sweep: there is no {path}.") from None
    except OSError as error:
        raise FolderError(f"{folder} cannot be read: {error.strerror}.") from None
    except (AttributeError, KeyError, TypeError, ValueError):
        complete = False
    if not complete:
        raise FolderError(f"{folder} holds no sweep: {path} is not a manifest of fasthop.")
    if versions != (SCHEMA_VERSION, STREAM_VERSION):
        there, here = (f"schema {schema}, stream {stream}" for schema, stream in (versions, _VERSIONS))
        raise FolderError(f"{folder} holds a sweep of another version: {there}; this fasthop has {here}.")
    return dict(manifest)


def finished(folder: Path, experiment: Experiment) -> dict[str, set[int]]:
    """Return the realisations that a folder holds, by task id."""
    there: dict[str, set[int]] = {}
    schema = table_schema(experiment)
    for path in table_files(folder):
        frame = read_table(path, schema, ["task_id", "realisation"]).to_pandas()
        for task_id, realisations in frame.groupby("task_id")["realisation"].unique().items():
            there.setdefault(str(task_id), set()).update(realisations.tolist())
    return there


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
    if difference := _difference(manifest["spec"], spec):
        raise FolderError(f"{folder} holds another sweep: {difference}; take another folder for this one.")
    return manifest


def _difference(there: Mapping[str, Any], spec: Spec) -> str | None:
    """Name the first field, but for the number of realisations, in which a spec differs."""
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
def replacing(folder: Path, target: Path) -> Iterator[Path]:
    """Give the path of a file to write, which then takes the place of `target` at once, or never."""
    (folder / _PARTIAL).mkdir(exist_ok=True)
    partial = folder / _PARTIAL / target.name
    try:
        yield partial
        with open(partial, "r+b") as handle:
            os.fsync(handle.fileno())
        os.replace(partial, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(target)) from error
    finally:
        partial.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # where a folder cannot be opened
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def open_store(folder: Path, spec: Spec, tasks: Sequence[TaskPlan]) -> Iterator[Store]:
    """Open the folder of a sweep for writing, made where it is not there and locked against other processes.

    However the block ends, the rows that were added are on the disk afterwards, unless the disk refused them.

    Raises
    ------
    FolderError
        Where the folder holds anything but this sweep, cannot be written, or is in use.
    """
    check_folder(folder, spec)  # before anything is made
    try:
        (folder / _TABLES).mkdir(parents=True, exist_ok=True)
        handle = open(folder / _LOCK, "ab")  # noqa: SIM115 (closed below, where its errors are not those of opening)
    except OSError as error:
        raise FolderError(f"{folder} cannot hold a sweep: {error.strerror}.") from None
    with handle:
        _lock(handle, folder)
        before = check_folder(folder, spec)  # again: it may have been filled before it was locked
        shutil.rmtree(folder / _PARTIAL, ignore_errors=True)
        started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        run: dict[str, Any] = {
            "started": started,
            "host": platform.node(),
            "processors": os.cpu_count(),
            "engine_version": fasthop.__version__,
            "instruction_set": _instruction_set(),
        }
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "stream_version": STREAM_VERSION,
            "spec": spec.to_mapping(),
            "source": spec.source,
            "tasks": [task.task_id for task in tasks],
            "runs": [*(before["runs"] if before else []), run],
        }
        _write_manifest(folder, manifest)
        store, begun = Store(folder, spec), time.monotonic()
        try:
            yield store
        finally:
            store.flush()
            seconds = round(time.monotonic() - begun, 3)
            run |= {"seconds": seconds, "chunks": store.chunks, "rows": store.rows}
            _write_manifest(folder, manifest)


def _lock(handle: BinaryIO, folder: Path) -> None:
    """Lock the open file, not its existence: whatever ends the process ends the lock."""
    if fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderError(f"{folder} is in use: another process is running a sweep in it.") from None


def _write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    with replacing(folder, folder / _MANIFEST) as partial:
        partial.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


class Store:
    """The rows of a sweep on their way to the disk.

    Attributes
    ----------
    chunks, rows : int
        What has been added.
    """

    def __init__(self, folder: Path, spec: Spec) -> None:
        self.chunks = self.rows = 0
        self._folder, self._spec = folder, spec
        self._pending: list[tuple[int, pa.Table]] = []
        self._flushed = time.monotonic()

    def add(self, chunk: Chunk, columns: Mapping[str, np.ndarray | list[Any]]) -> None:
        """Take what the experiment has returned for a chunk; write a file when one is due."""
        table = make_table(self._spec, chunk.task, chunk.realisations, columns)
        self._pending.append((chunk.number, table))
        self.chunks += 1
        self.rows += table.num_rows
        rows = sum(table.num_rows for _, table in self._pending)
        if rows > FLUSH_ROWS or time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what has been added since the last time to one new file."""
        if not self._pending:
            return
        numbers, tables = zip(*self._pending, strict=True)
        footer = {"fasthop": json.dumps(self._spec.to_mapping())}
        data = parquet_bytes(pa.concat_tables(tables).combine_chunks().replace_schema_metadata(footer))
        # The digest makes the name: no file can take the place of another with other rows.
        digest = hashlib.sha256(data).hexdigest()[:12]
        name = f"rows-{numbers[0]:07d}-{numbers[-1]:07d}-{digest}.parquet"
        with replacing(self._folder, self._folder / _TABLES / name) as partial:
            partial.write_bytes(data)
        self._pending.clear()
        self._flushed = time.monotonic()
