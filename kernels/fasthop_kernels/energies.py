"""Energies of states, in lanes."""

from __future__ import annotations

from typing import Any

from numba import prange

from fasthop_kernels.activations import activate, transform
from fasthop_kernels.jit import kernel, parallel_kernel
from fasthop_kernels.lanes import LINE, MAX_LINES
from fasthop_kernels.products import add_weights
from fasthop_kernels.tables import Tables
from fasthop_kernels.tiles import Tile, shape_tile


@kernel
def _tile_energy(tables: Tables, memory: int, tile: Tile, lanes: int, total: Any) -> None:
    activate(tables.layers, tables.parameters, tile.y, tile.g, lanes)
    transform(tables.layers, tables.parameters, tile.y, tile.z, lanes)
    tile.k[:] = 0
    add_weights(tables.blocks, tables.weights[memory], tile.g, tile.middle, tile.k, lanes)
    total[:] = 0
    for i in range(tables.bias.shape[1]):
        row, bias = i * lanes, tables.bias[memory, i]
        phi, product, g = tile.z[row : row + lanes], tile.k[row : row + lanes], tile.g[row : row + lanes]
        for lane in range(lanes):
            total[lane] += phi[lane] - (bias + product[lane] / 2) * g[lane]


@parallel_kernel
def legendre_energy(tables: Tables, states: Any, memories: Any, floats: Any, out: Any) -> None:
    """Write E = Σφ(y_i) − b·g − ½ gᵀW g, energy (2) of arXiv 2410.13866 with y·g − L in its closed form φ.

    Parameters
    ----------
    tables : Tables
    states : float array, shape (B, N)
    memories : int64 array, shape (B,)
        The memory of each state, in ascending order.
    floats : float array
        From `tiles.workspace`; overwritten. Its first axis is the number of workers.
    out : float array, shape (B,)
        Overwritten.
    """
    workers, neurons, line = floats.shape[0], states.shape[1], LINE // states.itemsize
    for worker in prange(workers):
        at = states.shape[0] * worker // workers
        last = states.shape[0] * (worker + 1) // workers
        while at < last:
            # A tile holds neighbouring states of one memory.
            count = 1
            while count < MAX_LINES * line and at + count < last and memories[at + count] == memories[at]:
                count += 1
            lanes = -(-count // line) * line
            state = floats[worker, : neurons * lanes]
            state[:] = 0
            for lane in range(count):
                for i in range(neurons):
                    state[i * lanes + lane] = states[at + lane, i]
            tile = shape_tile(tables, memories[at], floats[worker], lanes)
            total = tile.total[:lanes]
            _tile_energy(tables, memories[at], tile, lanes, total)
            for lane in range(count):
                out[at + lane] = total[lane]
            at += count
