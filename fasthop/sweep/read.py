"""From the folder of a sweep to one DataFrame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from fasthop.experiments.experiment import Experiment
from fasthop.sweep.columns import read_table, starts_of_runs
from fasthop.sweep.errors import FolderError
from fasthop.sweep.index import Rows, cut, index_files
from fasthop.sweep.plan import Names
from fasthop.sweep.spec import Registry, experiments
from fasthop.sweep.store import named, read_manifest, using_files

#: Rows that are summed up at once, of one task at least.
AT_ONCE = 100_000


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
    if summary:
        return summarised(folder, experiment_of(folder, registry))
    names, seed = _names_and_seed(folder)

    def contents(paths: Sequence[Path]) -> list[pa.Table]:
        tables: list[pa.Table] = []
        for path in paths:
            schema = tables[0].schema.remove_metadata() if tables else None
            tables.append(read_table(path, schema, seed))
        return tables

    tables = using_files([folder], contents)
    if not tables:
        raise _nothing(folder)
    return _in_order(tables, names, folder)


def summarised(folder: Path, experiment: Experiment) -> pd.DataFrame:
    """Return what an experiment makes of the rows of a folder: some tasks at a time, because all may fill the memory.

    Raises
    ------
    FolderError
        As `read`.
    """
    names, seed = _names_and_seed(folder)

    def made(paths: list[Path]) -> list[pd.DataFrame]:
        index = index_files(paths, names, experiment, seed).ordered()
        rows, starts = Rows(index, experiment, seed), starts_of_runs(index.task)
        sizes = np.add.reduceat(index.rows, starts, dtype=np.int64) if len(starts) else starts
        bounds = np.append(starts, len(index.task))
        some = []
        for own in cut(np.arange(len(starts)), sizes, AT_ONCE):
            frame = rows.of(np.arange(bounds[own[0]], bounds[own[-1] + 1])).to_pandas()
            some.append(experiment.summarise(frame))
        return some

    parts = using_files([folder], made)
    if not parts:
        raise _nothing(folder)
    parts = [part for part in parts if len(part)] or parts[:1]
    return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)


def _names_and_seed(folder: Path) -> tuple[Names, int]:
    manifest = read_manifest(folder)
    return Names.of(manifest["tasks"]), manifest["spec"]["seed"]


def _nothing(folder: Path) -> FolderError:
    return FolderError(f"{folder} holds no rows yet: nothing of its sweep has been finished.")


def experiment_of(folder: Path, registry: Registry | None = None) -> Experiment:
    """Return the experiment that a folder holds a sweep of; parameters and errors as in `read`."""
    known = experiments(registry)
    name = read_manifest(folder)["spec"]["experiment"]
    if name not in known:
        raise FolderError(f"{folder} holds a sweep of {name!r}, an experiment that this fasthop does not have.")
    return known[name]


def _in_order(tables: Sequence[pa.Table], tasks: Names, folder: Path) -> pd.DataFrame:
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    codes, found = pd.factorize(frame["task_id"])
    ids = list(found)
    ranks = tasks.ranks(ids)
    if (ranks < 0).any():
        raise FolderError(f"{folder} holds rows of the task {ids[ranks.argmin()]!r}, which is not in its sweep.")
    rank = ranks[codes]
    file = pd.Series(np.repeat(np.arange(len(tables)), [table.num_rows for table in tables]))
    first = file.groupby([rank, frame["realisation"]]).transform("min")
    order = np.lexsort((frame["realisation"], rank))  # stable
    return frame.iloc[order[(file == first).to_numpy()[order]]].reset_index(drop=True)
