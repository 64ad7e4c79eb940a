"""R(u) of Proposition 5.2, the orthogonal factor of F(u), applied to the residual: O(N³) a lane and stage.

F is decomposed by one-sided Jacobi rotations (Hestenes, J. SIAM 6:51, 1958), which need no memory, vectorise along
rows and find small singular values to high relative accuracy. With F = Σ σ u vᵀ the factor is O = Σ u vᵀ. Where σ = 0
the paper leaves O open: it may map the null space of F to that of Fᵀ by any rotation. Here O is the one nearest to I,
which is +1 on the null space of a symmetric F: other choices diverge or orbit for ever. The caller says which σ are 0
but for the rounding of F (`fasthop.model.matrices`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from fasthop_kernels.dynamics.activations import apply_slope, slope
from fasthop_kernels.dynamics.products import add_weights, largest_rank
from fasthop_kernels.dynamics.tables import Tables
from fasthop_kernels.dynamics.tiles import Tile, padded_rows
from fasthop_kernels.machine.bits import like
from fasthop_kernels.machine.jit import kernel
from fasthop_kernels.machine.lanes import LINE, add_product, stopped, wide_vectors

#: Sweeps after which the rotations stop; they converge quadratically, N = 200 takes about ten.
_MOST_SWEEPS = 40


@kernel
def _dots(x: Any, y: Any, sums: Any) -> Any:
    """Return x·x, y·y and x·y; in partial sums, so that the order of adding does not depend on the vectors' width."""
    wide_vectors()
    part = sums.size // 3
    xx, yy, xy = sums[:part], sums[part : 2 * part], sums[2 * part :]
    sums[:] = 0
    for e in range(0, x.size, part):
        left, right = x[e : e + part], y[e : e + part]
        for s in range(part):
            xx[s] += left[s] * left[s]
            yy[s] += right[s] * right[s]
            xy[s] += left[s] * right[s]
    for s in range(1, part):
        xx[0] += xx[s]
        yy[0] += yy[s]
        xy[0] += xy[s]
    return xx[0], yy[0], xy[0]


@kernel
def _rotate(x: Any, y: Any, cosine: Any, sine: Any) -> None:
    wide_vectors()
    for e in range(x.size):
        a, b = x[e], y[e]
        x[e] = cosine * a - sine * b
        y[e] = sine * a + cosine * b


@kernel
def _scale(x: Any, factor: Any) -> None:
    wide_vectors()
    for e in range(x.size):
        x[e] *= factor


@kernel
def _add_multiple(x: Any, factor: Any, out: Any) -> None:
    wide_vectors()
    for e in range(out.size):
        out[e] += factor * x[e]


@kernel
def _largest(x: Any) -> Any:
    """Return the largest absolute value."""
    largest = like(0.0, x[0])
    for e in range(x.size):
        largest = max(largest, abs(x[e]))
    return largest


@kernel
def _set_identity(rows: int, width: int, matrix: Any) -> None:
    matrix[: rows * width] = 0
    for i in range(rows):
        matrix[i * width + i] = 1


@kernel
def _orthogonalise_rows(rows: int, width: int, matrix: Any, rotation: Any, sums: Any, stop: Any) -> None:
    """Rotate the rows of `matrix` in pairs until they are orthogonal, and those of `rotation` with them."""
    small = rows * np.finfo(matrix.dtype).eps
    for _ in range(_MOST_SWEEPS):
        turned = False
        for p in range(rows - 1):
            if stopped(stop):
                return
            for q in range(p + 1, rows):
                x, y = matrix[p * width : (p + 1) * width], matrix[q * width : (q + 1) * width]
                xx, yy, xy = _dots(x, y, sums)
                if not abs(xy) > small * np.sqrt(xx) * np.sqrt(yy):
                    continue  # NaN stops here, too
                turned = True
                zeta = (yy - xx) / (2 * xy)
                tangent = 1 / (abs(zeta) + np.sqrt(1 + zeta * zeta))
                tangent = tangent if zeta >= 0 else -tangent
                cosine = 1 / np.sqrt(1 + tangent * tangent)
                _rotate(x, y, cosine, cosine * tangent)
                x, y = rotation[p * width : (p + 1) * width], rotation[q * width : (q + 1) * width]
                _rotate(x, y, cosine, cosine * tangent)
        if not turned:
            break


@kernel
def _divide_rows(rows: int, width: int, matrix: Any, null: Any, sums: Any) -> bool:
    """Divide every row by its length, and empty those no longer than `null`; say whether there were any."""
    found = False
    for i in range(rows):
        row = matrix[i * width : (i + 1) * width]
        square, _, _ = _dots(row, row, sums)
        length = np.sqrt(square)
        if length <= null:  # NaN is not
            found = True
            _scale(row, like(0.0, length))
        else:
            _scale(row, like(1.0, length) / length)
    return found


@kernel
def _project_left_rows(rows: int, width: int, matrix: Any, rotation: Any, known: Any, sums: Any) -> None:
    """Write to every empty row of `matrix` its u less the part that the other rows span; `known` is overwritten."""
    for e in range(rows * width):
        known[e] = matrix[e]
    for i in range(rows):
        row, left = matrix[i * width : (i + 1) * width], rotation[i * width : (i + 1) * width]
        square, _, _ = _dots(row, row, sums)
        if square == 0:
            _add_multiple(left, like(1.0, square), row)
            for j in range(rows):
                other = known[j * width : (j + 1) * width]
                _, _, share = _dots(other, left, sums)
                _add_multiple(other, -share, row)


