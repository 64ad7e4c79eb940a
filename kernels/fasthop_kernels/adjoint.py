"""The adjoint equation a = Jᵀa + e at steady states, on tiles of lanes: Almeida and Pineda in batch.

J is the Jacobian of the map whose fixed point the state is: W Λ for systems (1) and (9), Λ W for system (5), with Λ at
the argument of g. Every lane is a state with a Λ and an e of its own; the weights are those of the forward run, read
the other way. A lane's bits do not depend on its neighbours or on the number of lanes.

Two ways to solve it share all that is expensive. A Runge–Kutta method follows da/dt = e + Jᵀa − a; Euler with h = 1 is
the backward iteration a ← Jᵀa + e. GMRES (Saad and Schultz, SIAM J. Sci. Stat. Comput. 7:856, 1986) builds the Krylov
space of I − Jᵀ. Both ask for one product with Jᵀ at a time, which is why a tile has one loop around one product: what
calls a product is compiled with it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fasthop_kernels.activations import LAYER_NORM, SOFTMAX
from fasthop_kernels.bits import like
from fasthop_kernels.blockwise import normal_apply, softmax_apply
from fasthop_kernels.flows import OUTSIDE
from fasthop_kernels.jit import inner_kernel, kernel
from fasthop_kernels.lanes import LINE, borrow, take, wide_vectors
from fasthop_kernels.products import add_weights, largest_rank
from fasthop_kernels.tables import Tables, borrow_tables
from fasthop_kernels.tiles import padded_rows

#: How a solve ends.
SOLVED, UNSOLVED, NOT_FINITE = range(3)

_LIVE = -1  # status of a row that goes on


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
    ahead, weight : float arrays, shape (s,)
        The method of Runge and Kutta where `dimensions` is 0, as in `steppers.Method`.
    steps : float array, shape (B,)
        Its step h for every row.
    dimensions : int
        Dimensions of the Krylov space after which GMRES restarts; 0: no GMRES.
    rounding : float
        A vector is in the space where this share of it, or less, is not.
    hessenberg : float array, shape (B, dimensions + 1, dimensions) or (0, 0, 0)
        Where it has rows, nothing is solved: it takes the matrices of I − Jᵀ in the Krylov space of e − a.
    """

    ahead: Any
    weight: Any
    steps: Any
    dimensions: Any
    rounding: Any
    hessenberg: Any


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
        Products with Jᵀ that the row needed; with `Way.hessenberg` the dimensions of its space.
    """

    state: Any
    between: Any
    residual: Any
    status: Any
    products: Any


class Room(NamedTuple):
    """Flat arrays with `lanes` numbers a neuron, or a few numbers a lane.

    The adjoint a; z, at which the product is taken; the product k; the sum of the stages; e; the argument of g; the
    diagonal of Λ; Wᵀz or Λz; the middle of a product of low rank. The basis, `dimensions` + 1 states in a row; the
    columns of the Hessenberg matrix, turned into a triangle as they come; its rotations; the rotated right-hand side.
    Then, a number a lane: the step, the size of the terms, the residual, and the residual at which GMRES may stop.
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
    pace: Any
    sizes: Any
    left: Any
    goal: Any


@kernel
def room_size(tables: Tables, dimensions: int, lanes: int) -> int:
    """Return how many numbers `Room` takes."""
    states, rank = 9 + dimensions, largest_rank(tables.blocks)
    small = dimensions * (dimensions + 1) + 3 * dimensions + 5
    return int((states * padded_rows(tables.bias.shape[1]) + rank + small) * lanes)


