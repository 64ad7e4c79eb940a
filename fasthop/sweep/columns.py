"""The columns of a sweep's files, from what an experiment returns to the bytes of a Parquet file, and back."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import fasthop
from fasthop.experiments.experiment import Experiment
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


def table_schema(experiment: Experiment) -> pa.Schema:
    """Return the columns of the experiment's files: identity first, strings plain, nothing null."""
    return _with_identity(experiment.schema)


@functools.cache  # asked for with every chunk
def _with_identity(schema: pa.Schema) -> pa.Schema:
    own = [
        pa.field(field.name, field.type.value_type if pa.types.is_dictionary(field.type) else field.type, False)
        for field in schema
    ]
    return pa.schema([*IDENTITY, *own])


def make_table(
    spec: Spec,
    task: TaskPlan,
    realisations: Sequence[int],
    columns: Mapping[str, np.ndarray | list[Any]],
    instruction_set: str,
) -> pa.Table:
    """Turn what an experiment has returned on a machine with that instruction set into a table.

    Raises
    ------
    TableError
        Where columns or realisations lack, are too many, of unequal length or in another order, of another type, or
        null.
    """
    schema = table_schema(spec.experiment)
    own = schema.names[len(IDENTITY) :]
    wrong = sorted(set(own) ^ set(columns))
    if wrong:
        raise TableError(f"{spec.experiment.name} must return the columns {own}; {wrong} lack or are too many.")
    found = np.asarray(columns["realisation"])
    if found[starts_of_runs(found)].tolist() != list(realisations):
        due = f"{list(realisations)}, each and in this order"
        raise TableError(f"{spec.experiment.name} must return rows of the realisations {due}.")
    versions = [SCHEMA_VERSION, STREAM_VERSION, KERNEL_VERSION, fasthop.__version__]
    identity = [task.task_id, *versions, instruction_set, spec.seed]
    count = len(found)
    arrays = [pa.repeat(pa.scalar(value, field.type), count) for value, field in zip(identity, IDENTITY, strict=True)]
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


def starts_of_runs(*columns: np.ndarray) -> np.ndarray:
    """Return where each run of rows begins that agree in all columns."""
    new = np.zeros(len(columns[0]), bool)
    new[:1] = True
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(new)


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
