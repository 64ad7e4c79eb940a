"""GMRES in lanes: Y. Saad and M. H. Schultz, SIAM J. Sci. Stat. Comput. 7:856, 1986.

The steps of the method around a product that the caller makes. A lane's length, the dimension of its Krylov space, is
`dimensions` while it grows; what other lanes still need is not seen in its bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fasthop_kernels.linear.krylov import add, fold, inner, inverse, length, times
from fasthop_kernels.machine.bits import like
from fasthop_kernels.machine.jit import kernel
from fasthop_kernels.machine.lanes import ROWS, wide_vectors

#: Basis vectors that are projected out together: the image is then read from the caches once for all of them.
TOGETHER = 4


@kernel
def begin(room: Any) -> None:
    """Start a space from the residual in `room.k`: its first unit vector, in `room.z` too, and its length."""
    lanes = room.sizes.size
    panel, start = room.panel[: ROWS * lanes], room.rotated[:lanes]
    length(room.k, panel, start)
    inverse(start, panel)
    times(panel, room.k, room.z)
    room.basis[: room.y.size] = room.z


@kernel
def _image(z: Any, k: Any) -> None:
    """Turn Jᵀz into (I − Jᵀ) z."""
    wide_vectors()
    for e in range(k.size):
        k[e] = z[e] - k[e]


@kernel
def _project(x: Any, image: Any, panel: Any, total: Any) -> None:
    """Take away from `image` its share of the unit vector `x`, and add it to `total`."""
    lanes = total.size
    share = panel[ROWS * lanes : (ROWS + 1) * lanes]
    inner(x, image, panel[: ROWS * lanes], share)
    for lane in range(lanes):
        total[lane] += share[lane]
        for row in range(ROWS):
            panel[row * lanes + lane] = -share[lane]
    add(panel[: ROWS * lanes], x, image)


@kernel
def _project_together(basis: Any, image: Any, panel: Any, total: Any) -> None:
    """Take away from `image` its shares of TOGETHER unit vectors that follow each other, and add them to `total`."""
    wide_vectors()
    size, lanes = image.size, total.size // TOGETHER
    width = ROWS * lanes
    panel[:] = 0
    a, b, c, d = panel[:width], panel[width : 2 * width], panel[2 * width : 3 * width], panel[3 * width : 4 * width]
    for at in range(0, size, width):
        p, q = basis[at : at + width], basis[size + at : size + at + width]
        r, s = basis[2 * size + at : 2 * size + at + width], basis[3 * size + at : 3 * size + at + width]
        whole = image[at : at + width]
        for e in range(width):
            x = whole[e]
            a[e] += p[e] * x
            b[e] += q[e] * x
            c[e] += r[e] * x
            d[e] += s[e] * x
    for i in range(TOGETHER):
        own = panel[i * width : (i + 1) * width]
        fold(own, own[:lanes])
        for lane in range(lanes):
            total[i * lanes + lane] += own[lane]
        for row in range(1, ROWS):
            own[row * lanes : (row + 1) * lanes] = own[:lanes]
    for at in range(0, size, width):
        p, q = basis[at : at + width], basis[size + at : size + at + width]
        r, s = basis[2 * size + at : 2 * size + at + width], basis[3 * size + at : 3 * size + at + width]
        whole = image[at : at + width]
        for e in range(width):
            whole[e] -= a[e] * p[e] + b[e] * q[e] + c[e] * r[e] + d[e] * s[e]


@kernel
def _orthogonalise(room: Any, column: Any, count: int) -> None:
    """Take the first `count` basis vectors out of `room.k`, and add the shares to the column."""
    lanes, size, at = room.sizes.size, room.y.size, 0
    while at + TOGETHER <= count:
        part = column[at * lanes : (at + TOGETHER) * lanes]
        _project_together(room.basis[at * size : (at + TOGETHER) * size], room.k, room.panel, part)
        at += TOGETHER
    while at < count:
        _project(room.basis[at * size : (at + 1) * size], room.k, room.panel, column[at * lanes : (at + 1) * lanes])
        at += 1


@kernel
def _rotate(room: Any, column: Any, j: int) -> None:
    """Turn column j into one of the triangle by the rotations before it, and make the next one."""
    wide_vectors()
    lanes = room.sizes.size
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
        size = np.sqrt(p * p + q * q)
        whole = size > like(0.0, size)
        c[lane] = p / size if whole else like(1.0, size)
        s[lane] = q / size if whole else like(0.0, size)
        upper[lane] = size
        after[lane] = -s[lane] * here[lane]
        here[lane] = c[lane] * here[lane]


@kernel
def grow(room: Any, rounding: Any, hessenberg: Any, columns: int, lengths: Any, j: int) -> bool:
    """Add a dimension from Jᵀz in `room.k` (Arnoldi); return whether any lane needs another.

    A lane's length becomes the dimension at which its residual meets its goal or its space is whole. The first
    `columns` columns go to `hessenberg`.
    """
    lanes, size, image = room.sizes.size, room.y.size, room.k
    dimensions = room.cosine.size // lanes
    column = room.columns[j * (dimensions + 1) * lanes : (j + 1) * (dimensions + 1) * lanes]
    column[: (j + 2) * lanes] = 0
    panel = room.panel[: ROWS * lanes]
    _image(room.z, image)
    length(image, panel, room.left)
    # Once is enough for a solution; the eigenvalues of a space that is all but whole need an orthogonal basis.
    kept = j < columns
    for _ in range(2 if kept else 1):
        _orthogonalise(room, column, j + 1)
    rest = column[(j + 1) * lanes : (j + 2) * lanes]
    length(image, panel, rest)
    for lane in range(lanes):
        if not rest[lane] > rounding * room.left[lane]:  # the space is whole
            rest[lane] = 0
    inverse(rest, panel)
    times(panel, image, room.z)
    room.basis[(j + 1) * size : (j + 2) * size] = room.z
    if kept:
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
def combine(room: Any, lengths: Any) -> None:
    """Solve every lane's triangle and add the combination of the basis to a."""
    lanes, size = room.sizes.size, room.y.size
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
    panel = room.panel[: ROWS * lanes]
    for j in range(longest):
        for lane in range(lanes):
            own = lane < lengths.size and j < lengths[lane]
            share = room.rotated[j * lanes + lane] if own else like(0.0, room.rotated[j * lanes + lane])
            for row in range(ROWS):
                panel[row * lanes + lane] = share
        add(panel, room.basis[j * size : (j + 1) * size], room.y)
