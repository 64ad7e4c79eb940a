"""What a run has still to compute, and which results count: the same, whatever order they come in."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fasthop.sweep.columns import counts_per_realisation, starts_of_runs
from fasthop.sweep.index import Held
from fasthop.sweep.plan import Chunk, Shard, TaskPlan, parts, whole_chunk
from fasthop.sweep.spec import Spec


class Result(NamedTuple):
    """A chunk that was computed.

    Attributes
    ----------
    chunk : Chunk
    table : Table
        Its rows.
    seconds : float
        What the computation took.
    machine : mapping
        What computed it; see `machine`.
    failed : mapping of int to str
        The realisations that have no rows because they failed, and why.
    """

    chunk: Chunk
    table: pa.Table
    seconds: float
    machine: Mapping[str, Any]
    failed: Mapping[int, str] = {}


class Agenda:
    """The chunks that lack, and the results that count.

    A sweep with a fixed number of realisations takes every result as it comes. Under a stopping rule the results of a
    task count in the order of its chunks, the rule is asked after each, and what was computed beyond is dropped; a
    shard then has whole tasks instead of chunks. What has failed is not asked for again, and the rule decides by the
    others.

    Attributes
    ----------
    there : int
        Chunks that were there at the beginning, or need not be computed; those of other shards not counted.
    left : int
        Chunks that lack, at most.
    """

    def __init__(
        self,
        spec: Spec,
        tasks: Sequence[TaskPlan],
        there: Mapping[str, Held],
        shard: Shard | None = None,
        failed: Mapping[str, Collection[int]] = {},
    ) -> None:
        self._spec, self._shard = spec, shard
        self._lists: list[_Task] = []
        number = 0
        for rank, task in enumerate(tasks):
            if shard is None or spec.stop is None or shard.has(rank):
                self._lists.append(
                    _Task(spec, task, number, there.get(task.task_id), shard, failed.get(task.task_id, ()))
                )
            number += parts(task, spec.realisations)
        self._by_id = {one.task.task_id: one for one in self._lists}
        self.left = sum(one.left for one in self._lists)
        self.there = sum(one.total for one in self._lists) - self.left

    def __iter__(self) -> Iterator[Chunk]:
        """Yield what lacks, task by task; a task ends early once the results taken so far are enough."""
        for one in self._lists:
            yield from one

    def take(self, result: Result) -> list[Result]:
        """Return the results that count from now on, this one or others that waited for it."""
        one = self._by_id[result.chunk.task.task_id]
        self.left -= one.left
        counted = one.take(result)
        self.left += one.left
        return counted

    def counts(self, task: TaskPlan) -> np.ndarray:
        """Return the counts of a task's realisations that count by now, shape (R, 3), in no particular order."""
        return self._by_id[task.task_id].counts()


