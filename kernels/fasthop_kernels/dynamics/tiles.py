"""A tile: the buffers in which one thread advances many trajectories side by side."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fasthop_kernels.dynamics.products import largest_rank
from fasthop_kernels.dynamics.tables import Tables
from fasthop_kernels.machine.jit import kernel
from fasthop_kernels.machine.lanes import LINE, MAX_LINES, ROWS, lane_line


class Tile(NamedTuple):
    """Flat arrays with `lanes` numbers a neuron.

    State, stage state, activation, slope, weighted sum of slopes; bias and rate spread over the lanes (`rate` empty
    where all time constants are 1); the argument of g, or room for a product (empty where a system needs neither); the
    narrow middle of a product of low rank; ROWS partial maxima a lane of |residual|, |y|, |ẏ| and the relative
    residual, and a mark of NaN; the square matrices of an orthogonal factor (`polar`); what stops the thread
    (`lanes.stopped`).
    """

    y: Any
    z: Any
    g: Any
    k: Any
    total: Any
    bias: Any
    rate: Any
    x: Any
    middle: Any
    residual: Any
    distance: Any
    speed: Any
    left: Any
    poison: Any
    square: Any
    stop: Any


@kernel
def padded_rows(neurons: int) -> int:
    """Return the rows of a tile: whole panels, so that elementwise loops have no remainder."""
    return -(-neurons // ROWS) * ROWS


@kernel
def _square_numbers(tables: Tables, line: int) -> int:
    """Return how many numbers `polar.turn` works with: four matrices, the middle of a product, vectors, sums."""
    if tables.orthogonal is None:
        return 0
    neurons = tables.bias.shape[1]
    width = -(-neurons // line) * line
    return int((4 * padded_rows(neurons) + largest_rank(tables.blocks) + 2) * width + 3 * line)


def workspace(tables: Tables, workers: int) -> tuple[Any, Any]:
    """Allocate buffers for tiles of any width: floats aligned to cache lines, and integers, one row per worker.

    The last three floats for every lane, and the three integers, are what a lane keeps from one step to the next.
    """
    dtype = np.dtype(tables.bias.dtype)
    most = MAX_LINES * lane_line(dtype)
    rank = max(largest_rank(tables.blocks), largest_rank(tables.drive_blocks))
    count = (8 * padded_rows(tables.bias.shape[1]) + rank + 5 * ROWS + 3) * most
    count += _square_numbers(tables, lane_line(dtype))
    raw = np.zeros(workers * count * dtype.itemsize + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    floats = raw[start : start + workers * count * dtype.itemsize].view(dtype).reshape(workers, count)
    return floats, np.zeros((workers, 3 * most), np.int64)


@kernel
def shape_tile(tables: Tables, memory: int, floats: Any, lanes: int, stop: Any) -> Tile:
    """Lay a tile of `lanes` out over the buffers, and spread the bias and the rate of a memory over it.

    The state is what lies in the buffers. The rows past the last neuron are zero and stay zero: no product writes them.
    """
    neurons = tables.bias.shape[1]
    size, panel = padded_rows(neurons) * lanes, ROWS * lanes
    paced = size if tables.rate.size > 0 else 0
    driven = size if tables.system != 0 or tables.drive != 0 else 0
    middle = max(largest_rank(tables.blocks), largest_rank(tables.drive_blocks)) * lanes
    at = 6 * size + paced + driven + middle
    tile = Tile(
        floats[:size],
        floats[size : 2 * size],
        floats[2 * size : 3 * size],
        floats[3 * size : 4 * size],
        floats[4 * size : 5 * size],
        floats[5 * size : 6 * size],
        floats[6 * size : 6 * size + paced],
        floats[6 * size + paced : 6 * size + paced + driven],
        floats[at - middle : at],
        floats[at : at + panel],
        floats[at + panel : at + 2 * panel],
        floats[at + 2 * panel : at + 3 * panel],
        floats[at + 3 * panel : at + 4 * panel],
        floats[at + 4 * panel : at + 5 * panel],
        floats[at + 5 * panel : at + 5 * panel + _square_numbers(tables, LINE // floats.itemsize)],
        stop,
    )
    for i in range(neurons):
        tile.bias[i * lanes : (i + 1) * lanes] = tables.bias[memory, i]
        if paced > 0:
            tile.rate[i * lanes : (i + 1) * lanes] = tables.rate[memory, i]
    # The argument too: a Λ that is not finite on the padding would leave NaN there.
    for padded in (tile.y, tile.z, tile.g, tile.k, tile.bias, tile.rate, tile.x):
        padded[neurons * lanes :] = 0
    return tile
