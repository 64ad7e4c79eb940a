"""Thousands of trajectories to their ends: a shared queue of starts, lanes that refill from it, one status a lane.

Every thread owns a tile. A lane that ends writes its result and takes the next start of its memory's queue; when the
queue is empty the live lanes are packed left and the tile narrows, so that the work done follows the sum of the steps
the trajectories need and not the slowest of them. A trajectory's bits depend on its start and its memory alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fasthop_kernels.bits import like
from fasthop_kernels.flows import MATRIX, NONE, residual, velocity
from fasthop_kernels.jit import kernel
from fasthop_kernels.lanes import LINE, ROWS, borrow, take, wide_vectors
from fasthop_kernels.steppers import Method, step
from fasthop_kernels.tables import Tables, borrow_tables
from fasthop_kernels.tiles import shape_tile

#: What the end of a trajectory is.
SETTLED, UNSETTLED, DIVERGED, NOT_FINITE, FALSE_MEMORY, KINK = range(6)

#: Where R depends on Λ and Λ jumps, ẏ jumps too, and a trajectory can be held on the jump by slopes that point at it
#: from both sides: it chatters, |ẏ| never falls, and so neither does the residual. Twice every WINDOW steps, OFFSET
#: steps apart, a lane is compared with an anchor. Where it is more than STRAY steps of mean length ∫|ẏ|dt/steps away it
#: moves, orbits or slides along the jump, and is anchored anew; where it has not been for PATIENCE steps it is held. So
#: what slides by more than STRAY/PATIENCE = 1/1024 of its chatter goes on, and so do orbits of some 25 steps and more.
WINDOW, OFFSET, STRAY, PATIENCE = 105, 61, 4, 4096

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
        Settled where max|residual| ≤ tolerance · max(1, max|y|); negative: never. A false memory where ẏ meets that and
        the residual exceeds √tolerance · max(1, max|y|): R has lost it. A kink where the residual exceeds that too, ẏ
        does not vanish, and y stays where it is.
    escape : float
        Diverged where max|y| exceeds it; infinite: never.
    """

    step: Any
    most_steps: Any
    tolerance: Any
    escape: Any


class Ends(NamedTuple):
    """One entry per trajectory: state (B, N), status (B,), residual (B,), steps (B,); scratch until it ends."""

    state: Any
    status: Any
    residual: Any
    steps: Any


@kernel
def _measure(y: Any, k: Any, residual: Any, distance: Any, poison: Any) -> None:
    """Reduce |residual| and |y| over the neurons; `poison` turns NaN where the residual is not finite."""
    wide_vectors()
    panel = residual.size
    residual[:] = 0
    distance[:] = 0
    poison[:] = 0
    for p in range(0, y.size, panel):
        # Slices, because numba cannot prove p + e ≥ 0 and an index that may wrap is not vectorised; selections,
        # because the builtin max is not either.
        places, slopes = y[p : p + panel], k[p : p + panel]
        for e in range(panel):
            size, place = abs(slopes[e]), abs(places[e])
            residual[e] = size if size > residual[e] else residual[e]
            distance[e] = place if place > distance[e] else distance[e]
            poison[e] += slopes[e] - slopes[e]


@kernel
def _measure_speed(k: Any, speed: Any) -> None:
    """Reduce |ẏ| over the neurons."""
    wide_vectors()
    panel = speed.size
    speed[:] = 0
    for p in range(0, k.size, panel):
        slopes = k[p : p + panel]
        for e in range(panel):
            size = abs(slopes[e])
            speed[e] = size if size > speed[e] else speed[e]


@kernel
def _fold(panel: Any, lanes: int) -> None:
    """Leave the largest of the ROWS partial maxima of every lane in the first row."""
    wide_vectors()
    worst = panel[:lanes]
    for r in range(1, ROWS):
        row = panel[r * lanes : (r + 1) * lanes]
        for lane in range(lanes):
            worst[lane] = row[lane] if row[lane] > worst[lane] else worst[lane]