class _Task:
    """The chunks of one task."""

    def __init__(
        self,
        spec: Spec,
        task: TaskPlan,
        number: int,
        there: Held | None,
        shard: Shard | None,
        failed: Collection[int],
    ) -> None:
        self.task = task
        self._spec, self._number, self._most = spec, number, spec.realisations
        lost = np.array(sorted(failed), np.int64)
        self._done = (
            lost if there is None else np.union1d(there.realisations, lost) if lost.size else there.realisations
        )
        self._parts = parts(task, self._most)
        self._counts = np.empty((0, 3), np.int64) if there is None else there.counts
        self._counted = len(self._counts)
        self._rule = None if spec.stop is None else _Prefix(spec, task, there, lost)
        self._pending = self._rule.needed(self._parts) if self._rule else self._lacking(shard)
        self.left = len(self._pending)
        # Under a rule a shard has whole tasks.
        own = [part for part in range(self._parts) if shard.has(number + part)] if shard and not spec.stop else None
        self.total = self._parts if own is None else len(own)

    def _lacking(self, shard: Shard | None) -> Sequence[int]:
        if not self._done.size:
            lacking: Sequence[int] = range(self._parts)
        elif self._done.size == self._most == self._done[-1] + 1:
            return ()
        else:
            inside = self._done[self._done < self._most]
            size = np.full(self._parts, self.task.per_chunk)
            size[-1] = self._most - (self._parts - 1) * self.task.per_chunk
            there = np.bincount(inside // self.task.per_chunk, minlength=self._parts)
            lacking = np.flatnonzero(there < size).tolist()
        return lacking if shard is None else [part for part in lacking if shard.has(self._number + part)]

    def __iter__(self) -> Iterator[Chunk]:
        for part in self._pending:
            if self._rule is not None and self._rule.decided:
                return
            chunk = whole_chunk(self._number + part, self.task, part, self._most)
            if self._done.size:
                inside = np.isin(chunk.realisations, self._done, invert=True)
                lacking = tuple(np.asarray(chunk.realisations)[inside].tolist())
                chunk = chunk._replace(realisations=lacking)
            if chunk.realisations:
                yield chunk

    def take(self, result: Result) -> list[Result]:
        if self._rule is None:
            self.left -= 1
            counted = [result]
        else:
            counted = self._rule.take(result)
            self.left = len(self._rule.needed(self._parts))
        for one in counted if self._spec.experiment.counts else ():
            more = _counts(self._spec, one)[1]
            if self._counted + len(more) > len(self._counts):  # twice as many, so that few copies are made of a million
                room = np.empty((max(self._counted, len(more)), 3), np.int64)
                self._counts = np.concatenate([self._counts[: self._counted], room])
            self._counts[self._counted : self._counted + len(more)] = more
            self._counted += len(more)
        return counted

    def counts(self) -> np.ndarray:
        return self._counts[: self._counted]


#: What is known of a realisation, where it is not 0.
_THERE, _FAILED = 1, 2


class _Prefix:
    """The realisations 0, 1, … of a task as far as there is no gap, and whether they are enough.

    Attributes
    ----------
    decided : bool
    """

    def __init__(self, spec: Spec, task: TaskPlan, there: Held | None, failed: np.ndarray) -> None:
        self._spec, self._task, self._most = spec, task, spec.realisations
        self._known = np.zeros(0, np.int8)
        self._counts = np.zeros((0, 3), np.int64)
        self._waiting: dict[int, Result] = {}
        self._part = 0
        self.decided = False
        if there is not None:
            inside = there.realisations < self._most
            self._note(there.realisations[inside], there.counts[inside])
        self._note_failed(failed[failed < self._most])
        self._advance()

    def needed(self, count: int) -> range:
        """Return the chunks from the first gap on, of `count`."""
        return range(0) if self.decided else range(self._part, count)

    def take(self, result: Result) -> list[Result]:
        if self.decided:
            return []
        self._note(*_counts(self._spec, result))
        self._note_failed(np.array(list(result.failed), np.int64))
        self._waiting[result.chunk.part] = result
        return self._advance()

    def _note(self, realisations: np.ndarray, counts: np.ndarray) -> None:
        self._begin()
        self._known[realisations] = _THERE
        self._counts[realisations] = counts

    def _note_failed(self, realisations: np.ndarray) -> None:
        if realisations.size:
            self._begin()
            self._known[realisations[self._known[realisations] != _THERE]] = _FAILED

    def _begin(self) -> None:
        if not self._known.size:  # now, because most tasks have not begun
            self._known, self._counts = np.zeros(self._most, np.int8), np.zeros((self._most, 3), np.int64)

    def _advance(self) -> list[Result]:
        counted: list[Result] = []
        while not self.decided:
            start = self._part * self._task.per_chunk
            stop = min(start + self._task.per_chunk, self._most)
            if not self._known.size or not self._known[start:stop].all():
                break
            if self._part in self._waiting:
                counted.append(self._waiting.pop(self._part))
            self._part += 1
            assert self._spec.stop is not None
            self.decided = stop == self._most or self._spec.stop.met(self._counts[:stop][self._known[:stop] == _THERE])
        if self.decided:
            self._waiting.clear()
            self._known, self._counts = self._known[:0], self._counts[:0]
        return counted


def _counts(spec: Spec, result: Result) -> tuple[np.ndarray, np.ndarray]:
    realisation = result.table["realisation"].to_numpy()
    starts = starts_of_runs(realisation)
    columns = {name: result.table[name].to_numpy() for name in spec.experiment.counts or ()}
    return realisation[starts], counts_per_realisation(spec.experiment, columns, starts)
