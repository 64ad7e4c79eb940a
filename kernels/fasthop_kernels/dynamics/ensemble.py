"""Thousands of trajectories to their ends: a shared queue of starts, lanes that refill from it, one status a lane.

Every thread owns a tile. A lane that ends writes its result and takes the next start of its memory's queue; when the
queue is empty the live lanes are packed left and the tile narrows, so that the work done follows the sum of the steps
the trajectories need and not the slowest of them. A trajectory's bits depend on its start and its memory alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fasthop_kernels.dynamics.flows import NONE, residual, velocity
from fasthop_kernels.dynamics.steppers import Method, measure_step, step
from fasthop_kernels.dynamics.tables import Tables, borrow_tables
from fasthop_kernels.dynamics.tiles import Tile, shape_tile
from fasthop_kernels.machine.bits import like
from fasthop_kernels.machine.jit import kernel
from fasthop_kernels.machine.lanes import LINE, ROWS, borrow, stopped, take, wide_vectors

#: What the end of a trajectory is.
SETTLED, UNSETTLED, DIVERGED, NOT_FINITE, FALSE_MEMORY, KINK = range(6)

#: Where R depends on Λ and Λ jumps, ẏ jumps too, and a trajectory can be held on the jump by slopes that point at it
#: from both sides: it chatters, |ẏ| never falls, and so neither does the residual. Twice every WINDOW steps, OFFSET
#: steps apart, a lane is compared with an anchor. Where it is further away than STRAY times the longest step since the
#: last look it moves, orbits or slides along the jump, and is anchored anew; where it has not been for PATIENCE steps
#: it is held. Chatter overshoots the jump by one step of either side at most, however many short steps the slower side
#: needs to come back, up to those between two looks, so it is always within two of the longest; an orbit of n equal
#: steps is n/π of them wide, and goes on from some ten steps a turn, and so does what slides by more than
#: STRAY/PATIENCE of its chatter.
WINDOW, OFFSET, STRAY, PATIENCE = 521, 307, 3, 4096

#: A trajectory of which some |residual| is above the tolerance, though within the tolerance of a large |y|, must have
#: lost this share of it in the last step: one that grows for ever is not steady because it has become large.
SHRINK = 0.01

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
        Settled where |residual_i| ≤ tolerance · max(1, |y_i|) for every neuron, or what rounding leaves of it, and
        max|residual| is at most the tolerance too or falls by SHRINK a step; negative: never. A false memory where ẏ
        meets that and some residual exceeds √tolerance · max(1, |y_i|): R has lost it. A kink where a residual exceeds
        that too, ẏ does not vanish, and y stays where it is.
    escape : float
        Diverged where max|y| exceeds it; infinite: never.
    unit, fixed, shared : float, and float arrays of shape (K, N)
        Rounding leaves at most unit |y_i| + fixed_i + shared_i max(1, max|y|) of the residual.
    near : float array, shape (K,)
        A bound from above for all neurons: what is settled has max|residual| ≤ near · max(1, max|y|).
    kinks : bool
        Whether R jumps somewhere.
    """

    step: Any
    most_steps: Any
    tolerance: Any
    escape: Any
    unit: Any
    fixed: Any
    shared: Any
    near: Any
    kinks: Any


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
def _measure_size(k: Any, size: Any) -> None:
    """Reduce |k| over the neurons."""
    wide_vectors()
    panel = size.size
    size[:] = 0
    for p in range(0, k.size, panel):
        slopes = k[p : p + panel]
        for e in range(panel):
            slope = abs(slopes[e])
            size[e] = slope if slope > size[e] else size[e]


@kernel
def _measure_relative(y: Any, k: Any, relative: Any) -> None:
    """Reduce |k_i| / max(1, |y_i|) over the neurons."""
    wide_vectors()
    panel, one = relative.size, like(1.0, relative[0])
    relative[:] = 0
    for p in range(0, y.size, panel):
        places, slopes = y[p : p + panel], k[p : p + panel]
        for e in range(panel):
            place = abs(places[e])
            size = abs(slopes[e]) / (place if place > one else one)
            relative[e] = size if size > relative[e] else relative[e]


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
def _count_ending(residual: Any, distance: Any, poison: Any, lanes: int, near: Any, escape: Any) -> int:
    """Make residuals NaN where poisoned, and count the lanes that may end by what they are.

    What is steady has a residual of at most `near` · max(1, |y|∞), whatever its neurons.
    """
    wide_vectors()
    size, place = residual[:lanes], distance[:lanes]
    for r in range(ROWS):
        row = poison[r * lanes : (r + 1) * lanes]
        for lane in range(lanes):
            size[lane] += row[lane]
    ending = 0
    for lane in range(lanes):
        scale = place[lane] if place[lane] > like(1.0, escape) else like(1.0, escape)
        ending += 0 if (size[lane] > near * scale and size[lane] < np.inf and place[lane] <= escape) else 1
    return ending


