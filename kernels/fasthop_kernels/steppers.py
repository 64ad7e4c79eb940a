"""Explicit Runge–Kutta methods in which a stage uses only the slope before it: Euler and the classical RK4.

A method is data: `ahead[s]` takes stage s to the state of stage s + 1, `weight[s]` is its share of the step. The
update is y + h Σ weight_s k_s with k_0 = F(y), k_{s+1} = F(y + h ahead_s k_s). Reference: Hairer, Nørsett, Wanner,
Solving Ordinary Differential Equations I, section II.1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fasthop_kernels.bits import like
from fasthop_kernels.flows import residual, velocity
from fasthop_kernels.jit import inner_kernel, kernel
from fasthop_kernels.lanes import wide_vectors
from fasthop_kernels.tables import Tables
from fasthop_kernels.tiles import Tile


class Method(NamedTuple):
    """Coefficients of a method of s stages, each of shape (s,); the last entry of `ahead` is 0 and not used."""

    ahead: Any
    weight: Any


EULER = Method(np.array([0.0]), np.array([1.0]))
RK4 = Method(np.array([0.5, 0.5, 1.0, 0.0]), np.array([1 / 6, 1 / 3, 1 / 3, 1 / 6]))


def check_order(method: Method, order: int) -> None:
    """Raise ValueError unless the tableau meets every condition of the given order (up to four)."""
    c = np.concatenate([[0.0], method.ahead[:-1]])
    b, stages = method.weight, len(c)
    a = np.zeros((stages, stages))
    a[np.arange(1, stages), np.arange(stages - 1)] = method.ahead[:-1]
    conditions = [
        (1, b.sum(), 1),
        (2, b @ c, 1 / 2),
        (3, b @ c**2, 1 / 3),
        (3, b @ a @ c, 1 / 6),
        (4, b @ c**3, 1 / 4),
        (4, (b * c) @ a @ c, 1 / 8),
        (4, b @ a @ c**2, 1 / 12),
        (4, b @ a @ a @ c, 1 / 24),
    ]
    for of, value, due in conditions:
        if of <= order and abs(value - due) > 1e-15:
            raise ValueError(f"a condition of order {of} gives {value} instead of {due}")


check_order(EULER, 1)
check_order(RK4, 4)


@kernel
def _take_step(y: Any, h: Any, k: Any) -> None:
    wide_vectors()
    for e in range(y.size):
        y[e] += h * k[e]


@kernel
def _first_stage(y: Any, k: Any, z: Any, total: Any, ahead: Any, weight: Any) -> None:
    wide_vectors()
    for e in range(y.size):
        total[e] = weight * k[e]
        z[e] = y[e] + ahead * k[e]


@kernel
def _next_stage(y: Any, k: Any, z: Any, total: Any, ahead: Any, weight: Any) -> None:
    wide_vectors()
    for e in range(y.size):
        total[e] += weight * k[e]
        z[e] = y[e] + ahead * k[e]


@kernel
def _last_stage(y: Any, k: Any, total: Any, h: Any, weight: Any) -> None:
    wide_vectors()
    for e in range(y.size):
        y[e] += h * (total[e] + weight * k[e])


@inner_kernel
def step(method: Method, tables: Tables, weights: Any, drive_weights: Any, tile: Tile, h: Any, lanes: int) -> None:
    """Advance `tile.y` by h; `tile.k` holds ẏ on entry. The other arrays of the tile are overwritten."""
    last = method.weight.size - 1
    if last == 0:
        _take_step(tile.y, h * method.weight[0], tile.k)
        return
    _first_stage(tile.y, tile.k, tile.z, tile.total, h * method.ahead[0], method.weight[0])
    for stage in range(1, last + 1):
        residual(tables, weights, tile, tile.z, lanes)
        velocity(tables, weights, drive_weights, tile, tile.z, lanes)
        if stage < last:
            _next_stage(tile.y, tile.k, tile.z, tile.total, h * method.ahead[stage], method.weight[stage])
    _last_stage(tile.y, tile.k, tile.total, h, method.weight[last])


@kernel
def measure_step(method: Method, tile: Tile, h: Any, length: Any) -> None:
    """Reduce the step that `step` took last, |y − y before it|, over the neurons; `length` has ROWS sums a lane.

    It can be much longer than h |ẏ| where it began: a stage may have crossed a jump of ẏ.
    """
    wide_vectors()
    panel, last = length.size, method.weight.size - 1
    weight, before = h * method.weight[last], h if last > 0 else like(0.0, h)
    length[:] = 0
    for p in range(0, tile.k.size, panel):
        slopes, totals = tile.k[p : p + panel], tile.total[p : p + panel]
        for e in range(panel):
            size = abs(before * totals[e] + weight * slopes[e])
            length[e] = size if size > length[e] else length[e]
