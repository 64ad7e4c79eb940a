"""From a spec to its tasks and chunks: which numbers to compute, under which names, in which order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

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


def plan_tasks(spec: Spec) -> list[TaskPlan]:
    """List the tasks of a spec, the first field changing slowest."""
    return [
        TaskPlan(parameters, task_id(spec, parameters), spec.experiment.per_chunk(parameters))
        for parameters in spec.combinations()
    ]


def task_id(spec: Spec, parameters: Mapping[str, Any]) -> str:
    """Name a task by what its numbers depend on: SHA-256 of canonical JSON, where 1 and 1.0 are one number."""
    identity = {
        "experiment": spec.experiment.name,
        "seed": spec.seed,
        "parameters": parameters,
        "stream_version": STREAM_VERSION,
        "kernel_version": KERNEL_VERSION,
    }
    return hashlib.sha256(_spelled(_canonical(identity)).encode()).hexdigest()[:16]


_spelled = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode  # made once: there are many


def _canonical(value: Any) -> Any:
    kind = type(value)
    if kind is float:
        return int(value) if value.is_integer() else value
    if kind is dict:
        return {key: _canonical(entry) for key, entry in value.items()}
    return [_canonical(entry) for entry in value] if kind is list else value


def parts(task: TaskPlan, realisations: int) -> int:
    """Count the chunks of a task from nothing."""
    return -(-realisations // task.per_chunk)


def count_chunks(tasks: Sequence[TaskPlan], realisations: int) -> int:
    """Count the chunks of a sweep from nothing."""
    return sum(parts(task, realisations) for task in tasks)


def whole_chunk(number: int, task: TaskPlan, part: int, realisations: int) -> Chunk:
    """Return a chunk with all its realisations."""
    start = part * task.per_chunk
    return Chunk(number, task, part, range(start, min(start + task.per_chunk, realisations)))


def plan_chunks(
    tasks: Sequence[TaskPlan], realisations: int, finished: Mapping[str, Collection[int]] = {}
) -> Iterator[Chunk]:
    """Cut what is not finished into chunks.

    Parameters
    ----------
    tasks : sequence of TaskPlan
    realisations : int
        How many every task is to have.
    finished : mapping of str to collection of int
        Realisations by task id that need not be computed again.
    """
    number = 0
    for task in tasks:
        there = finished.get(task.task_id, ())
        for part in range(parts(task, realisations)):
            chunk = whole_chunk(number, task, part, realisations)
            if there:
                chunk = chunk._replace(realisations=tuple(i for i in chunk.realisations if i not in there))
            if chunk.realisations:
                yield chunk
            number += 1
