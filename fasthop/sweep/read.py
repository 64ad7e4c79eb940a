"""From the folder of a sweep to one DataFrame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from fasthop.experiments.experiment import Experiment
from fasthop.sweep.columns import read_table
from fasthop.sweep.errors import FolderError
from fasthop.sweep.spec import Registry, experiments
from fasthop.sweep.store import named, read_manifest, using_files


def read(folder: str | Path, summary: bool = False, registry: Registry | None = None) -> pd.DataFrame:
    """Read a sweep, finished or not.

    Parameters
    ----------
    folder : path
        What `run` was given as `out`.
    summary : bool
        Give what the experiment makes of the rows instead of the rows.
    registry : mapping of str to Experiment, optional
        The experiments to choose from; those of fasthop by default.

    Returns
    -------
    DataFrame
        Rows in the order of the spec's tasks, then of realisations, then as the experiment gave them, whatever the
        order they were computed in. A realisation that lies in several files, because folders were copied together,
        is taken from one.

    Raises
    ------
    FolderError
        Where the folder holds no sweep, no rows yet, or damaged ones.
    """
    folder = named(folder)
    manifest = read_manifest(folder)

    def contents(paths: Sequence[Path]) -> list[pa.Table]:
        tables: list[pa.Table] = []
        for path in paths:
            schema = tables[0].schema.remove_metadata() if tables else None
            tables.append(read_table(path, schema, manifest["spec"]["seed"]))
        return tables

    tables = using_files([folder], contents)
    if not tables:
        raise FolderError(f"{folder} holds no rows yet: nothing of its sweep has been finished.")
    try:
        rows = _in_order(tables, manifest["tasks"])
    except KeyError as error:
        raise FolderError(f"{folder} holds rows of the task {error}, which is not in its sweep.") from None
    return experiment_of(folder, registry).summarise(rows) if summary else rows


def experiment_of(folder: Path, registry: Registry | None = None) -> Experiment:
    """Return the experiment that a folder holds a sweep of; parameters and errors as in `read`."""
    known = experiments(registry)
    name = read_manifest(folder)["spec"]["experiment"]
    if name not in known:
        raise FolderError(f"{folder} holds a sweep of {name!r}, an experiment that this fasthop does not have.")
    return known[name]


def _in_order(tables: Sequence[pa.Table], tasks: Sequence[str]) -> pd.DataFrame:
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    place = {task_id: index for index, task_id in enumerate(tasks)}
    codes, names = pd.factorize(frame["task_id"])
    rank = np.array([place[name] for name in names])[codes]
    file = pd.Series(np.repeat(np.arange(len(tables)), [table.num_rows for table in tables]))
    first = file.groupby([rank, frame["realisation"]]).transform("min")
    order = np.lexsort((frame["realisation"], rank))  # stable
    return frame.iloc[order[(file == first).to_numpy()[order]]].reset_index(drop=True)
