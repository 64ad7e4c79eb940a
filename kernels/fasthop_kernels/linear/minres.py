"""MINRES in lanes: C. C. Paige and M. A. Saunders, SIAM J. Numer. Anal. 12:617, 1975.

For (I − S) z = f with S = √Λ W √Λ and symmetric W, whether definite or not: the steps of the method around a product
that the caller makes. It has the residuals of GMRES without a basis, and its tridiagonal matrix is that of Lanczos.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fasthop_kernels.linear.krylov import add, each, fold, inverse, length, spread, times
from fasthop_kernels.machine.bits import like
from fasthop_kernels.machine.jit import kernel
from fasthop_kernels.machine.lanes import ROWS, wide_vectors

#: Vectors that are kept, in `room.basis`: the last two of Lanczos's and the last two directions.
KEPT = 4


@kernel
def begin(room: Any) -> None:
    """Start from the residual in `room.k`: the first unit vector, √Λ times it in `room.z`, and no rotation yet."""
    lanes, size = room.sizes.size, room.y.size
    panel = room.panel[: ROWS * lanes]
    room.basis[: KEPT * size] = 0
    length(room.k, panel, room.rotated[:lanes])
    inverse(room.rotated[:lanes], panel)
    times(panel, room.k, room.basis[:size])
    each(room.slope, room.basis[:size], room.z)
    room.cosine[: 2 * lanes] = 1
    room.sine[: 2 * lanes] = 0
    room.left[:] = 0


@kernel
def _lanczos(here: Any, before: Any, share: Any, k: Any, panel: Any) -> None:
    """Turn S v into v − S v − share · (the vector before), and leave its product with v in the panel."""
    wide_vectors()
    width = panel.size
    panel[:] = 0
    for at in range(0, k.size, width):
        p, q, r = here[at : at + width], before[at : at + width], k[at : at + width]
        for e in range(width):
            r[e] = p[e] - r[e] - share[e] * q[e]
            panel[e] += p[e] * r[e]


@kernel
def _take_away(share: Any, here: Any, k: Any, panel: Any) -> None:
    """Take share · v away from `k`, and leave the square of what is left in the panel."""
    wide_vectors()
    width = panel.size
    panel[:] = 0
    for at in range(0, k.size, width):
        p, r = here[at : at + width], k[at : at + width]
        for e in range(width):
            r[e] -= share[e] * p[e]
            panel[e] += r[e] * r[e]


@kernel
def _turn(here: Any, last: Any, older: Any, shares: Any) -> None:
    """Write the next direction over the older one: (v − δ · last − ε · older) / γ, with δ, ε and 1/γ in `shares`."""
    wide_vectors()
    width = shares.size // 3
    delta, epsilon, scale = shares[:width], shares[width : 2 * width], shares[2 * width :]
    for at in range(0, here.size, width):
        p, q, r = here[at : at + width], last[at : at + width], older[at : at + width]
        for e in range(width):
            r[e] = (p[e] - delta[e] * q[e] - epsilon[e] * r[e]) * scale[e]


@kernel
def _rotate(room: Any, alpha: Any, rest: Any, step: Any) -> None:
    """Rotate column j of the tridiagonal matrix; spread δ, ε, 1/γ over panels and write the step along the direction.

    `room.left` has the entry above the diagonal, and gets the one below; `room.rotated` what is left of |f|.
    """
    lanes = room.sizes.size
    width = ROWS * lanes
    for lane in range(lanes):
        above, a, below = room.left[lane], alpha[lane], rest[lane]
        c, s = room.cosine[lane], room.sine[lane]
        inside = room.cosine[lanes + lane] * above
        delta, epsilon = c * inside + s * a, room.sine[lanes + lane] * above
        pivot = c * a - s * inside
        gamma = np.sqrt(pivot * pivot + below * below)
        whole = gamma > like(0.0, gamma)
        scale = like(1.0, gamma) / gamma if whole else like(0.0, gamma)
        room.cosine[lanes + lane], room.sine[lanes + lane] = c, s
        room.cosine[lane] = pivot * scale if whole else like(1.0, gamma)
        room.sine[lane] = below * scale
        step[lane] = room.cosine[lane] * room.rotated[lane]
        room.rotated[lane] *= -room.sine[lane]
        room.left[lane] = below
        for row in range(ROWS):
            room.panel[row * lanes + lane] = delta
            room.panel[width + row * lanes + lane] = epsilon
            room.panel[2 * width + row * lanes + lane] = scale


@kernel
def grow(room: Any, rounding: Any, most: int, tridiagonal: Any, columns: int, lengths: Any, j: int) -> bool:
    """Take a step from S v in `room.k`, z with it; return whether any lane needs another.

    A lane's length, `most` until then, becomes the number of steps after which its residual meets its goal or its space
    is whole; it moves no more. The first `columns` columns go to `tridiagonal`.
    """
    lanes, size, width = room.sizes.size, room.y.size, ROWS * room.sizes.size
    here = room.basis[(j % 2) * size : (j % 2 + 1) * size]
    other = room.basis[(1 - j % 2) * size : (2 - j % 2) * size]
    last = room.basis[(2 + j % 2) * size : (3 + j % 2) * size]
    older = room.basis[(3 - j % 2) * size : (4 - j % 2) * size]
    alpha, rest, step = room.columns[:lanes], room.columns[lanes : 2 * lanes], room.columns[2 * lanes : 3 * lanes]
    share, sums = room.panel[:width], room.panel[3 * width : 4 * width]

    spread(room.left, share)
    _lanczos(here, other, share, room.k, sums)
    fold(sums, alpha)
    spread(alpha, share)
    _take_away(share, here, room.k, sums)
    fold(sums, rest)
    for lane in range(lanes):
        rest[lane] = np.sqrt(rest[lane])
        if not rest[lane] > rounding * (abs(alpha[lane]) + room.left[lane]):  # the space is whole
            rest[lane] = 0
    if j < columns:
        for row in range(tridiagonal.shape[0]):
            tridiagonal[row, j, j], tridiagonal[row, j + 1, j] = alpha[row], rest[row]
            if j + 1 < columns:
                tridiagonal[row, j, j + 1] = rest[row]
    _rotate(room, alpha, rest, step)
    _turn(here, last, older, room.panel[: 3 * width])
    for lane in range(lanes):
        if lane >= lengths.size or lengths[lane] < most:
            step[lane] = 0
    spread(step, share)
    add(share, older, room.y)
    inverse(rest, share)
    times(share, room.k, other)
    each(room.slope, other, room.z)
    growing = False
    for lane in range(lengths.size):
        if lengths[lane] == most:
            if not abs(room.rotated[lane]) > room.goal[lane] or rest[lane] == 0:
                lengths[lane] = j + 1
            growing = growing or lengths[lane] == most
    return growing and j + 1 < most
