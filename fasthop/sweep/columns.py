"""The columns of a sweep's files, from what an experiment returns to the bytes of a Parquet file, and back."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import fasthop
from fasthop.experiments.experiment import Experiment
from fasthop.files import read_file
from fasthop.sweep.errors import FolderError, TableError
from fasthop.sweep.plan import KERNEL_VERSION, SCHEMA_VERSION, STREAM_VERSION, TaskPlan
from fasthop.sweep.spec import Spec

#: What every row carries, before the columns of its experiment.
IDENTITY = pa.schema(
    [
        pa.field(name, kind, nullable=False)
        for name, kind in [
            ("task_id", pa.string()),
            ("schema_version", pa.int32()),
            ("stream_version", pa.int32()),
            ("kernel_version", pa.int32()),
            ("engine_version", pa.string()),
            ("instruction_set", pa.string()),
            ("seed", pa.uint64()),
        ]
    ]
)

#: What every file has in its footer: the spec as JSON.
FOOTER = b"fasthop"

#: What rows and manifests of this fasthop have.
VERSIONS = {"schema_version": SCHEMA_VERSION, "stream_version": STREAM_VERSION, "kernel_version": KERNEL_VERSION}

#: First chunk, last chunk, and the digest of the content.
_NAME = re.compile(r"rows-\d{7,}-\d{7,}-([0-9a-f]{12})\.parquet", re.ASCII)

_REMEDY = "move it away and run again to compute its rows anew"


def table_schema(experiment: Experiment) -> pa.Schema:
    """Return the columns of the experiment's files: identity, parameters, what is measured; nothing is null."""
    return _with_identity(experiment.schema)


@functools.cache  # asked for with every chunk
def _with_identity(schema: pa.Schema) -> pa.Schema:
    return pa.schema([*IDENTITY, *schema])


def make_table(
    spec: Spec,
    task: TaskPlan,
    realisations: Sequence[int],
    columns: Mapping[str, np.ndarray | list[Any]],
    instruction_set: str,
) -> pa.Table:
    """Turn what an experiment has measured on a machine with that instruction set into a table.

    Raises
    ------
    TableError
        Where columns or realisations are missing, too many, of unequal length or in another order, of another type, or
        null.
    """
    experiment = spec.experiment
    own = list(experiment.measured)
    wrong = sorted(set(own) ^ set(columns))
    if wrong:
        raise TableError(f"{experiment.name} must return the columns {own}; {wrong} are missing or too many.")
    found = np.asarray(columns["realisation"])
    if found[starts_of_runs(found)].tolist() != list(realisations):
        due = f"{list(realisations)}, each and in this order"
        raise TableError(f"{experiment.name} must return rows of the realisations {due}.")
    schema, count = table_schema(experiment), len(found)
    arrays = [pa.array([task.task_id] * count, pa.string()), *_alike(instruction_set, spec.seed, count)]
    for value in experiment.values(task.parameters).values():
        arrays.append(pa.repeat(pa.scalar(value, schema.types[len(arrays)]), count))
    for name in own:
        kind = schema.types[len(arrays)]
        try:
            array = pa.array(columns[name], kind)
        except (pa.ArrowException, OverflowError, TypeError) as error:
            raise TableError(f"{experiment.name} must return {name} as {kind}: {error}") from None
        if len(array) != count or array.null_count:
            raise TableError(f"{experiment.name} must return {count} values of {name}, none of them null.")
        arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=schema)


@functools.lru_cache(maxsize=8)
def _alike(instruction_set: str, seed: int, count: int) -> list[pa.Array]:
    """Return the columns of IDENTITY after the first for so many rows: most chunks of a run have the same."""
    values = [SCHEMA_VERSION, STREAM_VERSION, KERNEL_VERSION, fasthop.__version__, instruction_set, seed]
    return [
        pa.repeat(pa.scalar(value, field.type), count) for value, field in zip(values, list(IDENTITY)[1:], strict=True)
    ]


def starts_of_runs(*columns: np.ndarray) -> np.ndarray:
    """Return where each run of rows begins that agree in all columns."""
    new = np.zeros(len(columns[0]), bool)
    new[:1] = True
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return new.nonzero()[0]


def counts_per_realisation(experiment: Experiment, columns: Mapping[str, Any], starts: np.ndarray) -> np.ndarray:
    """Sum the experiment's `counts` over runs of rows; shape (runs, 3), or (runs, 0) where it has none."""
    if experiment.counts is None:
        return np.empty((len(starts), 0), np.int64)
    summed = [np.add.reduceat(np.asarray(columns[name], np.int64), starts) for name in experiment.counts]
    return np.stack(summed, axis=1) if len(starts) else np.empty((0, 3), np.int64)


def parquet_bytes(table: pa.Table) -> memoryview:
    """Return the bytes of a Parquet file with one row group; equal tables give equal bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", row_group_size=max(1, table.num_rows))
    return memoryview(sink.getvalue())


def file_name(first: int, last: int, data: bytes | memoryview) -> str:
    """Name a file by its chunks and its content: no file can take the place of another with other rows."""
    return f"rows-{first:07d}-{last:07d}-{hashlib.sha256(data).hexdigest()[:12]}.parquet"


def is_file_name(name: str) -> bool:
    """Say whether a name is one that `file_name` gives."""
    return _NAME.fullmatch(name) is not None


def read_table(path: Path, schema: pa.Schema | None, seed: int, columns: Sequence[str] | None = None) -> pa.Table:
    """Read one file of `tables/`, or some of its columns, if every byte of it is as it was written.

    Parameters
    ----------
    path : Path
    schema : Schema, optional
        Its columns; without it they may be any that begin with those of IDENTITY.
    seed : int
        That of the sweep.
    columns : sequence of str, optional
        Those that are wanted; those of IDENTITY may come with them.

    Raises
    ------
    FolderError
        Where it cannot be read, is damaged, or has other columns, versions or another seed than this sweep.
    FileNotFoundError
        Where it is gone: another process may have put its rows into another file.
    """
    try:
        data = read_file(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise FolderError(f"{path} cannot be read: {error.strerror}; {_REMEDY}.") from None
    match = _NAME.fullmatch(path.name)
    if match is None or not hashlib.sha256(data).hexdigest().startswith(match[1]):
        what = "it was truncated, changed or renamed, or is no file of a sweep"
        raise FolderError(f"{path} is not what its name says: {what}; {_REMEDY}.")
    due = {**VERSIONS, "seed": seed}
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            there = file.schema_arrow
            if not (_is_sweep(there) if schema is None else there.equals(schema)):
                raise FolderError(f"{path} has other columns than this sweep: it is not one of its files.")
            table = file.read(None if columns is None else list(dict.fromkeys([*columns, *due])))
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise FolderError(f"{path} is damaged ({reason}); {_REMEDY}.") from None
    for name, value in due.items():
        found = table[name].unique().to_pylist()
        if found not in ([value], []):
            raise FolderError(f"{path} has {name} {found[:3]}, where this sweep has {value}.")
    return table


def _is_sweep(schema: pa.Schema) -> bool:
    """Say whether columns can be those of a sweep, of whichever experiment."""
    return pa.schema(list(schema)[: len(IDENTITY)]).equals(IDENTITY) and "realisation" in schema.names