@kernel
def _fill_rows(rows: int, width: int, matrix: Any, sums: Any) -> None:
    """Fill every empty row with a unit vector orthogonal to all others: of all that are possible, any."""
    for i in range(rows):
        row, j = matrix[i * width : (i + 1) * width], 0
        square, _, _ = _dots(row, row, sums)
        while square == 0 and j < rows:
            row[j] = 1
            for p in range(rows):
                if p != i:
                    other = matrix[p * width : (p + 1) * width]
                    _add_multiple(other, -other[j], row)
            square, _, _ = _dots(row, row, sums)
            # In what is left the unit vectors have lengths² of at least 1 together: one of them has its share.
            square = square if 2 * rows * square >= 1 else like(0.0, square)
            _scale(row, like(1.0, square) / np.sqrt(square) if square > 0 else square)
            j += 1


@kernel
def factorise(rows: int, width: int, null: Any, matrix: Any, rotation: Any, known: Any, sums: Any, stop: Any) -> None:
    """Replace F in `matrix` by V and `rotation` by U, so that O = Σ u vᵀ over their rows is its orthogonal factor.

    Rows are `width` apart; the first `rows` numbers of a row count and the rest of it is zero. Singular values up to
    `null` are taken as 0. `known` has the size of the matrices, `sums` three cache lines; both are overwritten. `stop`
    ends it early (`lanes.stopped`).
    """
    largest = _largest(matrix[: rows * width])
    if largest > 0:  # squares of the entries neither vanish nor overflow then
        for e in range(rows * width):
            matrix[e] /= largest
        null /= largest
    _set_identity(rows, width, rotation)
    _orthogonalise_rows(rows, width, matrix, rotation, sums, stop)
    if _divide_rows(rows, width, matrix, null, sums):
        # Uᵀ P with P the projector onto the null space: what turns it into V turns both into the factor nearest to I.
        _project_left_rows(rows, width, matrix, rotation, known, sums)
        _orthogonalise_rows(rows, width, matrix, rotation, sums, stop)
        _divide_rows(rows, width, matrix, rows * np.finfo(matrix.dtype).eps, sums)
        _fill_rows(rows, width, matrix, sums)


@kernel
def _turn(tables: Tables, weights: Any, parts: Any, tile: Tile, lanes: int) -> None:
    """Replace every lane of the residual `tile.k` by O times it."""
    n, line = tables.bias.shape[1], LINE // tile.k.itemsize
    width, rank = -(-n // line) * line, largest_rank(tables.blocks)
    size = padded_rows(n) * width
    argument, Lam = tile.square[:size], tile.square[size : 2 * size]
    matrix, rotation = tile.square[2 * size : 3 * size], tile.square[3 * size : 4 * size]
    at = 4 * size + rank * width
    middle, vector, turned = tile.square[4 * size : at], tile.square[at : at + width], tile.square[at + width :][:width]
    sums = tile.square[at + 2 * width : at + 2 * width + 3 * line]
    right, rest, floors = parts[: n * width], parts[n * width : 2 * n * width], parts[2 * n * width :]
    for lane in range(lanes):
        if stopped(tile.stop):
            return
        for i in range(n):
            argument[i * width : (i + 1) * width] = tile.x[i * lanes + lane]
            vector[i] = tile.k[i * lanes + lane]
        vector[n:] = 0
        turned[:] = 0
        # The columns of I are lanes that share one argument. Λ itself is formed, with the diagonal that keeps its
        # digits: in Λx a neuron of softmax that has nearly all loses them, and with them the null space of F.
        _set_identity(n, width, rotation)
        apply_slope(tables.layers, tables.parameters, argument, rotation, Lam, width)
        slope(tables.layers, tables.parameters, argument, matrix, width)
        steepest = np.finfo(vector.dtype).tiny  # what is smaller has lost digits
        for i in range(n):
            Lam[i * width + i] = matrix[i * width]
            steepest = max(steepest, abs(matrix[i * width]))
        product = rotation
        product[: n * width] = 0
        add_product(Lam, 0, width, 1, n, n, right, 0, product, 0, width)
        for e in range(n * width):
            matrix[e] = rest[e]
        add_weights(tables.mirror, weights, product, middle, matrix, width)
        factorise(n, width, steepest * floors[0] + floors[1], matrix, rotation, argument, sums, tile.stop)
        for i in range(n):
            row, left = matrix[i * width : (i + 1) * width], rotation[i * width : (i + 1) * width]
            _, _, share = _dots(row, vector, sums)
            _add_multiple(left, share, turned)
        for i in range(n):
            tile.k[i * lanes + lane] = turned[i]


def turn(orthogonal: Any, tables: Tables, weights: Any, parts: Any, tile: Tile, lanes: int) -> None:
    """Replace the residual `tile.k` by O(u) times it; only memories that have such a factor compile it.

    Parameters
    ----------
    orthogonal : None or anything else
        `tables.orthogonal`, whose type decides.
    tables, weights, tile, lanes
        As in `flows.velocity`, after `flows.residual`; for system INSIDE.
    parts : float array
        αW − γS and then βW + γS over a common number, each N rows of N numbers padded to whole lines: over it F is
        WᵀΛ(αW − γS) + βW + γS. After them the two numbers of `fasthop.model.matrices.factor_parts`: the singular values
        of F up to max Λ times the first plus the second are 0.
    """
    if orthogonal is not None:
        _turn(tables, weights, parts, tile, lanes)


@overload(turn, inline="always")
def _turn_overload(orthogonal, tables, weights, parts, tile, lanes):  # type: ignore[no-untyped-def]
    if isinstance(orthogonal, types.NoneType):
        return lambda orthogonal, tables, weights, parts, tile, lanes: None
    return lambda orthogonal, tables, weights, parts, tile, lanes: _turn(tables, weights, parts, tile, lanes)