@kernel
def _is_steady(tile: Tile, lane: int, lanes: int, largest: Any, before: Any, limits: Limits, memory: int) -> bool:
    """Whether `tile.k`, the residual or ẏ, counts as 0; `largest` is its size, `before` that of a step ago."""
    one = like(1.0, largest)
    reach, loud = max(one, tile.distance[lane]), False
    for i in range(limits.fixed.shape[1]):
        size, place = abs(tile.k[i * lanes + lane]), abs(tile.y[i * lanes + lane])
        rounding = limits.unit * place + limits.fixed[memory, i] + limits.shared[memory, i] * reach
        if size > max(limits.tolerance * max(one, place), rounding):
            return False
        loud = loud or size > max(limits.tolerance, rounding)
    return not loud or largest <= like(1.0 - SHRINK, largest) * before


@kernel
def _relative(tile: Tile, lane: int, lanes: int, neurons: int) -> Any:
    """Return the largest |k_i| / max(1, |y_i|) of one lane."""
    worst = like(0.0, tile.k[0])
    for i in range(neurons):
        size = abs(tile.k[i * lanes + lane]) / max(like(1.0, worst), abs(tile.y[i * lanes + lane]))
        worst = size if size > worst else worst
    return worst


@kernel
def _judge(tile: Tile, lane: int, lanes: int, clock: int, before: Any, limits: Limits, memory: int) -> int:
    """Return what a lane is by its residual, which is in `tile.k`."""
    largest, distance = tile.residual[lane], tile.distance[lane]
    if not largest < np.inf:
        return NOT_FINITE
    near = limits.near[memory] * max(like(1.0, distance), distance)
    if largest <= near and _is_steady(tile, lane, lanes, largest, before, limits, memory):
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
def _is_held(y: Any, lane: int, lanes: int, clock: int, anchor: Any, since: Any, longest: Any) -> bool:
    """Whether a lane has stayed at its anchor, set at step `since[0]`; `longest[0]` is its longest step of late.

    At the first step, and where it has moved, it is anchored anew. The longest step is sought anew from here.
    """
    way = 0.0
    for i in range(anchor.size):
        way = max(way, abs(float(y[i * lanes + lane]) - float(anchor[i])))
    near = clock > 0 and longest[0] > 0 and way <= STRAY * longest[0]
    longest[0] = 0
    if near:
        return clock - since[0] >= PATIENCE
    _store(y, lane, lanes, anchor)
    since[0] = clock
    return False


@kernel
def _judge_driven(
    tile: Tile,
    lane: int,
    lanes: int,
    items: Any,
    clock: Any,
    status: Any,
    slower: Any,
    moved: Any,
    limits: Limits,
    memory: int,
    ends: Ends,
) -> None:
    """Look for what R has made of a lane that the residual lets go on; ẏ is in `tile.k`."""
    item, left, speed = items[lane], tile.left[lane], tile.speed[lane]
    lost = left * left > limits.tolerance and (status[lane] == _LIVE or status[lane] == UNSETTLED)
    near = limits.near[memory] * max(like(1.0, speed), tile.distance[lane])
    if lost and speed <= near and _is_steady(tile, lane, lanes, speed, slower[lane], limits, memory):
        status[lane] = FALSE_MEMORY
    elif limits.kinks and status[lane] == _LIVE:
        # The places of the end hold the anchor, its step and the longest step until the trajectory ends.
        longest, since = ends.residual[item : item + 1], ends.steps[item : item + 1]
        longest[0] = max(longest[0], moved[lane])
        phase = clock[lane] % WINDOW
        if phase == 0 or phase == OFFSET:
            held = _is_held(tile.y, lane, lanes, clock[lane], ends.state[item], since, longest)
            if held and lost:
                status[lane] = KINK
    if status[lane] != _LIVE and status[lane] != NOT_FINITE:
        ends.residual[item] = left


