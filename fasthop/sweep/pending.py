"""What a run has still to compute, and which results count: the same, whatever order they come in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fasthop.sweep.columns import counts_per_realisation, starts_of_runs
from fasthop.sweep.index import Failure, Held, nothing
from fasthop.sweep.plan import Chunk, Plan, Shard, TaskPlan, whole_chunk
from fasthop.sweep.spec import Spec

#: Small tables that are counted together.
_TOGETHER = 64


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
    lacking : int64 array, shape (T,)
        Those of every task.
    """

    def __init__(
        self,
        spec: Spec,
        tasks: Plan,
        there: Held | None = None,
        shard: Shard | None = None,
        failed: Sequence[Failure] = (),
    ) -> None:
        self._spec, self._tasks, self._shard = spec, tasks, shard
        self._there = nothing(len(tasks)) if there is None else there
        self._failed: dict[int, list[int]] = {}
        for rank, one in zip(tasks.names.ranks([one.task_id for one in failed]).tolist(), failed, strict=True):
            if rank >= 0:
                self._failed.setdefault(rank, []).append(one.realisation)
        self._first = tasks.first_chunks(spec.realisations)
        #: Tasks whose results are awaited.
        self._begun: dict[str, _Task] = {}
        total = self._own(self._first[1:]) - self._own(self._first[:-1])
        if shard is not None and spec.stop is not None:  # a shard has whole tasks
            total = np.where(np.arange(len(tasks)) % shard.total == shard.number - 1, np.diff(self._first), 0)
        self.lacking = total - self._complete(total)
        self.left = int(self.lacking.sum())
        self.there = int(total.sum()) - self.left

    def _own(self, number: np.ndarray) -> np.ndarray:
        """Count the chunks below a number, those of the shard where there is one that takes some of every task."""
        if self._shard is None or self._spec.stop is not None:
            return number
        return (number - self._shard.number + self._shard.total) // self._shard.total

    def _complete(self, total: np.ndarray) -> np.ndarray:
        """Count the chunks of every task that are there, or need not be computed."""
        bounds, realisations, _ = self._there
        if self._spec.stop is not None:
            complete = np.zeros(len(total), np.int64)
            for rank in {*np.flatnonzero(np.diff(bounds)).tolist(), *self._failed}:
                complete[rank] = total[rank] and total[rank] - self._task(rank).left
            return complete
        most = self._spec.realisations
        task = np.repeat(np.arange(len(total)), np.diff(bounds))
        number = self._number(task, realisations.astype(np.int64))[realisations < most]
        if self._failed:
            lost = np.array(
                [(rank, one) for rank, some in self._failed.items() for one in some if one < most], np.int64
            )
            number = np.sort(np.concatenate([number, self._number(*lost.reshape(-1, 2).T)]))
        starts = starts_of_runs(number)
        chunk = number[starts]
        task = np.searchsorted(self._first, chunk, "right") - 1
        per_chunk = self._tasks.per_chunk[task]
        size = np.minimum(per_chunk, most - (chunk - self._first[task]) * per_chunk)
        own = self._own(chunk + 1) > self._own(chunk)
        return np.bincount(task[own & (np.diff(starts, append=len(number)) == size)], minlength=len(total))

    def _number(self, task: np.ndarray, realisations: np.ndarray) -> np.ndarray:
        """Return the numbers of the chunks that realisations are in."""
        return np.asarray(self._first[task] + realisations // self._tasks.per_chunk[task])

    def __iter__(self) -> Iterator[Chunk]:
        """Yield what lacks, task by task; a task ends early once the results taken so far are enough."""
        for rank in np.flatnonzero(self.lacking).tolist():
            one = self._begun.setdefault(self._tasks.names[rank], self._task(rank))
            yield from one

    def at(self, places: Iterable[int]) -> Iterator[Chunk]:
        """Yield those of the chunks that lack at such places among them, 0 ≤ place < left, in this order."""
        ends = np.cumsum(self.lacking)
        for place in places:
            rank = int(np.searchsorted(ends, place, "right"))
            chunk = self._task(rank).at(place - int(ends[rank] - self.lacking[rank]))
            if chunk.realisations:
                yield chunk

    def _task(self, rank: int) -> _Task:
        return _Task(
            self._spec,
            self._tasks[rank],
            rank,
            int(self._first[rank]),
            *self._there.of(rank),
            self._shard,
            np.array(sorted(self._failed.get(rank, ())), np.int64),
        )

    def _awaited(self, task: TaskPlan) -> _Task | None:
        """Return the task while chunks of it lack."""
        one = self._begun.get(task.task_id)
        if one is None:
            (rank,) = self._tasks.names.ranks([task.task_id]).tolist()
            if self.lacking[rank]:
                one = self._begun[task.task_id] = self._task(rank)
        return one

    def take(self, result: Result) -> list[Result]:
        """Return the results that count from now on, this one or others that waited for it."""
        one = self._awaited(result.chunk.task)
        if one is None:
            return []
        counted = one.take(result)
        self.left += one.left - int(self.lacking[one.rank])
        self.lacking[one.rank] = one.left
        if not one.left:
            del self._begun[one.task.task_id]  # there may be a million
        return counted

    def counts(self, task: TaskPlan) -> Callable[[], np.ndarray]:
        """Return what gives the counts of a task's realisations that count by then, (R, 3), in no particular order."""
        one = self._awaited(task)
        return one.counts if one else lambda: np.empty((0, 3), np.int64)


class _Task:
    """The chunks of one task."""

    def __init__(
        self,
        spec: Spec,
        task: TaskPlan,
        rank: int,
        number: int,
        there: np.ndarray,
        counts: np.ndarray,
        shard: Shard | None,
        lost: np.ndarray,
    ) -> None:
        self.task, self.rank = task, rank
        self._spec, self._number, self._most = spec, number, spec.realisations
        self._done = np.union1d(there, lost) if lost.size else there
        self._parts = -(-self._most // task.per_chunk)
        self._counts = [counts if spec.experiment.counts else np.empty((0, 3), np.int64)]
        #: Results that are not counted yet: few together cost less than one by one.
        self._fresh: list[pa.Table] = []
        self._rule = None if spec.stop is None else _Prefix(spec, task, there, counts, lost)
        self._pending = self._rule.needed(self._parts) if self._rule else self._lacking(shard)
        self.left = len(self._pending)

    def _lacking(self, shard: Shard | None) -> Sequence[int]:
        lacking: Sequence[int] = range(self._parts)
        if self._done.size:
            size = np.full(self._parts, self.task.per_chunk)
            size[-1] = self._most - (self._parts - 1) * self.task.per_chunk
            inside = self._done[self._done < self._most]
            there = np.bincount(inside // self.task.per_chunk, minlength=self._parts)
            lacking = np.flatnonzero(there < size).tolist()
        return lacking if shard is None else [part for part in lacking if shard.has(self._number + part)]

    def __iter__(self) -> Iterator[Chunk]:
        for part in self._pending:
            if self._rule is not None and self._rule.decided:
                return
            chunk = self._chunk(part)
            if chunk.realisations:
                yield chunk

    def at(self, place: int) -> Chunk:
        """Return one of those that lacked at the beginning; under a rule it may have no realisations."""
        return self._chunk(self._pending[place])

    def _chunk(self, part: int) -> Chunk:
        chunk = whole_chunk(self._number + part, self.task, part, self._most)
        if not self._done.size:
            return chunk
        inside = np.isin(chunk.realisations, self._done, invert=True)
        return chunk._replace(realisations=tuple(np.asarray(chunk.realisations)[inside].tolist()))

    def take(self, result: Result) -> list[Result]:
        if self._rule is None:
            self.left -= 1
            counted = [result]
        else:
            counted = self._rule.take(result)
            self.left = len(self._rule.needed(self._parts))
        if self._spec.experiment.counts:
            self._fresh += [one.table.select(["realisation", *self._spec.experiment.counts]) for one in counted]
            if len(self._fresh) >= _TOGETHER:
                self._count()
        return counted

    def _count(self) -> None:
        if self._fresh:
            self._counts.append(_counts(self._spec, pa.concat_tables(self._fresh))[1])
            self._fresh.clear()
        # Twice as many in each as in the next, so that few copies are made of a million.
        while len(self._counts) > 1 and len(self._counts[-2]) < 2 * len(self._counts[-1]):
            self._counts[-2:] = [np.concatenate(self._counts[-2:])]

    def counts(self) -> np.ndarray:
        self._count()
        return np.concatenate(self._counts)


#: What is known of a realisation, where it is not 0.
_THERE, _FAILED = 1, 2


class _Prefix:
    """The realisations 0, 1, … of a task as far as there is no gap, and whether they are enough.

    Attributes
    ----------
    decided : bool
    """

    def __init__(self, spec: Spec, task: TaskPlan, there: np.ndarray, counts: np.ndarray, failed: np.ndarray) -> None:
        self._spec, self._task, self._most = spec, task, spec.realisations
        self._known = np.zeros(0, np.int8)
        self._counts = np.zeros((0, 3), np.int64)
        self._waiting: dict[int, Result] = {}
        self._part = 0
        self.decided = False
        inside = there < self._most
        if inside.any():
            self._note(there[inside], counts[inside])
        self._note_failed(failed[failed < self._most])
        self._advance()

    def needed(self, count: int) -> range:
        """Return the chunks from the first gap on, of `count`."""
        return range(0) if self.decided else range(self._part, count)

    def take(self, result: Result) -> list[Result]:
        if self.decided:
            return []
        self._note(*_counts(self._spec, result.table))
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


def _counts(spec: Spec, table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    realisation = table["realisation"].to_numpy()
    starts = starts_of_runs(realisation)
    columns = {name: table[name].to_numpy() for name in spec.experiment.counts or ()}
    return realisation[starts], counts_per_realisation(spec.experiment, columns, starts)
