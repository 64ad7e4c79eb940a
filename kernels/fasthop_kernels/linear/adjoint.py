"""The adjoint equation a = Jᵀa + e at steady states, on tiles of lanes: Almeida and Pineda in batch.

J is the Jacobian of the map whose fixed point the state is: W Λ for systems (1) and (9), Λ W for system (5), with Λ at
the argument of g. Every lane is a state with a Λ and an e of its own; the weights are those of the forward run, read
the other way. A lane's bits do not depend on its neighbours or on the number of lanes.

Three ways to solve it share all that is expensive. A Runge–Kutta method follows da/dt = e + Jᵀa − a; Euler with h = 1
is the backward iteration a ← Jᵀa + e. GMRES builds the Krylov space of I − Jᵀ; MINRES that of I − √Λ W √Λ, which a
symmetric W makes symmetric. They ask for one product at a time, which is why a tile has one loop around one product:
what calls a product is compiled with it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fasthop_kernels.dynamics.activations import apply_blockwise
from fasthop_kernels.dynamics.flows import OUTSIDE
from fasthop_kernels.dynamics.products import add_weights, largest_rank
from fasthop_kernels.dynamics.tables import Tables, borrow_tables
from fasthop_kernels.dynamics.tiles import padded_rows
from fasthop_kernels.linear import gmres, minres
from fasthop_kernels.linear.krylov import each
from fasthop_kernels.machine.jit import inner_kernel, kernel
from fasthop_kernels.machine.lanes import LINE, ROWS, borrow, stopped, take, wide_vectors

#: How a solve ends.
SOLVED, UNSOLVED, NOT_FINITE = range(3)

_LIVE = -1  # status of a row that goes on

#: Ways to solve the equation.
RUNGE_KUTTA, GMRES, MINRES = range(3)


class Problem(NamedTuple):
    """One adjoint equation a row.

    Attributes
    ----------
    arguments, slopes : float arrays, shape (B, N)
        The argument of g at the states, and the diagonal of Λ there.
    right : float array, shape (B, N)
        e.
    tiles : int64 array, shape (T, 3)
        Memory, first row and last row (exclusive) of every tile; the rows of a tile are of one memory.
    queue : int64 array, shape (1,)
        Zero on entry: the next tile.
    tolerance : float
        Solved where max|e + Jᵀa − a| ≤ tolerance · max(max|e|, max|a|); negative: never.
    most : int
        Products with Jᵀ after which a row is left unsolved.
    """

    arguments: Any
    slopes: Any
    right: Any
    tiles: Any
    queue: Any
    tolerance: Any
    most: Any


class Way(NamedTuple):
    """How the equations are solved.

    Attributes
    ----------
    kind : int
        RUNGE_KUTTA, GMRES, or MINRES: then `Problem.slopes` are √Λ, W is symmetric, a is z of (I − √Λ W √Λ) z = e, and
        the tables are those of system (1).
    ahead, weight : float arrays, shape (s,)
        The method of Runge and Kutta, as in `steppers.Method`.
    steps : float array, shape (B,)
        Its step h for every row.
    dimensions : int
        Dimensions of the Krylov space after which GMRES or MINRES restarts.
    rounding : float
        A vector is in the space where this share of it, or less, is not.
    hessenberg : float array, shape (B, m + 1, m) or (0, 0, 0)
        Takes the first columns of the matrices of I − Jᵀ, or of I − √Λ W √Λ, in the first Krylov space, that of e − Jᵀa
        − a at the start.
    columns : int64 array, shape (B,)
        Takes how many of them are the row's; −1 on entry.
    """

    kind: Any
    ahead: Any
    weight: Any
    steps: Any
    dimensions: Any
    rounding: Any
    hessenberg: Any
    columns: Any


class Adjoints(NamedTuple):
    """What comes out.

    Attributes
    ----------
    state : float array, shape (B, N)
        a; on entry where to start from.
    between : float array, shape (B, N)
        What stands between the factors of Jᵀa: Wᵀa, for system (5) Λa.
    residual : float array, shape (B,)
        max|e + Jᵀa − a| / max(max|e|, max|a|).
    status : int8 array, shape (B,)
        −1 on entry.
    products : int64 array, shape (B,)
        Products with Jᵀ that the row needed; 0 on entry.
    """

    state: Any
    between: Any
    residual: Any
    status: Any
    products: Any


class Room(NamedTuple):
    """Flat arrays with `lanes` numbers a neuron, or a few numbers a lane.

    The adjoint a; z, at which the product is taken; the product k; the sum of the stages; e; the argument of g; the
    diagonal of Λ; Wᵀz or Λz; the middle of a product of low rank. The basis, states in a row; the columns of the
    Hessenberg matrix, turned into a triangle as they come; its rotations; the rotated right-hand side; four panels of
    coefficients and sums (`panels`). Then, a number a lane: the step, the size of the terms, the residual, and the
    residual at which a Krylov space may stop.
    """

    y: Any
    z: Any
    k: Any
    total: Any
    right: Any
    x: Any
    slope: Any
    g: Any
    middle: Any
    basis: Any
    columns: Any
    cosine: Any
    sine: Any
    rotated: Any
    panel: Any
    pace: Any
    sizes: Any
    left: Any
    goal: Any


@kernel
def kept_vectors(kind: int, dimensions: int) -> int:
    """Return how many vectors of its Krylov space, less one, a way to solve keeps."""
    if kind == RUNGE_KUTTA:
        return 0
    return dimensions if kind == GMRES else minres.KEPT


@kernel
def room_size(tables: Tables, kept: int, lanes: int) -> int:
    """Return how many numbers `Room` takes."""
    states, rank = 9 + kept, largest_rank(tables.blocks)
    small = kept * (kept + 1) + 3 * kept + 5 + 4 * ROWS
    return int((states * padded_rows(tables.bias.shape[1]) + rank + small) * lanes)


@kernel
def _shape_room(tables: Tables, problem: Problem, way: Way, tile: int, floats: Any, start: Any, lanes: int) -> Room:
    """Lay out the buffers and load the rows of a tile. What is past the last neuron or row is zero."""
    neurons, first, last = tables.bias.shape[1], problem.tiles[tile, 1], problem.tiles[tile, 2]
    kept, size = kept_vectors(way.kind, way.dimensions), padded_rows(neurons) * lanes
    middle = 8 * size + largest_rank(tables.blocks) * lanes
    basis = middle + (kept + 1) * size
    columns = basis + kept * (kept + 1) * lanes
    cosine = columns + kept * lanes
    sine = cosine + kept * lanes
    rotated = sine + (kept + 1) * lanes
    panel = rotated + 4 * ROWS * lanes
    floats[: panel + 4 * lanes] = 0
    room = Room(
        floats[:size],
        floats[size : 2 * size],
        floats[2 * size : 3 * size],
        floats[3 * size : 4 * size],
        floats[4 * size : 5 * size],
        floats[5 * size : 6 * size],
        floats[6 * size : 7 * size],
        floats[7 * size : 8 * size],
        floats[8 * size : middle],
        floats[middle:basis],
        floats[basis:columns],
        floats[columns:cosine],
        floats[cosine:sine],
        floats[sine:rotated],
        floats[rotated:panel],
        floats[panel : panel + lanes],
        floats[panel + lanes : panel + 2 * lanes],
        floats[panel + 2 * lanes : panel + 3 * lanes],
        floats[panel + 3 * lanes : panel + 4 * lanes],
    )
    for lane in range(last - first):
        row = first + lane
        room.pace[lane] = way.steps[row]
        for i in range(neurons):
            at = i * lanes + lane
            room.y[at] = start[row, i]
            room.right[at] = problem.right[row, i]
            room.x[at] = problem.arguments[row, i]
            room.slope[at] = problem.slopes[row, i]
    _aim(way, room)
    return room


@kernel
def _aim(way: Way, room: Room) -> None:
    """Take the product at a itself, for MINRES at √Λ times it."""
    if way.kind == MINRES:
        each(room.slope, room.y, room.z)
    else:
        room.z[:] = room.y


@kernel
def _width(problem: Problem, tile: int) -> int:
    """Return the lanes of a tile: whole cache lines."""
    line = LINE // problem.right.itemsize
    return int(-(-(problem.tiles[tile, 2] - problem.tiles[tile, 1]) // line) * line)


# --- the product -----------------------------------------------------------------------------------------------------


@inner_kernel
def _pull(tables: Tables, weights: Any, room: Room, lanes: int) -> None:
    """Write Jᵀz to `room.k`; what stands between its two factors is left in `room.g`: Wᵀz, or Λz for system (5)."""
    source, target = room.z, room.g
    if tables.system == OUTSIDE:
        room.g[:] = 0
        add_weights(tables.mirror, weights, room.z, room.middle, room.g, lanes)
        source, target = room.g, room.k
    for layer in range(tables.layers.shape[0]):
        first, last = tables.layers[layer, 0] * lanes, tables.layers[layer, 1] * lanes
        code, a, eps = tables.layers[layer, 2], tables.parameters[layer, 0], tables.parameters[layer, 1]
        x, product = source[first:last], target[first:last]
        if not apply_blockwise(code, a, eps, room.x[first:last], x, product, lanes):
            each(room.slope[first:last], x, product)
    if tables.system != OUTSIDE:
        room.k[:] = 0
        add_weights(tables.mirror, weights, room.g, room.middle, room.k, lanes)


@kernel
def _make_residual(right: Any, a: Any, k: Any) -> None:
    """Turn Jᵀa into e + Jᵀa − a."""
    wide_vectors()
    for e in range(k.size):
        k[e] += right[e] - a[e]


# --- the end of a row ------------------------------------------------------------------------------------------------


@kernel
def _largest(x: Any, out: Any, lanes: int) -> None:
    """Write max|x| of every lane; NaN where one is NaN."""
    wide_vectors()
    out[:] = 0
    for row in range(0, x.size, lanes):
        values = x[row : row + lanes]
        for lane in range(lanes):
            size, most = abs(values[lane]), out[lane]
            out[lane] = most if (size <= most or most != most) else size


@kernel
def _weigh(room: Room) -> None:
    """Write the sizes max(max|e|, max|a|) and the residuals."""
    lanes = room.sizes.size
    _largest(room.right, room.sizes, lanes)
    _largest(room.y, room.left, lanes)
    for lane in range(lanes):
        room.sizes[lane] = room.sizes[lane] if room.sizes[lane] > room.left[lane] else room.left[lane]
    _largest(room.k, room.left, lanes)


@kernel
def _store(x: Any, lane: int, lanes: int, out: Any) -> None:
    for i in range(out.size):
        out[i] = x[i * lanes + lane]


@kernel
def _end(problem: Problem, tile: int, room: Room, lengths: Any, found: Adjoints) -> int:
    """Write the rows that are solved, lost or out of products; return how many are left.

    Since the last time a row took one product and as many as its length.
    """
    first, last, lanes, live = problem.tiles[tile, 1], problem.tiles[tile, 2], room.sizes.size, 0
    for lane in range(last - first):
        row, size, left = first + lane, room.sizes[lane], room.left[lane]
        room.goal[lane] = problem.tolerance * size
        if found.status[row] != _LIVE:
            continue
        found.products[row] += lengths[lane] + 1
        if left <= room.goal[lane]:
            found.status[row] = SOLVED
        elif not left < np.inf:
            found.status[row] = NOT_FINITE
        elif found.products[row] >= problem.most:
            found.status[row] = UNSOLVED
        else:
            live += 1
            continue
        found.residual[row] = left / size if size > 0 else left
        _store(room.y, lane, lanes, found.state[row])
        _store(room.g, lane, lanes, found.between[row])
    return live


# --- Runge and Kutta -------------------------------------------------------------------------------------------------


@kernel
def _ahead(y: Any, h: Any, share: Any, k: Any, out: Any) -> None:
    """Write y + share h k, with the step h of every lane."""
    wide_vectors()
    lanes = h.size
    for row in range(0, out.size, lanes):
        here, slope, after = y[row : row + lanes], k[row : row + lanes], out[row : row + lanes]
        for lane in range(lanes):
            after[lane] = here[lane] + (share * h[lane]) * slope[lane]


@kernel
def _next_stage(way: Way, room: Room, stage: int) -> int:
    """Take the residual `room.k` at a stage to the state of the next, which is returned; 0 after a whole step."""
    if stage == 0:
        room.total[:] = room.y
    _ahead(room.total, room.pace, way.weight[stage], room.k, room.total)
    if stage + 1 < way.weight.size:
        _ahead(room.y, room.pace, way.ahead[stage], room.k, room.z)
        return stage + 1
    room.y[:] = room.total
    room.z[:] = room.total
    return 0


# --- a tile ----------------------------------------------------------------------------------------------------------


@kernel
def _begin_space(problem: Problem, way: Way, tile: int, lengths: Any, found: Adjoints) -> None:
    """Give every row that goes on the length of a space that grows, and the others length 0."""
    for lane in range(lengths.size):
        live = found.status[problem.tiles[tile, 1] + lane] == _LIVE
        lengths[lane] = way.dimensions if live else 0


@kernel
def _end_space(problem: Problem, way: Way, tile: int, lengths: Any) -> None:
    """Keep the dimensions of the first space of every row."""
    for lane in range(lengths.size):
        row = problem.tiles[tile, 1] + lane
        if way.columns[row] < 0:
            way.columns[row] = min(lengths[lane], way.hessenberg.shape[2])


@inner_kernel
def _solve_tile(
    tables: Tables, way: Way, problem: Problem, tile: int, floats: Any, lengths: Any, found: Adjoints, stop: Any
) -> None:
    """Solve the rows of a tile; a row is written when it is solved, and never looked at again."""
    first, last, lanes = problem.tiles[tile, 1], problem.tiles[tile, 2], _width(problem, tile)
    weights, whole = tables.weights[problem.tiles[tile, 0]], lengths[: last - first]
    hessenberg, columns = way.hessenberg[first:last], way.hessenberg.shape[2]
    whole[:] = 0
    room = _shape_room(tables, problem, way, tile, floats, found.state, lanes)
    part = 0  # 0: the product is that of a itself; otherwise of a stage, or of a dimension
    while not stopped(stop):
        _pull(tables, weights, room, lanes)
        if part == 0:
            _make_residual(room.right, room.y, room.k)
            _weigh(room)
            if _end(problem, tile, room, whole, found) == 0:
                break
        if way.kind == RUNGE_KUTTA:
            if part > 0:
                _make_residual(room.right, room.z, room.k)
            part = _next_stage(way, room, part)
            whole[:] = way.weight.size - 1
            continue
        if part == 0:
            _begin_space(problem, way, tile, whole, found)
            if way.kind == GMRES:
                gmres.begin(room)
            else:
                minres.begin(room)
            part = 1
            continue
        if way.kind == GMRES:
            growing = gmres.grow(room, way.rounding, hessenberg, columns, whole, part - 1)
        else:
            growing = minres.grow(room, way.rounding, way.dimensions, hessenberg, columns, whole, part - 1)
        part += 1
        if not growing:
            if way.kind == GMRES:
                gmres.combine(room, whole)
            _end_space(problem, way, tile, whole)
            columns = 0
            _aim(way, room)
            part = 0


@kernel
def work(
    worker: int, tables: Tables, way: Way, problem: Problem, found: Adjoints, floats: Any, lengths: Any, stop: Any
) -> None:
    """Solve a = Jᵀa + e for the tiles that one thread takes.

    Parameters
    ----------
    worker : int
    tables : Tables
    way : Way
    problem : Problem
    found : Adjoints
        Overwritten.
    floats : float array, shape (workers, room_size), for the widest tile
    lengths : int64 array, shape (workers, lanes), for the widest tile
        Overwritten, as is `floats`.
    stop : int64 array, shape (1,)
        What makes every worker return after a product (`lanes.stopped`).
    """
    stop = borrow(stop)
    tables, floats, lengths = borrow_tables(tables), borrow(floats)[worker], borrow(lengths)[worker]
    ahead, weight, steps = borrow(way.ahead), borrow(way.weight), borrow(way.steps)
    hessenberg, columns = borrow(way.hessenberg), borrow(way.columns)
    way = Way(way.kind, ahead, weight, steps, way.dimensions, way.rounding, hessenberg, columns)
    problem = Problem(
        borrow(problem.arguments),
        borrow(problem.slopes),
        borrow(problem.right),
        borrow(problem.tiles),
        borrow(problem.queue),
        problem.tolerance,
        problem.most,
    )
    found = Adjoints(
        borrow(found.state),
        borrow(found.between),
        borrow(found.residual),
        borrow(found.status),
        borrow(found.products),
    )
    tile = take(problem.queue, 0)
    while tile < problem.tiles.shape[0] and not stopped(stop):
        _solve_tile(tables, way, problem, tile, floats, lengths, found, stop)
        tile = take(problem.queue, 0)