@kernel
def _pack(y: Any, neurons: int, lanes: int, fewer: int, item: Any, clock: Any, kept: Any) -> None:
    """Move the live lanes to the left of a tile of `fewer` lanes. A row only moves down, so one pass in place."""
    for i in range(neurons):
        to = i * fewer
        for lane in range(lanes):
            if item[lane] >= 0:
                y[to] = y[i * lanes + lane]
                to += 1
        y[to : (i + 1) * fewer] = 0
    to, width = 0, kept.size // 3
    for lane in range(lanes):
        if item[lane] >= 0:
            item[to], clock[to] = item[lane], clock[lane]
            for at in range(0, kept.size, width):
                kept[at + to] = kept[at + lane]
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
    stop: Any,
) -> int:
    """Fill a tile from one memory's queue and work until every lane has ended; return the steps paid.

    Lanes that end are refilled while others live. `helpers` workers are on the memory: where less is left than fills
    their tiles, each takes its share, which is why a tile that ends as a whole returns instead of refilling itself.
    """
    neurons, line = starts.shape[1], LINE // floats.itemsize
    h, driven = limits.step[memory], tables.drive != NONE
    weights, drive_weights = tables.weights[memory], tables.drive_weights[memory]
    width = integers.size // 3
    items, clock, status = integers[:width], integers[width : 2 * width], integers[2 * width :]
    # Of every lane, the size of the residual and of ẏ a step ago, and the length of that step.
    kept = floats[floats.size - 3 * width :]
    before, slower, moved = kept[:width], kept[width : 2 * width], kept[2 * width :]

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
    kept[:] = 0
    floats[: neurons * lanes] = 0
    for lane in range(live):
        _load(floats, lane, lanes, starts[items[lane]])
    tile = shape_tile(tables, memory, floats, lanes, stop)

    paid, oldest = 0, 0
    while live > 0 and not stopped(stop):
        paid += lanes
        residual(tables, weights, tile, tile.y, lanes)
        _measure(tile.y, tile.k, tile.residual, tile.distance, tile.poison)
        _fold(tile.residual, lanes)
        _fold(tile.distance, lanes)
        ending = _count_ending(tile.residual, tile.distance, tile.poison, lanes, limits.near[memory], limits.escape)
        looked = ending > 0 or driven or oldest >= limits.most_steps[memory]
        if looked:
            for lane in range(lanes):
                if items[lane] != _IDLE:
                    status[lane] = _judge(tile, lane, lanes, clock[lane], before[lane], limits, memory)
                    if status[lane] == NOT_FINITE:
                        ends.residual[items[lane]] = np.nan
                    elif status[lane] != _LIVE and not driven:
                        ends.residual[items[lane]] = _relative(tile, lane, lanes, neurons)
                before[lane] = tile.residual[lane]
        else:
            before[:lanes] = tile.residual[:lanes]
        if driven:
            _measure_relative(tile.y, tile.k, tile.left)
            _fold(tile.left, lanes)
        velocity(tables, weights, drive_weights, tile, tile.y, lanes)
        if driven:
            _measure_size(tile.k, tile.speed)
            _fold(tile.speed, lanes)
            for lane in range(lanes):
                if items[lane] != _IDLE:
                    _judge_driven(tile, lane, lanes, items, clock, status, slower, moved, limits, memory, ends)
                slower[lane] = tile.speed[lane]
        ended = 0
        if looked:
            for lane in range(lanes):
                item = items[lane]
                if item == _IDLE or status[lane] == _LIVE:
                    continue
                _store(tile.y, lane, lanes, ends.state[item])
                ends.status[item] = status[lane]
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
        if limits.kinks:
            measure_step(method, tile, h, tile.speed)
            _fold(tile.speed, lanes)
            moved[:lanes] = tile.speed[:lanes]
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
                before[lane], slower[lane], moved[lane] = 0, 0, 0
                live += 1
        fewer = -(-live // line) * line
        if fewer < lanes:
            _pack(floats, neurons, lanes, fewer, items, clock, kept)
            lanes = fewer
            tile = shape_tile(tables, memory, floats, lanes, stop)
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
    ends: Ends,
    floats: Any,
    integers: Any,
    stop: Any,
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
    ends : Ends
        Overwritten.
    floats, integers
        From `tiles.workspace`; overwritten. Their first axis is the number of workers.
    stop : int64 array, shape (1,)
        What makes every worker return after a step (`lanes.stopped`).

    Returns
    -------
    int
        Lane-steps computed, idle lanes included.
    """
    tables, starts, first, taken = borrow_tables(tables), borrow(starts), borrow(first), borrow(taken)
    stop = borrow(stop)
    method = Method(borrow(method.ahead), borrow(method.weight))
    limits = Limits(
        borrow(limits.step),
        borrow(limits.most_steps),
        limits.tolerance,
        limits.escape,
        limits.unit,
        borrow(limits.fixed),
        borrow(limits.shared),
        borrow(limits.near),
        limits.kinks,
    )
    ends = Ends(borrow(ends.state), borrow(ends.status), borrow(ends.residual), borrow(ends.steps))
    workers, memories = floats.shape[0], first.size - 1
    floats, integers = borrow(floats)[worker], borrow(integers)[worker]
    paid = 0
    for turn in range(memories):
        # Each worker begins at its own share of the memories and then helps with those of the others.
        memory = (worker * memories // workers + turn) % memories
        helpers = max(1, workers // memories)
        while taken[memory] < first[memory + 1] - first[memory] and not stopped(stop):
            paid += _run_tile(
                tables, memory, method, limits, starts, first, taken, most_lanes, helpers, floats, integers, ends, stop
            )
    return paid
