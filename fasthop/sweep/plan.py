"""From a spec to its tasks and chunks: which numbers to compute, under which names, in which order."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from fasthop.checks import whole
from fasthop.sweep.spec import Spec

# What a task's name stands for is its numbers, so the name holds two versions, kept by hand: a digest of the sources
# would part sweeps at every comment. `tests/sweep/test_versions.py` has the digests of some of these numbers, and fails
# where they change and a version does not. The manifest has the digest of the kernels' sources beside them.

#: Raised when the same seed gives other random numbers.
STREAM_VERSION = 1

#: Raised when the same random numbers give other rows, be it in the last bit: kernels, default steps, criteria.
KERNEL_VERSION = 5

#: Raised when the columns of a table change. No part of a task's name: it is the form of its numbers, not the numbers.
SCHEMA_VERSION = 6


class TaskPlan(NamedTuple):
    """One combination of parameters.

    Attributes
    ----------
    parameters : dict
        By column, without the number of realisations.
    task_id : str
        Sixteen hexadecimal digits that name experiment, seed, parameters and versions.
    per_chunk : int
        Realisations that are computed together.
    """

    parameters: dict[str, Any]
    task_id: str
    per_chunk: int


class Chunk(NamedTuple):
    """Some realisations of one task, computed by one call.

    Attributes
    ----------
    number : int
        Its place among all chunks of the sweep, finished ones included.
    task : TaskPlan
    part : int
        Its place among the chunks of its task: realisations part · per_chunk up to (part + 1) · per_chunk, cut where
        the sweep ends.
    realisations : sequence of int
        Those still to be computed.
    """

    number: int
    task: TaskPlan
    part: int
    realisations: Sequence[int]

    @property
    def id(self) -> str:
        """Its name, the same in every run, shard and machine."""
        return f"{self.task.task_id}-{self.part}"


class Shard(NamedTuple):
    """One of several parts of a sweep that are computed apart.

    Attributes
    ----------
    number, total : int
        1 ≤ number ≤ total.
    """

    number: int
    total: int

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    def has(self, place: int) -> bool:
        """Say whether the part has this chunk (or task): every total-th, so that each part has large and small ones."""
        return place % self.total == self.number - 1


def shard(number: int, total: int) -> Shard:
    """Check and return a part; raises TypeError and ValueError."""
    total = whole("the number of shards", total, least=1)
    return Shard(whole("the number of a shard", number, least=1, most=total), total)


class Names:
    """The ids of tasks in the order of the plan, and the place of each.

    Parameters
    ----------
    ids : array, shape (T,)
        Of bytes.
    """

    def __init__(self, ids: np.ndarray) -> None:
        self._ids = ids

    @classmethod
    def of(cls, ids: Sequence[str]) -> Names:
        """Take them from a list of ASCII texts."""
        return cls(np.array(ids, "S" if ids else "S16"))

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, rank: int) -> str:
        return str(self._ids[rank].decode())

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids.astype(str).tolist())

    def ranks(self, ids: Sequence[str]) -> np.ndarray:
        """Return the place of each of some ids, -1 where it is none of these."""
        if not len(self) or not ids:
            return np.full(len(ids), -1)
        wanted = np.array([name.encode("utf-8", "replace") for name in ids])
        order, ascending = self._sorted
        place = np.minimum(np.searchsorted(ascending, wanted), len(self) - 1)
        return np.where(ascending[place] == wanted, order[place], -1)

    @functools.cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(self._ids, kind="stable")
        return order, self._ids[order]


class Plan:
    """The tasks of a spec, the first field changing slowest.

    There may be a million: a task is made where it is asked for, and kept are only its name and what fits in a chunk.

    Attributes
    ----------
    names : Names
    per_chunk : int64 array, shape (T,)
    """

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self.names = Names(np.fromiter(_ids(spec), "S16", spec.tasks))
        self.per_chunk = np.fromiter(map(spec.experiment.per_chunk, spec.combinations()), np.int64, spec.tasks)

    def __len__(self) -> int:
        return len(self.per_chunk)

    def __getitem__(self, rank: int) -> TaskPlan:
        rank = range(len(self))[rank]
        return TaskPlan(self._spec.combination(rank), self.names[rank], int(self.per_chunk[rank]))

    def __iter__(self) -> Iterator[TaskPlan]:
        return map(self.__getitem__, range(len(self)))

    def parts(self, realisations: int) -> np.ndarray:
        """Count the chunks of every task from nothing."""
        return -(-realisations // self.per_chunk)

    def first_chunks(self, realisations: int) -> np.ndarray:
        """Return the number of the first chunk of every task, and at the end how many there are; shape (T + 1,)."""
        return np.concatenate([[0], np.cumsum(self.parts(realisations))])


def plan_tasks(spec: Spec) -> Plan:
    """List the tasks of a spec."""
    return Plan(spec)


def _ids(spec: Spec) -> Iterator[bytes]:
    """Name every task by what its numbers depend on: SHA-256 of canonical JSON, where 1 and 1.0 are one number."""
    identity = {
        "experiment": spec.experiment.name,
        "seed": spec.seed,
        "parameters": {},
        "stream_version": STREAM_VERSION,
        "kernel_version": KERNEL_VERSION,
    }
    head, _, tail = _spelled(identity).rpartition("{}")
    # Spelled once for all tasks that have the value.
    entries = [
        [f"{_spelled(column)}:{_spelled(_canonical(value))}" for value in spec.values[column]]
        for column in spec.columns
    ]
    by_name = sorted(range(len(entries)), key=spec.columns.__getitem__)
    for chosen in itertools.product(*entries):
        parameters = ",".join([chosen[place] for place in by_name])
        yield hashlib.sha256(f"{head}{{{parameters}}}{tail}".encode()).hexdigest()[:16].encode()


_spelled = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode  # made once: there are many


def _canonical(value: Any) -> Any:
    kind = type(value)
    if kind is float:
        return int(value) if value.is_integer() else value
    if kind is dict:
        return {key: _canonical(entry) for key, entry in value.items()}
    return [_canonical(entry) for entry in value] if kind is list else value


def count_chunks(tasks: Plan, realisations: int) -> int:
    """Count the chunks of a sweep from nothing."""
    return int(tasks.parts(realisations).sum())


def whole_chunk(number: int, task: TaskPlan, part: int, realisations: int) -> Chunk:
    """Return a chunk with all its realisations."""
    start = part * task.per_chunk
    return Chunk(number, task, part, range(start, min(start + task.per_chunk, realisations)))