@kernel
def _shape_room(
    tables: Tables, problem: Problem, steps: Any, dimensions: int, tile: int, floats: Any, start: Any, lanes: int
) -> Room:
    """Lay out the buffers and load the rows of a tile. What is past the last neuron or row is zero."""
    neurons, first, last = tables.bias.shape[1], problem.tiles[tile, 1], problem.tiles[tile, 2]
    size = padded_rows(neurons) * lanes
    middle = 8 * size + largest_rank(tables.blocks) * lanes
    basis = middle + (dimensions + 1) * size
    columns = basis + dimensions * (dimensions + 1) * lanes
    cosine = columns + dimensions * lanes
    sine = cosine + dimensions * lanes
    rotated = sine + (dimensions + 1) * lanes
    floats[: rotated + 4 * lanes] = 0
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
        floats[rotated : rotated + lanes],
        floats[rotated + lanes : rotated + 2 * lanes],
        floats[rotated + 2 * lanes : rotated + 3 * lanes],
        floats[rotated + 3 * lanes : rotated + 4 * lanes],
    )
    for lane in range(last - first):
        row = first + lane
        room.pace[lane] = steps[row]
        for i in range(neurons):
            at = i * lanes + lane
            room.y[at] = start[row, i]
            room.z[at] = start[row, i]
            room.right[at] = problem.right[row, i]
            room.x[at] = problem.arguments[row, i]
            room.slope[at] = problem.slopes[row, i]
    return room