@kernel
def _weigh(residual: Any, distance: Any, poison: Any, lanes: int, tolerance: Any, escape: Any) -> int:
    """Make the residuals relative to max(1, |y|∞), NaN where poisoned; count the lanes that end by what they are."""
    wide_vectors()
    relative, place = residual[:lanes], distance[:lanes]
    for r in range(ROWS):
        row = poison[r * lanes : (r + 1) * lanes]
        for lane in range(lanes):
            relative[lane] += row[lane]
    ending = 0
    for lane in range(lanes):
        scale = place[lane] if place[lane] > like(1.0, escape) else like(1.0, escape)
        relative[lane] /= scale
        ending += 0 if (relative[lane] > tolerance and relative[lane] < np.inf and place[lane] <= escape) else 1
    return ending


@kernel
def _judge(residual: Any, distance: Any, clock: int, limits: Limits, memory: int) -> int:
    """Return what a lane is that has not been found false."""
    if not residual < np.inf:
        return NOT_FINITE
    if residual <= limits.tolerance:
        return SETTLED
    if distance > limits.escape:
        return DIVERGED
    if clock >= limits.most_steps[memory]:
        return UNSETTLED
    return _LIVE


@kernel
def _load(y: Any, lane: int, lanes: int, start: Any) -> None:
    for i in range(start.size):
        y[i * lanes + lane] = start[i]


@kernel
def _store(y: Any, lane: int, lanes: int, end: Any) -> None:
    for i in range(end.size):
        end[i] = y[i * lanes + lane]


@kernel
def _is_held(y: Any, lane: int, lanes: int, clock: int, anchor: Any, since: Any, path: Any) -> bool:
    """Whether a lane has stayed at its anchor, set at step `since[0]`, while it walked `path[0]`.

    At the first step, and where it has moved, it is anchored anew.
    """
    steps, way = clock - since[0], 0.0
    for i in range(anchor.size):
        way = max(way, abs(float(y[i * lanes + lane]) - float(anchor[i])))
    if clock > 0 and way * steps <= STRAY * path[0]:
        return steps >= PATIENCE and path[0] > 0
    _store(y, lane, lanes, anchor)
    since[0] = clock
    path[0] = 0
    return False


@kernel
def _pack(y: Any, neurons: int, lanes: int, fewer: int, item: Any, clock: Any) -> None:
    """Move the live lanes to the left of a tile of `fewer` lanes. A row only moves down, so one pass in place."""
    for i in range(neurons):
        to = i * fewer
        for lane in range(lanes):
            if item[lane] >= 0:
                y[to] = y[i * lanes + lane]
                to += 1
        y[to : (i + 1) * fewer] = 0
    to = 0
    for lane in range(lanes):
        if item[lane] >= 0:
            item[to], clock[to] = item[lane], clock[lane]
            to += 1
    item[to:lanes] = _IDLE


