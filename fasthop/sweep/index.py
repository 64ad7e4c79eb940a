"""What a folder holds: one entry for each realisation in each file, without the measurements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from fasthop.experiments.experiment import Experiment
from fasthop.sweep.columns import counts_per_realisation, read_table, starts_of_runs, table_schema
from fasthop.sweep.errors import FolderError
from fasthop.sweep.plan import Names

#: Bytes of tables that are kept while rows are gathered, beside those that are looked at.
_KEPT = 2**26


class Failure(NamedTuple):
    """A realisation that has no rows because its computation failed."""

    task_id: str
    realisation: int
    reason: str

    def __str__(self) -> str:
        return f"realisation {self.realisation} of the task {self.task_id} failed: {self.reason}"


class Index(NamedTuple):
    """Realisations in files, in the order of the files and of their rows; there may be millions.

    Attributes
    ----------
    files : list of Path
    machines : list of str
        The instruction sets, by the alphabet.
    file, task, realisation : int arrays, shape (E,)
        Which file, which task of the plan, which realisation.
    first, rows : int arrays, shape (E,)
        Where its rows begin in the file, and how many there are.
    machine : int array, shape (E,)
        Which instruction set it was computed with.
    counts : int array, shape (E, 3) or (E, 0)
        As `Experiment.counts`.
    """

    files: list[Path]
    machines: list[str]
    file: np.ndarray
    task: np.ndarray
    realisation: np.ndarray
    first: np.ndarray
    rows: np.ndarray
    machine: np.ndarray
    counts: np.ndarray

    def once(self) -> np.ndarray:
        """Return the entries by task and realisation, each realisation once.

        Of several the one with the first instruction set in the alphabet is taken, so that the choice does not depend
        on the names or the order of the files.
        """
        if self._ascends():
            return np.arange(len(self.task))
        order = np.lexsort((self.machine, self.realisation, self.task))  # stable
        return np.asarray(order[starts_of_runs(self.task[order], self.realisation[order])])

    def ordered(self) -> Index:
        """Return an index of the entries that `once` gives, in this order."""
        if self._ascends():
            return self
        order = self.once()
        return Index(self.files, self.machines, *(column[order] for column in self[2:]))

    def _ascends(self) -> bool:
        """Say whether the entries are those of `once`, as those of a run in one process are."""
        rises = np.diff(self.task)
        return not rises.size or bool(rises.min() >= 0 and (np.diff(self.realisation)[rises == 0] > 0).all())


class Held(NamedTuple):
    """The realisations that are there of every task, ascending, and their counts.

    Attributes
    ----------
    bounds : int64 array, shape (T + 1,)
        Those of task t of the plan are bounds[t] to bounds[t + 1] of the others.
    realisations : int array, shape (E,)
    counts : int array, shape (E, 3) or (E, 0)
        As `Experiment.counts`.
    """

    bounds: np.ndarray
    realisations: np.ndarray
    counts: np.ndarray

    def of(self, rank: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the realisations of a task, and their counts."""
        own = slice(*self.bounds[rank : rank + 2].tolist())
        return self.realisations[own].astype(np.int64), self.counts[own].astype(np.int64)

    def has(self, rank: int, realisation: int) -> bool:
        """Say whether a realisation is there; a task of rank -1 is not."""
        if rank < 0:
            return False
        low, high = self.bounds[rank : rank + 2].tolist()
        place = low + np.searchsorted(self.realisations[low:high], realisation)
        return bool(place < high and self.realisations[place] == realisation)


def nothing(tasks: int) -> Held:
    """Return what is there of so many tasks at the beginning."""
    return Held(np.zeros(tasks + 1, np.int64), np.empty(0, np.int64), np.empty((0, 3), np.int64))


class Entries(NamedTuple):
    """What one file holds; as in `Index`, but `machine` is one of the file's own."""

    machines: list[str]
    task: np.ndarray
    realisation: np.ndarray
    first: np.ndarray
    rows: np.ndarray
    machine: np.ndarray
    counts: np.ndarray


def entries_of(table: pa.Table, path: Path, names: Names, experiment: Experiment) -> Entries:
    """List what a file holds that was read; errors as in `index_files`."""
    codes = table["task_id"].combine_chunks().dictionary_encode()
    ids = codes.dictionary.to_pylist()
    ranks = names.ranks(ids)
    if (ranks < 0).any():
        raise FolderError(f"{path} holds rows of the task {ids[ranks.argmin()]!r}, which is not in this sweep.")
    task = ranks[codes.indices.to_numpy()] if table.num_rows else ranks
    realisation = table["realisation"].to_numpy()
    if table.num_rows and realisation.min() < 0:
        raise FolderError(f"{path} has negative realisations.")
    starts = starts_of_runs(task, realisation)
    machines = table["instruction_set"].combine_chunks().dictionary_encode()
    counts = counts_per_realisation(
        experiment, {name: table[name].to_numpy() for name in experiment.counts or ()}, starts
    )
    rows = np.diff(starts, append=table.num_rows)
    kinds = machines.dictionary.to_pylist(), machines.indices.to_numpy()[starts]
    return Entries(kinds[0], *map(_small, (task[starts], realisation[starts], starts, rows, kinds[1], counts)))


