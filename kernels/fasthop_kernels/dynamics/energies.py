"""Energies and residuals of states, in lanes."""

from __future__ import annotations

from typing import Any

from fasthop_kernels.dynamics.activations import lagrangian, legendre
from fasthop_kernels.dynamics.flows import AROUND, OUTSIDE, residual
from fasthop_kernels.dynamics.products import add_weights
from fasthop_kernels.dynamics.tables import Tables
from fasthop_kernels.dynamics.tiles import Tile, shape_tile
from fasthop_kernels.machine.jit import kernel
from fasthop_kernels.machine.lanes import LINE, MAX_LINES, stopped

#: Energies by code. With x the argument of g and r the residual: LEGENDRE, (2) and E1, Σφ(x) − b·g − ½ gᵀW g;
#: QUADRATIC, E2, ½ uᵀW u − L(x), and for AROUND its energy ½|u|² − L(x); SQUARE, E3 and (10) with S = I, ½|r|².
LEGENDRE, QUADRATIC, SQUARE = range(3)


@kernel
def _legendre(tables: Tables, memory: int, tile: Tile, lanes: int, total: Any) -> None:
    if tables.system == OUTSIDE:
        legendre(tables.layers, tables.parameters, tile.y, tile.z, lanes)
    else:
        legendre(tables.layers, tables.parameters, tile.x, tile.z, lanes)
    tile.k[:] = 0
    add_weights(tables.blocks, tables.weights[memory], tile.g, tile.middle, tile.k, lanes)
    for i in range(tables.bias.shape[1]):
        row, bias = i * lanes, tables.bias[memory, i]
        phi, product, g = tile.z[row : row + lanes], tile.k[row : row + lanes], tile.g[row : row + lanes]
        for lane in range(lanes):
            total[lane] += phi[lane] - (bias + product[lane] / 2) * g[lane]


@kernel
def _quadratic(tables: Tables, memory: int, tile: Tile, lanes: int, total: Any) -> None:
    lagrangian(tables.layers, tables.parameters, tile.x, tile.z, lanes)
    around = tables.system == AROUND
    for i in range(tables.bias.shape[1]):
        row, bias = i * lanes, tables.bias[memory, i]
        u, x, L = tile.y[row : row + lanes], tile.x[row : row + lanes], tile.z[row : row + lanes]
        for lane in range(lanes):
            total[lane] += u[lane] * (u[lane] if around else x[lane] - bias) / 2 - L[lane]


@kernel
def _square(tables: Tables, tile: Tile, lanes: int, total: Any) -> None:
    for i in range(tables.bias.shape[1]):
        r = tile.k[i * lanes : (i + 1) * lanes]
        for lane in range(lanes):
            total[lane] += r[lane] * r[lane] / 2


@kernel
def _tile_residual(tables: Tables, memory: int, tile: Tile, lanes: int) -> None:
    """Call `residual`, which is made part of its caller, once for all."""
    residual(tables, tables.weights[memory], tile, tile.y, lanes)


@kernel
def _tile_energy(tables: Tables, memory: int, tile: Tile, which: int, lanes: int, total: Any) -> None:
    _tile_residual(tables, memory, tile, lanes)
    total[:] = 0
    if which == LEGENDRE:
        _legendre(tables, memory, tile, lanes, total)
    elif which == QUADRATIC:
        _quadratic(tables, memory, tile, lanes, total)
    else:
        _square(tables, tile, lanes, total)


@kernel
def _load_tile(
    tables: Tables, states: Any, memories: Any, at: int, last: int, floats: Any, stop: Any
) -> tuple[Tile, int]:
    """Fill a tile with neighbouring states of one memory from `at` on, and say how many."""
    neurons, line = states.shape[1], LINE // states.itemsize
    count = 1
    while count < MAX_LINES * line and at + count < last and memories[at + count] == memories[at]:
        count += 1
    lanes = -(-count // line) * line
    floats[: neurons * lanes] = 0
    for lane in range(count):
        for i in range(neurons):
            floats[i * lanes + lane] = states[at + lane, i]
    return shape_tile(tables, memories[at], floats, lanes, stop), count


@kernel
def energies(
    worker: int, tables: Tables, states: Any, memories: Any, which: int, out: Any, floats: Any, stop: Any
) -> None:
    """Write an energy of every state in one worker's share.

    Parameters
    ----------
    worker : int
        Which row of the workspace is its own.
    tables : Tables
    states : float array, shape (B, N)
    memories : int64 array, shape (B,)
        The memory of each state, in ascending order.
    which : int
        LEGENDRE, QUADRATIC (not for OUTSIDE) or SQUARE.
    out : float array, shape (B,)
        Overwritten.
    floats : float array
        From `tiles.workspace`; overwritten. Its first axis is the number of workers.
    stop : int64 array, shape (1,)
        What makes every worker return after a tile (`lanes.stopped`).
    """
    workers, line = floats.shape[0], LINE // states.itemsize
    at, last = states.shape[0] * worker // workers, states.shape[0] * (worker + 1) // workers
    while at < last and not stopped(stop):
        tile, count = _load_tile(tables, states, memories, at, last, floats[worker], stop)
        memory, lanes = memories[at], -(-count // line) * line
        total = tile.total[:lanes]
        _tile_energy(tables, memory, tile, which, lanes, total)
        for lane in range(count):
            out[at + lane] = total[lane]
        at += count


@kernel
def residuals(
    worker: int, tables: Tables, states: Any, memories: Any, out: Any, arguments: Any, floats: Any, stop: Any
) -> None:
    """Write the residual of every state, and the argument of g there; parameters as in `energies`.

    Parameters
    ----------
    out, arguments : float array, shape (B, N)
        Overwritten.
    """
    workers, neurons, line = floats.shape[0], states.shape[1], LINE // states.itemsize
    at, last = states.shape[0] * worker // workers, states.shape[0] * (worker + 1) // workers
    while at < last and not stopped(stop):
        tile, count = _load_tile(tables, states, memories, at, last, floats[worker], stop)
        lanes = -(-count // line) * line
        _tile_residual(tables, memories[at], tile, lanes)
        for lane in range(count):
            for i in range(neurons):
                out[at + lane, i] = tile.k[i * lanes + lane]
                arguments[at + lane, i] = (
                    tile.y[i * lanes + lane] if tables.system == OUTSIDE else tile.x[i * lanes + lane]
                )
        at += count
