"""Thousands of trajectories to their ends: a shared queue of starts, lanes that refill from it, one status a lane.

Every thread owns a tile. A lane that ends writes its result and takes the next start of its memory's queue; when the
queue is empty the live lanes are packed left and the tile narrows, so that the work done follows the sum of the steps
the trajectories need and not the slowest of them. A trajectory's bits depend on its start and its memory alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import prange

from fasthop_kernels.flows import slope
from fasthop_kernels.jit import kernel, parallel_kernel
from fasthop_kernels.lanes import LINE, MAX_LINES, ROWS, lane_line, take, wide_vectors
from fasthop_kernels.steppers import Method, step
from fasthop_kernels.tables import Tables

#: What the end of a trajectory is.
SETTLED, UNSETTLED, DIVERGED, NOT_FINITE = range(4)

_LIVE = -1  # status of a lane that goes on
_IDLE = -1  # item of a lane without a trajectory


class Limits(NamedTuple):
    """When a trajectory ends.

    Attributes
    ----------
    step : float array, shape (K,)
        Step h of each memory.
    most_steps : int64 array, shape (K,)
        Steps after which a trajectory is unsettled.
    tolerance : float
        Settled where max|F(y)| ≤ tolerance · max(1, max|y|); negative: never.
    escape : float
        Diverged where max|y| exceeds it; infinite: never.
    """

    step: Any
    most_steps: Any
    tolerance: Any
    escape: Any


class Ends(NamedTuple):
    """One entry per trajectory: state (B, N), status (B,), residual (B,), steps (B,)."""

    state: Any
    status: Any
    residual: Any
    steps: Any


class _Tile(NamedTuple):
    """State, stage state, activation, slope, weighted sum of slopes and bias of `lanes` trajectories, each flat."""

    y: Any
    z: Any
    g: Any
    k: Any
    total: Any
    bias: Any


class _Lanes(NamedTuple):
    """Per lane: item (its trajectory), clock (steps taken); ROWS partial maxima of |F| and |y|, a mark of NaN."""

    item: Any
    clock: Any
    fastest: Any
    farthest: Any
    poison: Any


def padded_rows(neurons: int) -> int:
    """Rows of a tile: whole panels, so that elementwise loops have no remainder. The rows past N stay zero."""
    return -(-neurons // ROWS) * ROWS


def workspace(neurons: int, workers: int, dtype: Any) -> tuple[Any, Any]:
    """Allocate the buffers of `run`: floats aligned to cache lines, and integers, one row per worker."""
    dtype = np.dtype(dtype)
    most = MAX_LINES * lane_line(dtype)
    count = (6 * padded_rows(neurons) + 3 * ROWS) * most
    raw = np.zeros(workers * count * dtype.itemsize + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    floats = raw[start : start + workers * count * dtype.itemsize].view(dtype).reshape(workers, count)
    return floats, np.zeros((workers, 2 * most), np.int64)


@kernel
def _tile(floats: Any, size: int) -> _Tile:
    return _Tile(
        floats[:size],
        floats[size : 2 * size],
        floats[2 * size : 3 * size],
        floats[3 * size : 4 * size],
        floats[4 * size : 5 * size],
        floats[5 * size : 6 * size],
    )


@kernel
def _lanes(floats: Any, integers: Any, rows: int, lanes: int) -> _Lanes:
    panel = ROWS * lanes
    at = 6 * rows * lanes
    most = integers.size // 2
    return _Lanes(
        integers[:most],
        integers[most:],
        floats[at : at + panel],
        floats[at + panel : at + 2 * panel],
        floats[at + 2 * panel : at + 3 * panel],
    )


@kernel
def _shape(tile: _Tile, bias: Any, neurons: int, lanes: int) -> None:
    """Spread the bias over the lanes and clear the padding that the products never write."""
    for i in range(neurons):
        tile.bias[i * lanes : (i + 1) * lanes] = bias[i]
    for padded in (tile.y, tile.k, tile.bias):
        padded[neurons * lanes :] = 0


@kernel
def _measure(tile: _Tile, fastest: Any, farthest: Any, poison: Any) -> None:
    """Reduce |F| and |y| over the neurons, ROWS partial maxima a lane; `poison` turns NaN where F is not finite."""
    wide_vectors()
    panel = fastest.size
    fastest[:] = 0
    farthest[:] = 0
    poison[:] = 0
    for p in range(0, tile.y.size, panel):
        # Slices, because numba cannot prove p + e ≥ 0 and an index that may wrap is not vectorised; selections,
        # because the builtin max is not either.
        y, k = tile.y[p : p + panel], tile.k[p : p + panel]
        for e in range(panel):
            speed, distance = abs(k[e]), abs(y[e])
            fastest[e] = speed if speed > fastest[e] else fastest[e]
            farthest[e] = distance if distance > farthest[e] else farthest[e]
            poison[e] += k[e] - k[e]


@kernel
def _judge(lane: int, lanes: int, state: _Lanes, limits: Limits, memory: int) -> tuple[Any, int]:
    """Return the residual of a lane relative to max(1, |y|∞), and what it is."""
    fastest, farthest, poison = state.fastest[lane], state.farthest[lane], state.poison[lane]
    for r in range(1, ROWS):
        at = r * lanes + lane
        fastest = max(fastest, state.fastest[at])
        farthest = max(farthest, state.farthest[at])
        poison += state.poison[at]
    residual = fastest / max(1.0, farthest) + poison
    if not residual < np.inf:
        return residual, NOT_FINITE
    if residual <= limits.tolerance:
        return residual, SETTLED
    if farthest > limits.escape:
        return residual, DIVERGED
    if state.clock[lane] >= limits.most_steps[memory]:
        return residual, UNSETTLED
    return residual, _LIVE


@kernel
def _load(y: Any, lane: int, lanes: int, start: Any) -> None:
    for i in range(start.size):
        y[i * lanes + lane] = start[i]


@kernel
def _store(y: Any, lane: int, lanes: int, end: Any) -> None:
    for i in range(end.size):
        end[i] = y[i * lanes + lane]


@kernel
def _pack(y: Any, neurons: int, lanes: int, fewer: int, state: _Lanes) -> None:
    """Move the live lanes to the left of a tile of `fewer` lanes. A row only moves down, so one pass in place."""
    for i in range(neurons):
        to = i * fewer
        for lane in range(lanes):
            if state.item[lane] >= 0:
                y[to] = y[i * lanes + lane]
                to += 1
        y[to : (i + 1) * fewer] = 0
    to = 0
    for lane in range(lanes):
        if state.item[lane] >= 0:
            state.item[to] = state.item[lane]
            state.clock[to] = state.clock[lane]
            to += 1
    state.item[to:lanes] = _IDLE


@kernel
def _next_item(taken: Any, memory: int, first: Any) -> int:
    """Take the next trajectory of a memory; _IDLE when its queue is empty."""
    count = first[memory + 1] - first[memory]
    if taken[memory] < count:
        item = take(taken, memory)  # type: ignore[no-untyped-call]
        if item < count:
            return int(first[memory] + item)
    return _IDLE


@kernel
def _run_tile(
    tables: Tables,
    memory: int,
    method: Method,
    limits: Limits,
    starts: Any,
    first: Any,
    taken: Any,
    most_lanes: int,
    helpers: int,
    floats: Any,
    integers: Any,
    ends: Ends,
) -> int:
    """Fill a tile from one memory's queue and work until every lane has ended; return the steps paid.

    Lanes that end are refilled while others live. `helpers` workers are on the memory: where less is left than fills
    their tiles, each takes its share, which is why a tile that ends as a whole returns instead of refilling itself.
    """
    neurons = starts.shape[1]
    rows = -(-neurons // ROWS) * ROWS
    line = LINE // floats.itemsize
    weights, bias, h = tables.weights[memory], tables.bias[memory], limits.step[memory]

    share = -(-(first[memory + 1] - first[memory] - taken[memory]) // helpers)
    widest = min(most_lanes, -(-share // line) * line)
    state = _lanes(floats, integers, rows, widest)
    live = 0
    while live < widest:
        item = _next_item(taken, memory, first)
        if item == _IDLE:
            break
        state.item[live] = item
        live += 1
    lanes = -(-live // line) * line
    state.item[live:lanes] = _IDLE
    tile = _tile(floats, rows * lanes)
    tile.y[:] = 0
    for lane in range(live):
        _load(tile.y, lane, lanes, starts[state.item[lane]])
        state.clock[lane] = 0
    _shape(tile, bias, neurons, lanes)
    state = _lanes(floats, integers, rows, lanes)

    paid = 0
    while live > 0:
        paid += lanes
        slope(tables, weights, tile.bias, tile.y, tile.g, tile.k, lanes)
        _measure(tile, state.fastest, state.farthest, state.poison)
        ended = 0
        for lane in range(lanes):
            item = state.item[lane]
            if item == _IDLE:
                continue
            residual, status = _judge(lane, lanes, state, limits, memory)
            if status == _LIVE:
                state.clock[lane] += 1
                continue
            _store(tile.y, lane, lanes, ends.state[item])
            ends.status[item] = status
            ends.residual[item] = residual
            ends.steps[item] = state.clock[lane]
            state.item[lane] = _IDLE
            ended += 1
        live -= ended
        if live == 0:
            break
        step(method, tables, weights, tile, h, lanes)
        if ended == 0:
            continue
        for lane in range(lanes):
            if state.item[lane] == _IDLE:
                item = _next_item(taken, memory, first)
                if item == _IDLE:
                    break
                _load(tile.y, lane, lanes, starts[item])
                state.item[lane] = item
                state.clock[lane] = 0
                live += 1
        fewer = -(-live // line) * line
        if fewer < lanes:
            _pack(tile.y, neurons, lanes, fewer, state)
            lanes = fewer
            tile = _tile(floats, rows * lanes)
            _shape(tile, bias, neurons, lanes)
            state = _lanes(floats, integers, rows, lanes)
    return paid


@parallel_kernel
def run(
    tables: Tables,
    method: Method,
    limits: Limits,
    starts: Any,
    first: Any,
    taken: Any,
    most_lanes: int,
    floats: Any,
    integers: Any,
    ends: Ends,
    paid: Any,
) -> None:
    """Integrate every start to its end.

    Parameters
    ----------
    tables, method, limits
        The K memories, the method, and when a trajectory ends.
    starts : float array, shape (B, N)
        Initial states; those of memory m are `starts[first[m]:first[m + 1]]`.
    first : int64 array, shape (K + 1,)
    taken : int64 array, shape (K,)
        Zeros on entry; the queues.
    most_lanes : int
        Widest tile, a multiple of `lane_line`; the results do not depend on it.
    floats, integers
        From `workspace`; overwritten. Their first axis is the number of workers.
    ends : Ends
        Overwritten.
    paid : int64 array, shape (workers,)
        Overwritten: lane-steps computed by each worker, idle lanes included.
    """
    workers, memories = floats.shape[0], first.size - 1
    for worker in prange(workers):
        total = 0
        for turn in range(memories):
            # Each worker begins at its own share of the memories and then helps with those of the others.
            memory = (worker * memories // workers + turn) % memories
            while taken[memory] < first[memory + 1] - first[memory]:
                total += _run_tile(
                    tables,
                    memory,
                    method,
                    limits,
                    starts,
                    first,
                    taken,
                    most_lanes,
                    max(1, workers // memories),
                    floats[worker],
                    integers[worker],
                    ends,
                )
        paid[worker] = total
