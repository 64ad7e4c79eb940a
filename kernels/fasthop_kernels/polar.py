"""R(u) of Proposition 5.2, the orthogonal factor of F(u), applied to the residual: O(N³) a lane and stage.

F is decomposed by one-sided Jacobi rotations (Hestenes, J. SIAM 6:51, 1958), which need no memory, vectorise along
rows and find small singular values to high relative accuracy. With F = Σ σ u vᵀ the factor is O = Σ u vᵀ. Where σ = 0
the paper leaves O open; here u stands in for v, which is +1 on the null space of a symmetric F: other choices diverge
or orbit for ever.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from fasthop_kernels.activations import apply_slope
from fasthop_kernels.jit import kernel
from fasthop_kernels.lanes import LINE, wide_vectors
from fasthop_kernels.products import add_weights, largest_rank
from fasthop_kernels.tables import Tables
from fasthop_kernels.tiles import Tile, padded_rows

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
def orthogonalise_rows(rows: int, width: int, matrix: Any, rotation: Any, sums: Any) -> None:
    """Rotate the rows of F in `matrix`, `width` apart, until they are orthogonal; `rotation` becomes J, J F = `matrix`.

    The first `rows` numbers of a row count and the rest of it is zero. `sums` has three cache lines.
    """
    rotation[: rows * width] = 0
    for i in range(rows):
        rotation[i * width + i] = 1
    small = np.finfo(matrix.dtype).eps
    for _ in range(_MOST_SWEEPS):
        turned = False
        for p in range(rows - 1):
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
def _add_rows(rows: int, width: int, matrix: Any, rotation: Any, vector: Any, sums: Any, out: Any) -> None:
    """Add O `vector` onto `out`, after `orthogonalise_rows`: the rows are σ v and those of J are u."""
    largest = vector[0] * 0
    for i in range(rows):
        row = matrix[i * width : (i + 1) * width]
        square, _, _ = _dots(row, row, sums)
        largest = square if square > largest else largest
    null = rows * np.finfo(matrix.dtype).eps * np.sqrt(largest)
    for i in range(rows):
        row, left = matrix[i * width : (i + 1) * width], rotation[i * width : (i + 1) * width]
        square, _, share = _dots(row, vector, sums)
        length = np.sqrt(square)
        if length <= null:
            _, _, share = _dots(left, vector, sums)
        else:
            share /= length
        for j in range(rows):
            out[j] += share * left[j]


@kernel
def _turn(tables: Tables, weights: Any, parts: Any, tile: Tile, lanes: int) -> None:
    """Replace every lane of the residual `tile.k` by O times it."""
    n, line = tables.bias.shape[1], LINE // tile.k.itemsize
    width, rank = -(-n // line) * line, largest_rank(tables.blocks)
    size = padded_rows(n) * width
    argument, product = tile.square[:size], tile.square[size : 2 * size]
    matrix, rotation = tile.square[2 * size : 3 * size], tile.square[3 * size : 4 * size]
    at = 4 * size + rank * width
    middle, vector, turned = tile.square[4 * size : at], tile.square[at : at + width], tile.square[at + width :][:width]
    sums = tile.square[at + 2 * width : at + 2 * width + 3 * line]
    right, rest = parts[: n * width], parts[n * width :]
    for lane in range(lanes):
        for i in range(n):
            argument[i * width : (i + 1) * width] = tile.x[i * lanes + lane]
            vector[i] = tile.k[i * lanes + lane]
        vector[n:] = 0
        turned[:] = 0
        # The columns of A are lanes that share one argument.
        apply_slope(tables.layers, tables.parameters, argument, right, product, width)
        for e in range(n * width):
            matrix[e] = rest[e]
        add_weights(tables.mirror, weights, product, middle, matrix, width)
        orthogonalise_rows(n, width, matrix, rotation, sums)
        _add_rows(n, width, matrix, rotation, vector, sums, turned)
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
        αW − γS and then βW + γS, each N rows of N numbers padded to whole lines: F = WᵀΛ(αW − γS) + βW + γS.
    """
    if orthogonal is not None:
        _turn(tables, weights, parts, tile, lanes)


@overload(turn, inline="always")
def _turn_overload(orthogonal, tables, weights, parts, tile, lanes):  # type: ignore[no-untyped-def]
    if isinstance(orthogonal, types.NoneType):
        return lambda orthogonal, tables, weights, parts, tile, lanes: None
    return lambda orthogonal, tables, weights, parts, tile, lanes: _turn(tables, weights, parts, tile, lanes)