@kernel
def _next_item(taken: Any, memory: int, first: Any) -> int:
    """Take the next trajectory of a memory; _IDLE when its queue is empty."""
    count = first[memory + 1] - first[memory]
    if taken[memory] < count:
        item = take(taken, memory)
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
    neurons, line = starts.shape[1], LINE // floats.itemsize
    h, driven = limits.step[memory], tables.drive != NONE
    jumps = driven and tables.drive != MATRIX and limits.tolerance > 0
    weights, drive_weights = tables.weights[memory], tables.drive_weights[memory]
    items, clock = integers[: integers.size // 2], integers[integers.size // 2 :]

    share = -(-(first[memory + 1] - first[memory] - taken[memory]) // helpers)
    widest = min(most_lanes, -(-share // line) * line)
    live = 0
    while live < widest:
        item = _next_item(taken, memory, first)
        if item == _IDLE:
            break
        items[live] = item
        clock[live] = 0
        live += 1
    lanes = -(-live // line) * line
    items[live:lanes] = _IDLE
    floats[: neurons * lanes] = 0
    for lane in range(live):
        _load(floats, lane, lanes, starts[items[lane]])
    tile = shape_tile(tables, memory, floats, lanes)

    paid, oldest = 0, 0
    while live > 0:
        paid += lanes
        residual(tables, weights, tile, tile.y, lanes)
        _measure(tile.y, tile.k, tile.residual, tile.distance, tile.poison)
        velocity(tables, weights, drive_weights, tile, tile.y, lanes)
        _fold(tile.residual, lanes)
        _fold(tile.distance, lanes)
        ending = _weigh(tile.residual, tile.distance, tile.poison, lanes, limits.tolerance, limits.escape)
        if driven:
            _measure_speed(tile.k, tile.speed)
            _fold(tile.speed, lanes)
        ended = 0
        if ending > 0 or driven or oldest >= limits.most_steps[memory]:
            for lane in range(lanes):
                item = items[lane]
                if item == _IDLE:
                    continue
                left, place = tile.residual[lane], tile.distance[lane]
                status = _judge(left, place, clock[lane], limits, memory)
                lost = (
                    driven and left * left > limits.tolerance and tile.speed[lane] <= limits.tolerance * max(1.0, place)
                )
                if lost and (status == _LIVE or status == UNSETTLED):
                    status = FALSE_MEMORY
                if jumps and status == _LIVE:
                    # The places of the end hold the anchor, its step and the path until the trajectory ends.
                    path, since = ends.residual[item : item + 1], ends.steps[item : item + 1]
                    phase = clock[lane] % WINDOW
                    if phase == 0 or phase == OFFSET:
                        held = _is_held(tile.y, lane, lanes, clock[lane], ends.state[item], since, path)
                        if held and left * left > limits.tolerance:
                            status = KINK
                    path[0] += h * tile.speed[lane]
                if status == _LIVE:
                    continue
                _store(tile.y, lane, lanes, ends.state[item])
                ends.status[item] = status
                ends.residual[item] = left
                ends.steps[item] = clock[lane]
                items[lane] = _IDLE
                ended += 1
        for lane in range(lanes):
            clock[lane] += 1
        oldest += 1
        live -= ended
        if live == 0:
            break
        step(method, tables, weights, drive_weights, tile, h, lanes)
        if ended == 0:
            continue
        for lane in range(lanes):
            if items[lane] == _IDLE:
                item = _next_item(taken, memory, first)
                if item == _IDLE:
                    break
                _load(tile.y, lane, lanes, starts[item])
                items[lane] = item
                clock[lane] = 0
                live += 1
        fewer = -(-live // line) * line
        if fewer < lanes:
            _pack(floats, neurons, lanes, fewer, items, clock)
            lanes = fewer
            tile = shape_tile(tables, memory, floats, lanes)
    return paid


@kernel
def work(
    worker: int,
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
) -> int:
    """Do one worker's share of integrating every start to its end; the others may work at the same time.

    Parameters
    ----------
    worker : int
        Which row of the workspace is its own.
    tables, method, limits
        The K memories, the method, and when a trajectory ends.
    starts : float array, shape (B, N)
        Initial states; those of memory m are `starts[first[m]:first[m + 1]]`.
    first : int64 array, shape (K + 1,)
    taken : int64 array, shape (K,)
        Zeros before the first worker begins; the queues that all workers share.
    most_lanes : int
        Widest tile, a multiple of `lane_line`; the results do not depend on it.
    floats, integers
        From `tiles.workspace`; overwritten. Their first axis is the number of workers.
    ends : Ends
        Overwritten.

    Returns
    -------
    int
        Lane-steps computed, idle lanes included.
    """
    tables, starts, first, taken = borrow_tables(tables), borrow(starts), borrow(first), borrow(taken)
    method = Method(borrow(method.ahead), borrow(method.weight))
    limits = Limits(borrow(limits.step), borrow(limits.most_steps), limits.tolerance, limits.escape)
    ends = Ends(borrow(ends.state), borrow(ends.status), borrow(ends.residual), borrow(ends.steps))
    workers, memories = floats.shape[0], first.size - 1
    floats, integers = borrow(floats)[worker], borrow(integers)[worker]
    paid = 0
    for turn in range(memories):
        # Each worker begins at its own share of the memories and then helps with those of the others.
        memory = (worker * memories // workers + turn) % memories
        helpers = max(1, workers // memories)
        while taken[memory] < first[memory + 1] - first[memory]:
            paid += _run_tile(
                tables, memory, method, limits, starts, first, taken, most_lanes, helpers, floats, integers, ends
            )
    return paid