def _small(numbers: np.ndarray) -> np.ndarray:
    """Return whole numbers in the smallest type that has room for them: of millions of entries there are seven."""
    least, most = (int(numbers.min()), int(numbers.max())) if numbers.size else (0, 0)
    kinds = (
        kind for kind in (np.int8, np.int16, np.int32) if np.iinfo(kind).min <= least and most <= np.iinfo(kind).max
    )
    return numbers.astype(next(kinds, np.int64), copy=False)


def index_files(paths: Iterable[Path], names: Names, experiment: Experiment, seed: int) -> Index:
    """List what the files hold.

    Raises
    ------
    FolderError
        Where a file is damaged, has other columns, or rows of another sweep.
    FileNotFoundError
        Where a file is gone; see `using_files`.
    """
    schema, files = table_schema(experiment), list(paths)
    wanted = ["task_id", "instruction_set", "realisation", *(experiment.counts or ())]
    pieces = [entries_of(read_table(path, schema, seed, wanted), path, names, experiment) for path in files]
    return joined(files, pieces, experiment)


def joined(files: list[Path], pieces: list[Entries], experiment: Experiment) -> Index:
    """Put what several files hold into one index; the list is emptied, so that there are never two copies of all."""
    machines = sorted({name for piece in pieces for name in piece.machines})
    code = {name: number for number, name in enumerate(machines)}
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("file", *Entries._fields[1:])}
    for number, piece in enumerate(pieces):
        own = np.array([code[name] for name in piece.machines], np.int64)
        given = piece._asdict() | {"file": np.full(len(piece.task), number), "machine": own[piece.machine]}
        for name, some in columns.items():
            some.append(_small(given[name]))
    pieces.clear()
    width = 3 if experiment.counts else 0
    empty = {name: np.empty((0, width) if name == "counts" else 0, np.int8) for name in columns}
    return Index(files, machines, **{name: np.concatenate([empty[name], *columns.pop(name)]) for name in list(columns)})


def held(index: Index, tasks: int) -> Held:
    """Return what is there of so many tasks."""
    own = index.ordered()
    bounds = np.concatenate([[0], np.cumsum(np.bincount(own.task, minlength=tasks))])
    return Held(bounds, own.realisation, own.counts)


def cut(entries: np.ndarray, rows: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Cut entries into pieces of at most so many rows, but at least one entry; none of no entries."""
    ends = np.cumsum(rows, dtype=np.int64)
    low = 0
    while low < len(entries):
        before = int(ends[low - 1]) if low else 0
        high = max(low + 1, int(np.searchsorted(ends, before + most, "right")))
        yield entries[low:high]
        low = high


class Rows:
    """The rows of the entries of an index, read where they are asked for."""

    def __init__(self, index: Index, experiment: Experiment, seed: int) -> None:
        self._index, self._schema, self._seed = index, table_schema(experiment), seed
        self._kept: dict[int, pa.Table] = {}

    def of(self, entries: np.ndarray) -> pa.Table:
        """Return the rows of some entries, in their order."""
        size = self._index.rows[entries].astype(np.int64)
        file, first = self._index.file[entries], self._index.first[entries].astype(np.int64)
        place = np.empty(int(size.sum()), np.int64)  # where each row, as it is read, belongs
        begin = np.cumsum(size) - size
        filled, tables = 0, []
        for number in np.unique(file).tolist():
            own = np.flatnonzero(file == number)
            count = size[own]
            steps = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
            place[filled : filled + len(steps)] = np.repeat(begin[own], count) + steps
            filled += len(steps)
            tables.append(self._table(number).take(pa.array(np.repeat(first[own], count) + steps)))
        if not tables:
            return self._schema.empty_table()
        order = np.empty_like(place)
        order[place] = np.arange(len(place))
        return pa.concat_tables(tables).take(pa.array(order)).cast(self._schema)

    def _table(self, number: int) -> pa.Table:
        """Read a file, or take it from the last ones that were read: pieces in the order of the plan share files."""
        table = self._kept.pop(number, None)
        if table is None:
            table = read_table(self._index.files[number], self._schema, self._seed)
            while self._kept and sum(kept.nbytes for kept in self._kept.values()) + table.nbytes > _KEPT:
                self._kept.pop(next(iter(self._kept)))
        self._kept[number] = table
        return table
