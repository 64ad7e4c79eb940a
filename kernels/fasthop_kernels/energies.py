"""Energies of states, in lanes."""

from __future__ import annotations

from typing import Any

from numba import prange

from fasthop_kernels.activations import activate, transform
from fasthop_kernels.jit import kernel, parallel_kernel
from fasthop_kernels.lanes import LINE
from fasthop_kernels.products import add_weights
from fasthop_kernels.tables import Tables


@kernel
def _tile_energy(
    tables: Tables, memory: int, state: Any, g: Any, product: Any, phi: Any, lanes: int, total: Any
) -> None:
    bias = tables.bias[memory]
    activate(tables.layers, tables.parameters, state, g, lanes)
    transform(tables.layers, tables.parameters, state, phi, lanes)
    product[:] = 0
    add_weights(tables.blocks, tables.weights[memory], g, product, lanes)
    total[:] = 0
    for i in range(bias.size):
        for lane in range(lanes):
            e = i * lanes + lane
            total[lane] += phi[e] - (bias[i] + product[e] / 2) * g[e]


@parallel_kernel
def legendre_energy(tables: Tables, states: Any, memories: Any, floats: Any, out: Any) -> None:
    """Write E = Σφ(y_i) − b·g − ½ gᵀW g, energy (2) of arXiv 2410.13866 with y·g − L in its closed form φ.

    Parameters
    ----------
    tables : Tables
    states : float array, shape (B, N)
    memories : int64 array, shape (B,)
        The memory of each state, in ascending order.
    floats : float array, shape (workers, at least (4 N + 1) lanes)
        Overwritten; `lanes` is one cache line.
    out : float array, shape (B,)
        Overwritten.
    """
    workers, neurons, lanes = floats.shape[0], states.shape[1], LINE // states.itemsize
    size = neurons * lanes
    for worker in prange(workers):
        space = floats[worker]
        state, g = space[:size], space[size : 2 * size]
        product, phi = space[2 * size : 3 * size], space[3 * size : 4 * size]
        total = space[4 * size : 4 * size + lanes]
        at = states.shape[0] * worker // workers
        last = states.shape[0] * (worker + 1) // workers
        while at < last:
            # A tile holds neighbouring states of one memory.
            count = 1
            while count < lanes and at + count < last and memories[at + count] == memories[at]:
                count += 1
            state[:] = 0
            for lane in range(count):
                for i in range(neurons):
                    state[i * lanes + lane] = states[at + lane, i]
            _tile_energy(tables, memories[at], state, g, product, phi, lanes, total)
            for lane in range(count):
                out[at + lane] = total[lane]
            at += count
