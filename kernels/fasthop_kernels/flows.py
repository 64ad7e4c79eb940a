"""Right-hand sides of the dynamical systems, on a tile of lanes."""

from __future__ import annotations

from typing import Any

from fasthop_kernels.activations import activate
from fasthop_kernels.jit import kernel
from fasthop_kernels.lanes import wide_vectors
from fasthop_kernels.products import add_weights
from fasthop_kernels.tables import Tables
from fasthop_kernels.tiles import Tile


@kernel
def _subtract(x: Any, y: Any, out: Any) -> None:
    wide_vectors()
    for e in range(out.size):
        out[e] = x[e] - y[e]


@kernel
def _multiply(x: Any, out: Any) -> None:
    wide_vectors()
    for e in range(out.size):
        out[e] *= x[e]


@kernel
def slope(tables: Tables, weights: Any, tile: Tile, state: Any, lanes: int) -> None:
    """Write h = W g(y) − y + b at `state`, system (1) of arXiv 2410.13866, to `tile.k`; g(y) is in `tile.g` afterwards.

    The product starts from b − y, so that the sum is the residual of the steady-state equation without a pass of its
    own.
    """
    activate(tables.layers, tables.parameters, state, tile.g, lanes)
    _subtract(tile.bias, state, tile.k)
    add_weights(tables.blocks, weights, tile.g, tile.middle, tile.k, lanes)


@kernel
def pace(tile: Tile) -> None:
    """Divide the slope by the time constants: τ ẏ = h."""
    if tile.rate.size > 0:
        _multiply(tile.rate, tile.k)
