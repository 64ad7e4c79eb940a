"""W g for the block structure of a memory."""

from __future__ import annotations

from typing import Any

from fasthop_kernels.jit import kernel
from fasthop_kernels.lanes import add_product


@kernel
def add_weights(blocks: Any, weights: Any, g: Any, out: Any, lanes: int) -> None:
    """Add W g onto `out`, block after block; `g` and `out` are flat with `lanes` numbers a neuron."""
    for block in range(blocks.shape[0]):
        row, column, rows, columns = blocks[block, 0], blocks[block, 1], blocks[block, 2], blocks[block, 3]
        row_step, column_step = columns, 1
        if blocks[block, 5]:
            row_step, column_step = 1, rows
        add_product(  # type: ignore[no-untyped-call]
            weights,
            blocks[block, 4],
            row_step,
            column_step,
            rows,
            columns,
            g,
            column * lanes,
            out,
            row * lanes,
            lanes,
        )
