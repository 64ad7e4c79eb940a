"""Energies of states."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from fasthop import checks
from fasthop.memory import Memory
from fasthop.runtime import all_threads
from fasthop_kernels.energies import legendre_energy
from fasthop_kernels.tiles import workspace


def energy(memory: Memory, states: Any) -> np.ndarray:
    """Return energy (2) of arXiv 2410.13866, E = (y − b)·g − L − ½ gᵀW g; dimensionless.

    Computed as Σφ(y_i) − b·g − ½ gᵀW g with φ = y g − L in closed form: where neurons saturate, y·g and L are large
    and nearly equal, and their difference would lose all its digits.

    Parameters
    ----------
    memory : Memory
    states : array_like, shape (B, N) or (N,); for K memories (K, B, N)

    Returns
    -------
    float array, shape (B,), () or (K, B)

    Warns
    -----
    RuntimeWarning
        Where W is not symmetric: E may then rise along trajectories and is no Lyapunov function.
    """
    due: tuple[int | str, ...] = ("B", memory.neurons)
    if memory.count is not None:
        due = (memory.count, *due)
    array = np.asarray(states)
    alone = memory.count is None and array.ndim == 1
    array = checks.real_array("states", array[None] if alone else array, memory.dtype, shape=due)
    if not memory.symmetric:
        warnings.warn("W is not symmetric: energy (2) is not a Lyapunov function of this memory.", RuntimeWarning, 2)
    shape = array.shape[:-1]
    out = np.empty(shape, memory.dtype).reshape(-1)
    owners = np.repeat(np.arange(memory.count or 1), shape[-1])
    with all_threads() as workers:
        floats, _ = workspace(memory.tables, workers)
        legendre_energy(memory.tables, array.reshape(-1, memory.neurons), owners, floats, out)
    return out[0] if alone else out.reshape(shape)
