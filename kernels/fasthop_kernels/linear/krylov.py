"""Vectors of many lanes at once: inner products, lengths and sums, for methods that build Krylov spaces.

A vector has `lanes` numbers a neuron, in whole panels of ROWS neurons. Loops run over panels, because a loop over the
few lanes of one row waits for its own sums; what a lane has, its coefficients and its sums, is therefore spread over a
panel.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fasthop_kernels.machine.bits import like
from fasthop_kernels.machine.jit import kernel
from fasthop_kernels.machine.lanes import ROWS, wide_vectors


@kernel
def spread(values: Any, panel: Any) -> None:
    """Write what every lane has to all rows of a panel."""
    lanes = values.size
    for row in range(ROWS):
        panel[row * lanes : (row + 1) * lanes] = values


@kernel
def fold(panel: Any, out: Any) -> None:
    """Write the sums of a panel's rows."""
    lanes = out.size
    for lane in range(lanes):
        total = panel[lane]
        for row in range(1, ROWS):
            total += panel[row * lanes + lane]
        out[lane] = total


@kernel
def inner(x: Any, y: Any, panel: Any, out: Any) -> None:
    """Write x · y of every lane."""
    wide_vectors()
    width = panel.size
    panel[:] = 0
    for at in range(0, x.size, width):
        p, q = x[at : at + width], y[at : at + width]
        for e in range(width):
            panel[e] += p[e] * q[e]
    fold(panel, out)


@kernel
def length(x: Any, panel: Any, out: Any) -> None:
    """Write the Euclidean length of every lane."""
    inner(x, x, panel, out)
    for lane in range(out.size):
        out[lane] = np.sqrt(out[lane])


@kernel
def inverse(x: Any, panel: Any) -> None:
    """Spread 1/x; 0 for 0."""
    for lane in range(x.size):
        panel[lane] = like(1.0, x[lane]) / x[lane] if x[lane] > like(0.0, x[lane]) else like(0.0, x[lane])
    for row in range(1, ROWS):
        panel[row * x.size : (row + 1) * x.size] = panel[: x.size]


@kernel
def times(share: Any, x: Any, out: Any) -> None:
    """Write share · x."""
    wide_vectors()
    width = share.size
    for at in range(0, x.size, width):
        p, q = x[at : at + width], out[at : at + width]
        for e in range(width):
            q[e] = share[e] * p[e]


@kernel
def add(share: Any, x: Any, out: Any) -> None:
    """Add share · x onto `out`."""
    wide_vectors()
    width = share.size
    for at in range(0, x.size, width):
        p, q = x[at : at + width], out[at : at + width]
        for e in range(width):
            q[e] += share[e] * p[e]


@kernel
def each(x: Any, y: Any, out: Any) -> None:
    """Write the product of x and y, number by number."""
    wide_vectors()
    for e in range(out.size):
        out[e] = x[e] * y[e]
