"""What a folder holds: one entry for each realisation in each file, without the measurements."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fasthop.sweep.columns import counts_per_realisation, read_table, starts_of_runs, table_schema
from fasthop.sweep.errors import FolderError
from fasthop.sweep.plan import TaskPlan
from fasthop.sweep.spec import Spec


class Index(NamedTuple):
    """Realisations in files, in the order of the files and of their rows.

    Attributes
    ----------
    files : list of Path
    file, task, realisation : int64 arrays, shape (E,)
        Which file, which task of the plan, which realisation.
    first, rows : int64 arrays, shape (E,)
        Where its rows begin in the file, and how many there are.
    instruction_set : str array, shape (E,)
        What it was computed with.
    counts : int64 array, shape (E, 3) or (E, 0)
        As `Experiment.counts`.
    """

    files: list[Path]
    file: np.ndarray
    task: np.ndarray
    realisation: np.ndarray
    first: np.ndarray
    rows: np.ndarray
    instruction_set: np.ndarray
    counts: np.ndarray

    def once(self) -> np.ndarray:
        """Return the entries by task and realisation, each realisation once.

        Of several the one with the first instruction set in the alphabet is taken, so that the choice does not depend
        on the names or the order of the files.
        """
        order = np.lexsort((self.instruction_set, self.realisation, self.task))  # stable
        return np.asarray(order[starts_of_runs(self.task[order], self.realisation[order])])


class Held(NamedTuple):
    """The realisations that are there of one task, ascending, and their counts."""

    realisations: np.ndarray
    counts: np.ndarray

    def has(self, realisation: int) -> bool:
        """Say whether a realisation is there."""
        place = np.searchsorted(self.realisations, realisation)
        return bool(place < len(self.realisations) and self.realisations[place] == realisation)


def index_files(paths: Iterable[Path], tasks: Sequence[TaskPlan], spec: Spec) -> Index:
    """List what the files hold.

    Raises
    ------
    FolderError
        Where a file is damaged, has other columns, or rows of another sweep.
    FileNotFoundError
        Where a file is gone; see `using_files`.
    """
    experiment = spec.experiment
    place = {task.task_id: rank for rank, task in enumerate(tasks)}
    schema, files = table_schema(experiment), list(paths)
    names = ["task_id", "instruction_set", "realisation", *(experiment.counts or ())]
    pieces: list[tuple[np.ndarray, ...]] = []
    for number, path in enumerate(files):
        table = read_table(path, schema, spec.seed, names)
        codes = table["task_id"].combine_chunks().dictionary_encode()
        for task_id in codes.dictionary.to_pylist():
            if task_id not in place:
                raise FolderError(f"{path} holds rows of the task {task_id!r}, which is not in this sweep.")
        ranks = np.array([place[task_id] for task_id in codes.dictionary.to_pylist()], np.int64)
        task = ranks[codes.indices.to_numpy()] if table.num_rows else ranks
        realisation = table["realisation"].to_numpy()
        if table.num_rows and realisation.min() < 0:
            raise FolderError(f"{path} has negative realisations.")
        starts = starts_of_runs(task, realisation)
        machines = table["instruction_set"].combine_chunks().dictionary_encode()
        machine = np.array(machines.dictionary.to_pylist(), str)[machines.indices.to_numpy()[starts]]
        rows = np.diff(starts, append=table.num_rows)
        counts = counts_per_realisation(experiment, {name: table[name].to_numpy() for name in names[3:]}, starts)
        pieces.append((np.full(len(starts), number), task[starts], realisation[starts], starts, rows, machine, counts))
    if not pieces:
        nothing, width = np.empty(0, np.int64), 3 if experiment.counts else 0
        return Index([], nothing, nothing, nothing, nothing, nothing, np.empty(0, str), np.empty((0, width), np.int64))
    return Index(files, *map(np.concatenate, zip(*pieces, strict=True)))


def held(index: Index, tasks: Sequence[TaskPlan]) -> dict[str, Held]:
    """Return what is there by task id."""
    entries = index.once()
    task = index.task[entries]
    bounds = np.append(starts_of_runs(task), len(task))
    there: dict[str, Held] = {}
    for low, high in itertools.pairwise(bounds.tolist()):
        own = entries[low:high]
        there[tasks[task[low]].task_id] = Held(index.realisation[own], index.counts[own])
    return there
