"""A memory as the kernels see it: tables and flat arrays, so that one binary per dtype serves every memory."""

from __future__ import annotations

from typing import Any, NamedTuple

from fasthop_kernels.machine.jit import kernel
from fasthop_kernels.machine.lanes import borrow


class Tables(NamedTuple):
    """K memories of one structure and N neurons, each with numbers of its own.

    Attributes
    ----------
    layers : int64 array, shape (n_layers, 3)
        First neuron, one past the last neuron, activation code (`activations`).
    parameters : float array, shape (n_layers, 2)
        The parameters of the layer's activation: gain, slope or power, and epsilon.
    blocks : int64 array, shape (n_blocks, 7)
        First row, first column, rows, columns, offset into a row of `weights`, kind (`products`), rank. A dense W is
        one block; blocks that overlap add up.
    weights : float array, shape (K, stored)
        The stored numbers of all blocks, row by row.
    bias : float array, shape (K, N)
    rate : float array, shape (K, N) or (K, 0)
        1/τ of every neuron; empty where all are 1.
    mirror : int64 array, shape (n_blocks, 7)
        The blocks of Wᵀ, over the same numbers.
    system : int
        What the residual is (`flows`).
    drive : int
        What R is in ẏ = R · residual (`flows`).
    drive_blocks, drive_weights : int64 array (n, 7), float array (K, S)
        R itself where it is a matrix, the parts of F where it is an orthogonal factor (`polar`); empty otherwise.
    orthogonal : None or bool
        None but where R is an orthogonal factor: a difference in type, so that other memories need not compile it.
    """

    layers: Any
    parameters: Any
    blocks: Any
    weights: Any
    bias: Any
    rate: Any
    mirror: Any
    system: Any
    drive: Any
    drive_blocks: Any
    drive_weights: Any
    orthogonal: Any


@kernel
def borrow_tables(tables: Tables) -> Tables:
    """Return the tables without reference counts (`lanes.borrow`)."""
    return Tables(
        borrow(tables.layers),
        borrow(tables.parameters),
        borrow(tables.blocks),
        borrow(tables.weights),
        borrow(tables.bias),
        borrow(tables.rate),
        borrow(tables.mirror),
        tables.system,
        tables.drive,
        borrow(tables.drive_blocks),
        borrow(tables.drive_weights),
        tables.orthogonal,
    )
