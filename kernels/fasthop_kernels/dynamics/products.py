"""W g for the structure of a memory: dense, blocks, low rank, diagonal. The cost follows what is stored."""

from __future__ import annotations

from typing import Any

from fasthop_kernels.machine.jit import kernel
from fasthop_kernels.machine.lanes import add_product, wide_vectors

#: Kinds of blocks. PLAIN stores rows × columns; TRANSPOSED stores columns × rows, so that two blocks can share one
#: storage; LOW_RANK stores A, rank × neurons, and is AᵀA or some rows or some columns of it, the others being all of
#: these neurons; DIAGONAL stores one number a row.
PLAIN, TRANSPOSED, LOW_RANK, DIAGONAL = range(4)


@kernel
def _add_diagonal(weights: Any, at: int, rows: int, g: Any, g_at: int, out: Any, out_at: int, lanes: int) -> None:
    wide_vectors()
    for i in range(rows):
        weight = weights[at + i]
        x, y = g[g_at + i * lanes : g_at + (i + 1) * lanes], out[out_at + i * lanes : out_at + (i + 1) * lanes]
        for lane in range(lanes):
            y[lane] += weight * x[lane]


@kernel
def add_weights(blocks: Any, weights: Any, g: Any, middle: Any, out: Any, lanes: int) -> None:
    """Add W g onto `out`, block after block; `g` and `out` are flat with `lanes` numbers a neuron.

    `middle` has room for the largest rank times `lanes` and is overwritten.
    """
    for block in range(blocks.shape[0]):
        row, column, rows, columns = blocks[block, 0], blocks[block, 1], blocks[block, 2], blocks[block, 3]
        at, kind, rank = blocks[block, 4], blocks[block, 5], blocks[block, 6]
        g_at, out_at = column * lanes, row * lanes
        if kind == PLAIN:
            add_product(weights, at, columns, 1, rows, columns, g, g_at, out, out_at, lanes)
        elif kind == TRANSPOSED:
            add_product(weights, at, 1, rows, rows, columns, g, g_at, out, out_at, lanes)
        elif kind == LOW_RANK:
            middle[: rank * lanes] = 0
            first, neurons = min(row, column), max(rows, columns)
            add_product(weights, at + column - first, neurons, 1, rank, columns, g, g_at, middle, 0, lanes)
            add_product(weights, at + row - first, 1, neurons, rows, rank, middle, 0, out, out_at, lanes)
        else:
            _add_diagonal(weights, at, rows, g, g_at, out, out_at, lanes)


@kernel
def largest_rank(blocks: Any) -> int:
    """Return the largest rank of any block; 0 without blocks of low rank."""
    rank = 0
    for block in range(blocks.shape[0]):
        rank = max(rank, blocks[block, 6])
    return rank
