"""Eigenvalues of many small Hessenberg matrices, side by side in lanes.

Francis's implicit double-shift QR algorithm: J. G. F. Francis, Comput. J. 4:332, 1962; the shifts of G. H. Golub and
C. F. Van Loan, Matrix Computations, section 7.5. Every lane has a window of its own, rows `low` to `high`, between
entries below the diagonal that vanish; a sweep goes over all windows together, and what is done outside a lane's window
changes none of its eigenvalues.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fasthop_kernels.machine.jit import kernel
from fasthop_kernels.machine.lanes import borrow, stopped, take, wide_vectors

#: Matrices side by side: 64 of 24 rows take 340 KiB.
LANES = 64

#: Sweeps for one eigenvalue after which a matrix is given up, and those after which the shift is another one.
MOST = 30
_ODD = 10


class Windows(NamedTuple):
    """What every lane has, shape (LANES,): its window, and how it is turned.

    The window is rows `low` to `high`; `high` is −1 when all eigenvalues are found. `sweeps` counts since the last
    eigenvalue. A sweep begins with the vector (first, second, third) at `low`. Reflectors are I − share v vᵀ with
    v = (1, middle, end); `total` is share vᵀx on the way.
    """

    low: Any
    high: Any
    sweeps: Any
    first: Any
    second: Any
    third: Any
    share: Any
    middle: Any
    end: Any
    total: Any


@kernel
def _deflate(H: Any, rows: int, lane: int, at: Windows, values: Any) -> None:
    """Take the eigenvalues off the end of a window that stand alone or in pairs; shrink the window to what is left."""
    width, lanes = rows + 2, at.low.size
    high = at.high[lane]
    while high >= 0:
        low = high
        while low > 0:
            here, above = H[(low * width + low) * lanes + lane], H[((low - 1) * width + low - 1) * lanes + lane]
            below = (low * width + low - 1) * lanes + lane
            if abs(H[below]) <= 2.2e-16 * (abs(here) + abs(above)) or abs(H[below]) < 1e-300:
                H[below] = 0
                break
            low -= 1
        corner = H[(high * width + high) * lanes + lane]
        if low == high:
            values[high, 0], values[high, 1] = corner, 0
            high -= 1
        elif low == high - 1:
            other = H[(low * width + low) * lanes + lane]
            both = H[(low * width + high) * lanes + lane] * H[(high * width + low) * lanes + lane]
            half = 0.5 * (other - corner)
            square = half * half + both
            root = np.sqrt(abs(square))
            if square >= 0:
                root = half + root if half >= 0 else half - root
                values[low, 0], values[high, 0] = corner + root, corner - both / root if root != 0 else corner
                values[low, 1], values[high, 1] = 0, 0
            else:
                values[low, 0], values[high, 0] = corner + half, corner + half
                values[low, 1], values[high, 1] = root, -root
            high -= 2
        else:
            at.low[lane] = low
            break
        at.sweeps[lane] = 0
    at.high[lane] = high


@kernel
def _shift(H: Any, rows: int, lane: int, at: Windows) -> None:
    """Leave the first column of (H − σ)(H − σ̄) of a window, with the eigenvalues σ, σ̄ of its last two rows."""
    width, lanes, low, high = rows + 2, at.low.size, at.low[lane], at.high[lane]
    last, before = (high * width + high) * lanes + lane, ((high - 1) * width + high - 1) * lanes + lane
    trace = H[last] + H[before]
    determinant = H[last] * H[before] - H[last - lanes] * H[before + lanes]
    if at.sweeps[lane] % _ODD == 0:  # shifts of nothing in particular, those of EISPACK's hqr, end a cycle
        size = abs(H[last - lanes]) + abs(H[before - lanes])
        trace = 2 * (H[last] + 0.75 * size)
        determinant = trace * trace / 4 + 0.4375 * size * size
    first = (low * width + low) * lanes + lane
    a, b = H[first], H[first + lanes]
    c, d = H[first + width * lanes], H[first + (width + 1) * lanes]
    at.first[lane] = a * (a - trace) + determinant + b * c
    at.second[lane] = c * (a + d - trace)
    at.third[lane] = c * H[first + (2 * width + 1) * lanes]


@kernel
def _reflect(at: Windows, k: int, x: Any, y: Any, z: Any) -> None:
    """Make the reflectors of rows k to k + 2; share 0 outside a lane's window.

    x, y and z are what these rows have in column k − 1, which is turned at once.
    """
    for lane in range(x.size):
        low, high = at.low[lane], at.high[lane]
        at.share[lane] = 0
        if k < low or k >= high:
            continue
        whole = k + 2 <= high
        if k == low:
            p, q, r = at.first[lane], at.second[lane], at.third[lane]
        else:
            p, q, r = x[lane], y[lane], z[lane]
        r = r if whole else 0.0
        size = np.sqrt(p * p + q * q + r * r)
        size = size if p >= 0 else -size
        if size == 0:
            continue
        at.share[lane], at.middle[lane], at.end[lane] = (p + size) / size, q / (p + size), r / (p + size)
        if k > low:
            x[lane], y[lane] = -size, 0
            z[lane] = 0.0 if whole else z[lane]


@kernel
def _apply(at: Windows, x: Any, y: Any, z: Any) -> None:
    """Reflect (x, y, z) of every lane; one array a loop, so that LLVM can tell that they do not overlap."""
    wide_vectors()
    share, middle, end, total = at.share, at.middle, at.end, at.total
    for lane in range(x.size):
        total[lane] = share[lane] * (x[lane] + middle[lane] * y[lane] + end[lane] * z[lane])
    for lane in range(x.size):
        x[lane] -= total[lane]
    for lane in range(x.size):
        y[lane] -= total[lane] * middle[lane]
    for lane in range(x.size):
        z[lane] -= total[lane] * end[lane]


@kernel
def _entry(H: Any, rows: int, row: int, column: int, lanes: int) -> Any:
    """Return an entry of every lane."""
    at = (row * (rows + 2) + column) * lanes
    return H[at : at + lanes]


@kernel
def _sweep(H: Any, rows: int, first: int, last: int, at: Windows) -> None:
    """Chase the bulges of all lanes from row `first` to row `last`."""
    lanes = at.low.size
    for k in range(first, last):
        before = max(k - 1, 0)  # no window goes on at row 0
        x, y = _entry(H, rows, k, before, lanes), _entry(H, rows, k + 1, before, lanes)
        _reflect(at, k, x, y, _entry(H, rows, k + 2, before, lanes))
        for j in range(k, last + 1):
            x, y = _entry(H, rows, k, j, lanes), _entry(H, rows, k + 1, j, lanes)
            _apply(at, x, y, _entry(H, rows, k + 2, j, lanes))
        for i in range(first, min(last, k + 3) + 1):
            x, y = _entry(H, rows, i, k, lanes), _entry(H, rows, i, k + 1, lanes)
            _apply(at, x, y, _entry(H, rows, i, k + 2, lanes))


@kernel
def _solve_tile(matrices: Any, H: Any, at: Windows, values: Any, stop: Any) -> None:
    """Find the eigenvalues of up to LANES matrices; NaN where they do not converge."""
    count, rows = matrices.shape[0], matrices.shape[1]
    width, lanes = rows + 2, at.low.size
    H[:] = 0
    at.low[:], at.high[:], at.sweeps[:] = 0, -1, 0
    for lane in range(count):
        at.high[lane] = rows - 1
        for i in range(rows):
            for j in range(max(0, i - 1), rows):
                H[(i * width + j) * lanes + lane] = matrices[lane, i, j]
    while not stopped(stop):
        first, last = rows, -1
        for lane in range(count):
            _deflate(H, rows, lane, at, values[lane])
            at.sweeps[lane] += 1
            if at.high[lane] >= 0 and at.sweeps[lane] > MOST:
                values[lane] = np.nan
                at.high[lane] = -1
            if at.high[lane] >= 0:
                _shift(H, rows, lane, at)
                first, last = min(first, at.low[lane]), max(last, at.high[lane])
        if last < 0:
            break
        _sweep(H, rows, first, last, at)


# --- eigenvectors ----------------------------------------------------------------------------------------------------


@kernel
def _factorise(matrix: Any, theta: complex, upper: Any, factor: Any, swapped: Any) -> None:
    """Eliminate below the diagonal of H − θ, with the larger of two rows as the pivot; no pivot is left at zero."""
    rows = matrix.shape[0]
    size = 0.0
    for i in range(rows):
        for j in range(max(0, i - 1), rows):
            upper[i, j] = matrix[i, j]
            size = max(size, abs(matrix[i, j]))
        upper[i, i] -= theta
    least = 2.2e-16 * size if size > 0 else 1.0
    for i in range(rows):
        if i + 1 < rows:
            swapped[i] = 1.0 if abs(upper[i + 1, i]) > abs(upper[i, i]) else 0.0
            if swapped[i] != 0:
                for j in range(i, rows):
                    upper[i, j], upper[i + 1, j] = upper[i + 1, j], upper[i, j]
        if abs(upper[i, i]) < least:
            upper[i, i] = least
        if i + 1 < rows:
            factor[i] = upper[i + 1, i] / upper[i, i]
            for j in range(i + 1, rows):
                upper[i + 1, j] -= factor[i] * upper[i, j]


@kernel
def _last_entry(upper: Any, factor: Any, swapped: Any, vector: Any) -> float:
    """Return |last entry| of the unit eigenvector that inverse iteration finds: half a step, then a whole one."""
    rows = vector.size
    vector[:] = 1
    for step in range(2):
        for i in range(rows - 1 if step else 0):
            if swapped[i] != 0:
                vector[i], vector[i + 1] = vector[i + 1], vector[i]
            vector[i + 1] -= factor[i] * vector[i]
        square = 0.0
        for i in range(rows - 1, -1, -1):
            total = vector[i]
            for j in range(i + 1, rows):
                total -= upper[i, j] * vector[j]
            vector[i] = total / upper[i, i]
            square += vector[i].real ** 2 + vector[i].imag ** 2
        for i in range(rows):
            vector[i] /= np.sqrt(square)
    return float(abs(vector[rows - 1]))


# --- entry points ----------------------------------------------------------------------------------------------------


@kernel
def room_size(rows: int) -> int:
    """Return how many floats a lane of a tile takes; it takes 3 whole numbers, too."""
    return (rows + 2) ** 2 + 7


@kernel
def eigenvalues(matrices: Any, queue: Any, worker: int, floats: Any, whole: Any, values: Any, stop: Any) -> None:
    """Find the eigenvalues of real Hessenberg matrices, in tiles that threads take from a queue.

    Parameters
    ----------
    matrices : float64 array, shape (B, m, m)
    queue : int64 array, shape (1,)
        Zero on entry.
    worker : int
    floats : float64 array, shape (workers, room_size, lanes)
        Overwritten, as is `whole`.
    whole : int64 array, shape (workers, 3, lanes)
    values : float64 array, shape (B, m, 2)
        Overwritten: real and imaginary parts, NaN for a matrix that does not converge.
    stop : int64 array, shape (1,)
        What makes every worker return after a sweep (`lanes.stopped`).
    """
    matrices, queue, values, stop = borrow(matrices), borrow(queue), borrow(values), borrow(stop)
    part, flags, rows = borrow(floats)[worker], borrow(whole)[worker], matrices.shape[1]
    lanes, size = part.shape[1], (rows + 2) ** 2
    H = part[:size].reshape(-1)
    at = Windows(
        flags[0],
        flags[1],
        flags[2],
        part[size],
        part[size + 1],
        part[size + 2],
        part[size + 3],
        part[size + 4],
        part[size + 5],
        part[size + 6],
    )
    first = take(queue, 0) * lanes
    while first < matrices.shape[0] and not stopped(stop):
        _solve_tile(matrices[first : first + lanes], H, at, values[first : first + lanes], stop)
        first = take(queue, 0) * lanes


@kernel
def last_entries(matrices: Any, values: Any, worker: int, workers: int, room: Any, last: Any, stop: Any) -> None:
    """Find |last entry| of the unit eigenvector of each matrix for one of its eigenvalues, by inverse iteration.

    Parameters
    ----------
    matrices : float64 array, shape (B, m, m)
        Of Hessenberg form.
    values : complex128 array, shape (B,)
    worker, workers : int
        This thread's number, and how many share the matrices.
    room : complex128 array, shape (workers, m + 3, m)
        Overwritten.
    last : float64 array, shape (B,)
        Overwritten.
    stop : int64 array, shape (1,)
        What makes every worker return after a matrix (`lanes.stopped`).
    """
    matrices, values, last, part = borrow(matrices), borrow(values), borrow(last), borrow(room)[worker]
    stop = borrow(stop)
    rows = matrices.shape[1]
    upper, vector, factor, swapped = part[:rows], part[rows], part[rows + 1], part[rows + 2]
    for row in range(worker, matrices.shape[0], workers):
        if stopped(stop):
            return
        _factorise(matrices[row], values[row], upper, factor, swapped)
        last[row] = _last_entry(upper, factor, swapped, vector)