@kernel
def _width(problem: Problem, tile: int) -> int:
    """Return the lanes of a tile: whole cache lines."""
    line = LINE // problem.right.itemsize
    return int(-(-(problem.tiles[tile, 2] - problem.tiles[tile, 1]) // line) * line)


# --- the product -----------------------------------------------------------------------------------------------------


@kernel
def _times(x: Any, y: Any, out: Any) -> None:
    wide_vectors()
    for e in range(out.size):
        out[e] = x[e] * y[e]


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
        if code < SOFTMAX:
            _times(room.slope[first:last], source[first:last], target[first:last])
        elif code == SOFTMAX:
            softmax_apply(room.x[first:last], a, source[first:last], target[first:last], lanes)
        else:
            normal_apply(room.x[first:last], a, eps, code == LAYER_NORM, source[first:last], target[first:last], lanes)
    if tables.system != OUTSIDE:
        room.k[:] = 0
        add_weights(tables.mirror, weights, room.g, room.middle, room.k, lanes)


@kernel
def _make_residual(right: Any, z: Any, k: Any) -> None:
    """Turn Jᵀz into e + Jᵀz − z."""
    wide_vectors()
    for e in range(k.size):
        k[e] += right[e] - z[e]


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
def _end(problem: Problem, tile: int, room: Room, products: int, found: Adjoints) -> int:
    """Write the rows that are solved, lost or out of products; return how many are left."""
    first, last, lanes, live = problem.tiles[tile, 1], problem.tiles[tile, 2], room.sizes.size, 0
    for lane in range(last - first):
        row, size, left = first + lane, room.sizes[lane], room.left[lane]
        if found.status[row] != _LIVE:
            continue
        if left <= problem.tolerance * size:
            found.status[row] = SOLVED
        elif not left < np.inf:
            found.status[row] = NOT_FINITE
        elif products >= problem.most:
            found.status[row] = UNSOLVED
        else:
            live += 1
            continue
        found.products[row] = products
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


# --- GMRES -----------------------------------------------------------------------------------------------------------


@kernel
def _length(x: Any, out: Any) -> None:
    """Write the Euclidean length of every lane."""
    wide_vectors()
    lanes = out.size
    out[:] = 0
    for row in range(0, x.size, lanes):
        p = x[row : row + lanes]
        for lane in range(lanes):
            out[lane] += p[lane] * p[lane]
    for lane in range(lanes):
        out[lane] = np.sqrt(out[lane])


@kernel
def _image(z: Any, k: Any) -> None:
    """Turn Jᵀz into (I − Jᵀ) z."""
    wide_vectors()
    for e in range(k.size):
        k[e] = z[e] - k[e]


@kernel
def _project(x: Any, image: Any, total: Any, share: Any) -> None:
    """Take away from `image` its share of the unit vector `x`, and add it to `total`; `share` is overwritten."""
    wide_vectors()
    lanes = share.size
    share[:] = 0
    for row in range(0, x.size, lanes):
        p, q = x[row : row + lanes], image[row : row + lanes]
        for lane in range(lanes):
            share[lane] += p[lane] * q[lane]
    for lane in range(lanes):
        total[lane] += share[lane]
    for row in range(0, x.size, lanes):
        p, q = x[row : row + lanes], image[row : row + lanes]
        for lane in range(lanes):
            q[lane] -= share[lane] * p[lane]


@kernel
def _unit(x: Any, length: Any, least: Any, z: Any, out: Any) -> None:
    """Write x divided by its length, twice; zero where that is at most `least`: its length is then 0, too."""
    wide_vectors()
    lanes = length.size
    for lane in range(lanes):
        size = length[lane] if length[lane] > least[lane] else like(0.0, length[lane])
        length[lane] = size
        least[lane] = like(1.0, size) / size if size > like(0.0, size) else size
    for row in range(0, x.size, lanes):
        p, q, r = x[row : row + lanes], z[row : row + lanes], out[row : row + lanes]
        for lane in range(lanes):
            q[lane] = least[lane] * p[lane]
            r[lane] = q[lane]


@kernel
def _rotate(room: Room, column: Any, j: int) -> None:
    """Turn column j into one of the triangle by the rotations before it, and make the next one."""
    wide_vectors()
    lanes = room.pace.size
    for i in range(j):
        c, s = room.cosine[i * lanes : (i + 1) * lanes], room.sine[i * lanes : (i + 1) * lanes]
        upper, lower = column[i * lanes : (i + 1) * lanes], column[(i + 1) * lanes : (i + 2) * lanes]
        for lane in range(lanes):
            p, q = upper[lane], lower[lane]
            upper[lane] = c[lane] * p + s[lane] * q
            lower[lane] = c[lane] * q - s[lane] * p
    c, s = room.cosine[j * lanes : (j + 1) * lanes], room.sine[j * lanes : (j + 1) * lanes]
    upper, lower = column[j * lanes : (j + 1) * lanes], column[(j + 1) * lanes : (j + 2) * lanes]
    here, after = room.rotated[j * lanes : (j + 1) * lanes], room.rotated[(j + 1) * lanes : (j + 2) * lanes]
    for lane in range(lanes):
        p, q = upper[lane], lower[lane]
        length = np.sqrt(p * p + q * q)
        whole = length > like(0.0, length)
        c[lane] = p / length if whole else like(1.0, length)
        s[lane] = q / length if whole else like(0.0, length)
        upper[lane] = length
        after[lane] = -s[lane] * here[lane]
        here[lane] = c[lane] * here[lane]


@kernel
def _combine(room: Room, lengths: Any) -> None:
    """Solve every lane's triangle and add the combination of the basis to a."""
    wide_vectors()
    lanes, size = room.pace.size, room.y.size
    dimensions = room.cosine.size // lanes
    longest = 0
    for lane in range(lengths.size):
        longest = max(longest, lengths[lane])
        for i in range(lengths[lane] - 1, -1, -1):
            total = room.rotated[i * lanes + lane]
            for j in range(i + 1, lengths[lane]):
                total -= room.columns[(j * (dimensions + 1) + i) * lanes + lane] * room.rotated[j * lanes + lane]
            pivot = room.columns[(i * (dimensions + 1) + i) * lanes + lane]
            room.rotated[i * lanes + lane] = total / pivot if pivot != 0 else like(0.0, total)
        room.rotated[lengths[lane] * lanes + lane] = 0
    for j in range(longest):
        share = room.rotated[j * lanes : (j + 1) * lanes]
        for lane in range(lanes):
            if lane >= lengths.size or j >= lengths[lane]:
                share[lane] = 0
        for row in range(0, size, lanes):
            p, q = room.basis[j * size + row : j * size + row + lanes], room.y[row : row + lanes]
            for lane in range(lanes):
                q[lane] += share[lane] * p[lane]


@kernel
def _begin_space(problem: Problem, room: Room, status: Any, lengths: Any) -> None:
    """Start Krylov spaces from the residuals `room.k`; lanes that need none get length 0."""
    dimensions = room.cosine.size // room.pace.size
    for lane in range(lengths.size):
        lengths[lane] = dimensions if status[lane] == _LIVE else 0
        room.goal[lane] = problem.tolerance * room.sizes[lane]
    start = room.rotated[: room.pace.size]
    _length(room.k, start)
    room.left[:] = 0
    _unit(room.k, start, room.left, room.z, room.basis[: room.y.size])


@kernel
def _grow_space(way: Way, room: Room, hessenberg: Any, lengths: Any, j: int) -> bool:
    """Add a dimension from Jᵀz in `room.k` (Arnoldi, modified Gram–Schmidt); return whether any lane needs another.

    A lane's length becomes the dimension at which its residual meets its goal or its space is whole.
    """
    lanes, size, image = room.pace.size, room.y.size, room.k
    dimensions = way.dimensions
    column = room.columns[j * (dimensions + 1) * lanes : (j + 1) * (dimensions + 1) * lanes]
    column[: (j + 2) * lanes] = 0
    _image(room.z, image)
    _length(image, room.left)
    for lane in range(lanes):
        room.left[lane] *= way.rounding
    # Once is enough for a solution; the eigenvalues of a space that is all but whole need an orthogonal basis.
    for _ in range(2 if hessenberg.shape[0] > 0 else 1):
        for i in range(j + 1):
            _project(room.basis[i * size : (i + 1) * size], image, column[i * lanes : (i + 1) * lanes], room.sizes)
    rest = column[(j + 1) * lanes : (j + 2) * lanes]
    _length(image, rest)
    _unit(image, rest, room.left, room.z, room.basis[(j + 1) * size : (j + 2) * size])
    for row in range(hessenberg.shape[0]):
        for i in range(j + 2):
            hessenberg[row, i, j] = column[i * lanes + row]
    room.left[:] = rest
    _rotate(room, column, j)
    growing = False
    for lane in range(lengths.size):
        if lengths[lane] == dimensions:
            near = abs(room.rotated[(j + 1) * lanes + lane]) <= room.goal[lane]
            if near or room.left[lane] == 0:
                lengths[lane] = j + 1
            growing = growing or lengths[lane] == dimensions
    return growing and j + 1 < dimensions


@kernel
def _keep_dimensions(problem: Problem, tile: int, lengths: Any, found: Adjoints) -> None:
    for lane in range(lengths.size):
        found.products[problem.tiles[tile, 1] + lane] = lengths[lane]


# --- a tile ----------------------------------------------------------------------------------------------------------


@inner_kernel
def _solve_tile(
    tables: Tables, way: Way, problem: Problem, tile: int, floats: Any, lengths: Any, found: Adjoints
) -> None:
    """Solve the rows of a tile; a row is written when it is solved, and never looked at again."""
    first, last, lanes = problem.tiles[tile, 1], problem.tiles[tile, 2], _width(problem, tile)
    weights, whole = tables.weights[problem.tiles[tile, 0]], lengths[: last - first]
    room = _shape_room(tables, problem, way.steps, way.dimensions, tile, floats, found.state, lanes)
    products, part = 0, 0  # part 0: z is a itself; otherwise a stage, or a dimension
    while True:
        _pull(tables, weights, room, lanes)
        products += 1
        if part == 0 or way.dimensions == 0:
            _make_residual(room.right, room.z, room.k)
        if part == 0:
            _weigh(room)
            if _end(problem, tile, room, products, found) == 0:
                break
        if way.dimensions == 0:
            part = _next_stage(way, room, part)
        elif part == 0:
            _begin_space(problem, room, found.status[first:last], whole)
            part = 1
        elif _grow_space(way, room, way.hessenberg[first:last], whole, part - 1):
            part += 1
        elif way.hessenberg.shape[0] > 0:
            _keep_dimensions(problem, tile, whole, found)
            break
        else:
            _combine(room, whole)
            room.z[:] = room.y
            part = 0


@kernel
def work(worker: int, tables: Tables, way: Way, problem: Problem, floats: Any, lengths: Any, found: Adjoints) -> None:
    """Solve a = Jᵀa + e for the tiles that one thread takes, or find the Hessenberg matrices of I − Jᵀ.

    Parameters
    ----------
    worker : int
    tables : Tables
    way : Way
    problem : Problem
    floats : float array, shape (workers, room_size), for the widest tile
    lengths : int64 array, shape (workers, lanes), for the widest tile
        Overwritten, as is `floats`.
    found : Adjoints
        Overwritten.
    """
    tables, floats, lengths = borrow_tables(tables), borrow(floats)[worker], borrow(lengths)[worker]
    ahead, weight, steps = borrow(way.ahead), borrow(way.weight), borrow(way.steps)
    way = Way(ahead, weight, steps, way.dimensions, way.rounding, borrow(way.hessenberg))
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
    while tile < problem.tiles.shape[0]:
        _solve_tile(tables, way, problem, tile, floats, lengths, found)
        tile = take(problem.queue, 0)
