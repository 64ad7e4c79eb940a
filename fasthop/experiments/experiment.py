"""What an experiment is to the engine around it: fields of a spec, columns of a table, and a function of a chunk."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa

#: The parameters of one task, by column name.
Task = Mapping[str, Any]

REQUIRED: Any = object()

#: What a column holds: numbers, truth values, text or lists of float64 by their Python types, anything else by Arrow's.
Kind: TypeAlias = type | pa.DataType

_ARROW: Mapping[Kind, pa.DataType] = {
    bool: pa.bool_(),
    float: pa.float64(),
    int: pa.int64(),
    list: pa.list_(pa.field("item", pa.float64(), nullable=False)),
    str: pa.string(),
}


class Columns(NamedTuple):
    """Columns of a table that follow from a task.

    Attributes
    ----------
    kinds : mapping of str to type
        What each column holds, by its name, in the order of the table.
    values : callable
        `values(task)` are theirs, in this order.
    """

    kinds: Mapping[str, Kind]
    values: Callable[[Task], Sequence[Any]]


#: Of a field that the table does not have, or only within the columns of another.
NO_COLUMNS = Columns({}, lambda task: ())


class Field(NamedTuple):
    """One entry of a spec file.

    Attributes
    ----------
    section, key : str
        Where it stands: `[section]`, `key = …`.
    column : str
        Its name in a task and in the table.
    kind : type
        int, float, bool or str; `dict` for an activation, `list` for nested lists of numbers.
    default : object
        REQUIRED, or the value where the file has none.
    swept : bool
        Whether a list or a range `{ from = …, to = …, by = … }` makes one task per value.
    least, most : number, optional
        Smallest and largest allowed value.
    choices : tuple of str
        Allowed values; empty: any.
    doc : str
        One line for the user.
    complete : callable, optional
        `complete(value)` spells one value out, defaults included, so that two spellings of one thing are one task; it
        raises TypeError or ValueError where there is no such thing.
    shown : Columns, optional
        What the table has of it; by default one column of its own name, where what is not given is 0, or empty.
    """

    section: str
    key: str
    column: str
    kind: type
    default: Any
    swept: bool
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    doc: str = ""
    complete: Callable[[Any], Any] | None = None
    shown: Columns | None = None

    @property
    def columns(self) -> Columns:
        """What the table has of it."""
        return Columns({self.column: self.kind}, self._value) if self.shown is None else self.shown

    def _value(self, task: Task) -> tuple[Any]:
        value = task[self.column]
        # What is not given is 0, which groups and compares as NaN does not.
        return (self.kind() if value is None else value,)


def realisations_field(doc: str, default: Any = REQUIRED) -> Field:
    """Return the field of their number, the one that is no parameter of a task: raising it later extends the sweep."""
    return Field("run", "realisations", "realisations", int, default, False, least=1, doc=doc, shown=NO_COLUMNS)


class _Parts(NamedTuple):
    # What an experiment is made of; a class of its own, because such a tuple has no room for what is cached.
    name: str
    fields: tuple[Field, ...]
    measured: Mapping[str, Kind]
    problems: Callable[[Task], list[tuple[str, str]]]
    per_chunk: Callable[[Task], int]
    rows: Callable[[Task, Sequence[int], int], dict[str, np.ndarray | list[Any]]]
    summarise: Callable[[pd.DataFrame], pd.DataFrame]
    plot: Callable[[pd.DataFrame, Path], None]
    counts: tuple[str, str, str] | None = None
    shown: tuple[Field, ...] = ()


class Experiment(_Parts):
    """One kind of sweep.

    Attributes
    ----------
    name : str
    fields : tuple of Field
    measured : mapping of str to type
        The columns that `rows` returns, `realisation` among them, and what they hold. They stand behind those of the
        fields, which the engine adds. A field whose column is among them has no other.
    problems : callable
        `problems(task)` lists what is wrong with a combination of values, as `(section.key, sentence)` pairs.
    per_chunk : callable
        `per_chunk(task)` is the number of realisations computed together: a function of the task alone.
    rows : callable
        `rows(task, realisations, seed)` computes a chunk: columns of equal length, `realisation` among them, in the
        order that was asked for. Rows of one realisation stand together and do not depend on which others are in the
        chunk.
    summarise : callable
        Rows of any number of tasks to one row per task (capacity) or per attractor (basins).
    plot : callable
        `plot(summary, path)` writes a PNG.
    counts : tuple of str, optional
        Columns of integers with the successes, the undecided trials and all trials of a realisation, summed over its
        rows: what a stopping rule and the progress of a run look at. None where trials are independent anyway.
    shown : tuple of Field, optional
        The fields in the order of their columns, where it is not that of `fields`, of which the first changes slowest.
    """

    @functools.cached_property  # these are asked for with every chunk
    def _columns(self) -> list[Columns]:
        return [field.columns for field in self.shown or self.fields if field.column not in self.measured]

    @functools.cached_property
    def parameters(self) -> tuple[str, ...]:
        """The columns that say what a task is."""
        return tuple(name for columns in self._columns for name in columns.kinds)

    @functools.cached_property
    def schema(self) -> pa.Schema:
        """The columns of its rows: parameters, then what is measured."""
        kinds = [*(kind for columns in self._columns for kind in columns.kinds.items()), *self.measured.items()]
        return pa.schema([pa.field(name, _ARROW.get(kind, kind), nullable=False) for name, kind in kinds])

    def values(self, task: Task) -> dict[str, Any]:
        """Return what the parameters of a task are, by column."""
        found = (value for columns in self._columns for value in columns.values(task))
        return dict(zip(self.parameters, found, strict=True))


def task_columns(frame: pd.DataFrame, by: Sequence[str]) -> list[str]:
    """Return the columns that tell tasks apart: their names, where rows have these, and `by`."""
    return [*(["task_id"] if "task_id" in frame else []), *by]


def tasks_of(frame: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yield what each task is, by column, and its rows.

    Parameters
    ----------
    frame : DataFrame
        Rows of an experiment.
    by : sequence of str
        Columns that say what a task is.
    """
    columns = task_columns(frame, by)
    for key, group in frame.groupby(columns, sort=False):
        yield dict(zip(columns, key, strict=True)), group


def varying(summary: pd.DataFrame, names: Sequence[str], but: Sequence[str] = ()) -> list[str]:
    """Return which of these columns, but for some, have more than one value: what a picture has to tell apart."""
    return [name for name in names if name not in but and summary[name].nunique() > 1]
