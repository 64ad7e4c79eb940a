"""The columns of a table that name what is stored, for experiments that take all of its fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from fasthop.experiments.experiment import Field, Task
from fasthop.experiments.stored.patterns import size_of
from fasthop.model.activations import as_activation

_TYPES = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}

#: Columns that are always there, and a field that only decides one of them.
_SIZES = ("neurons", "patterns", "load")
_DECIDES = ("relative_load",)


def columns_of(fields: Sequence[Field]) -> list[tuple[str, pa.DataType]]:
    """Return names and types of the columns of these fields, sizes first, `activation` as its name and gain."""
    found: list[tuple[str, pa.DataType]] = [("neurons", pa.int64()), ("patterns", pa.int64()), ("load", pa.float64())]
    for field in fields:
        if field.column == "activation":
            found += [("activation", pa.string()), ("beta", pa.float64())]
        elif field.column not in (*_SIZES, *_DECIDES):
            found.append((field.column, _TYPES[field.kind]))
    return found


def values_of(task: Task, fields: Sequence[Field]) -> dict[str, Any]:
    """Return the values of `columns_of` for a task; a file that is not given is empty."""
    neurons, patterns = size_of(task)
    activation = as_activation(task["activation"])
    found: dict[str, Any] = {"neurons": neurons, "patterns": patterns, "load": patterns / neurons}
    for field in fields:
        if field.column == "activation":
            found |= {"activation": activation.name, "beta": activation.parameter}
        elif field.column not in (*_SIZES, *_DECIDES):
            found[field.column] = "" if task[field.column] is None else task[field.column]
    return found
