"""What an experiment is to the engine around it: fields of a spec, columns of a table, and a function of a chunk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

#: The parameters of one task, by column name.
Task = Mapping[str, Any]

REQUIRED: Any = object()


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


class Experiment(NamedTuple):
    """One kind of sweep.

    Attributes
    ----------
    name : str
    fields : tuple of Field
    schema : pyarrow.Schema
        The columns that `rows` returns, parameters and measurements; the engine adds those of identity.
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
    """

    name: str
    fields: tuple[Field, ...]
    schema: pa.Schema
    problems: Callable[[Task], list[tuple[str, str]]]
    per_chunk: Callable[[Task], int]
    rows: Callable[[Task, Sequence[int], int], dict[str, np.ndarray | list[Any]]]
    summarise: Callable[[pd.DataFrame], pd.DataFrame]
    plot: Callable[[pd.DataFrame, Path], None]
    counts: tuple[str, str, str] | None = None
