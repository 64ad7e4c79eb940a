"""From a spec to its tasks and chunks: which numbers to compute, under which names, in which order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fasthop.sweep.spec import Spec

#: Raised when the same seed gives other random numbers.
STREAM_VERSION = 1

#: Raised when the columns of a table, or what the kernels put in them, change.
SCHEMA_VERSION = 1


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
    realisations : tuple of int
        Those still to be computed.
    """

    number: int
    task: TaskPlan
    realisations: tuple[int, ...]


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
        "schema_version": SCHEMA_VERSION,
    }
    text = json.dumps(_canonical(identity), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _canonical(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_canonical(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def count_chunks(tasks: Sequence[TaskPlan], realisations: int) -> int:
    """Count the chunks of a sweep from nothing."""
    return sum(-(-realisations // task.per_chunk) for task in tasks)


def plan_chunks(
    tasks: Sequence[TaskPlan], realisations: int, finished: Mapping[str, Collection[int]]
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
        for start in range(0, realisations, task.per_chunk):
            stop = min(start + task.per_chunk, realisations)
            if missing := tuple(i for i in range(start, stop) if i not in there):
                yield Chunk(number, task, missing)
            number += 1
