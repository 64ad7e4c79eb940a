"""Energies of states: (2), (3), (6) and (10) of arXiv 2410.13866, and that of the simplest model of section 4."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from fasthop.dynamics.evaluate import as_states, owners, residuals
from fasthop.energies.lyapunov import why_not_lyapunov
from fasthop.launch import launch, of_tiles, pieces_of
from fasthop.model.energy_family import Energy
from fasthop.model.memory import Memory
from fasthop_kernels.dynamics import energies as kernels


def natural_energy(memory: Memory) -> str:
    """Name the energy that was made for a memory: (2) for system (1), E3 for (5), (10) for (9), or "simplest"."""
    return memory.system.natural_energy


def energy(memory: Memory, states: Any, kind: str | Energy | None = None) -> np.ndarray:
    """Return an energy of every state; dimensionless.

    (2) and E1 are computed as Σφ(x_i) − b·g − ½ gᵀW g with φ = x g − L in closed form: where neurons saturate, x·g and
    L are large and nearly equal, and their difference would lose all its digits.

    Parameters
    ----------
    memory : Memory
    states : array_like, shape (B, N) or (N,); for K memories (K, B, N)
    kind : {"2", "3", "10"} for variable y, {"E1", "E2", "E3"} for u, {"simplest"} for v, or Energy, optional
        By default `natural_energy`. "10" and "E3" have S = I. (3) is written with the integral of g⁻¹ from 0 and equals
        (2) plus ΣL(g⁻¹(0)), which is 0 for all activations here; it exists where g is strictly monotone.

    Returns
    -------
    float array, shape (B,), () or (K, B)

    Raises
    ------
    TypeError, ValueError
        Where states do not fit, or the energy is not one of the memory's variable.

    Warns
    -----
    RuntimeWarning
        Where the energy is not known to decrease along trajectories of this memory, with the reason
        (`why_not_lyapunov`).
    """
    form = memory.system.residual.energy(natural_energy(memory) if kind is None else kind)
    array, alone = as_states(memory, states)
    offset = _integral_offset(memory) if kind == "3" else 0.0
    for reason in why_not_lyapunov(memory, form if kind is None else kind):
        warnings.warn(f"this energy need not decrease here: {reason}", RuntimeWarning, 2)
    flat = array.reshape(-1, memory.neurons)
    total = np.full(len(flat), offset, memory.dtype)
    for share, which in ((form.alpha, kernels.LEGENDRE), (form.beta, kernels.QUADRATIC)):
        if share:
            total += memory.dtype.type(share) * _kernel_energy(memory, array, which)
    if form.gamma and form.S is None:
        total += memory.dtype.type(form.gamma) * _kernel_energy(memory, array, kernels.SQUARE)
    elif form.gamma:
        f, _ = residuals(memory, array)
        f = f.reshape(flat.shape).astype(np.float64)
        square = ((f @ form.weighting(memory.neurons)) * f).sum(axis=1)
        total += memory.dtype.type(form.gamma / 2) * square.astype(memory.dtype)
    return total[0] if alone else total.reshape(array.shape[:-1])


def _kernel_energy(memory: Memory, array: np.ndarray, which: int) -> np.ndarray:
    flat = array.reshape(-1, memory.neurons)
    out = np.empty(len(flat), memory.dtype)
    every = flat, owners(memory, array.shape), which, out
    launch(kernels.energies, memory.tables, pieces_of(flat), *every, room=of_tiles)
    return out


def _integral_offset(memory: Memory) -> float:
    """Return ΣL(g⁻¹(0)), energy (3) less energy (2)."""
    total = 0.0
    for index, (span, kind) in enumerate(memory.spans):
        if not kind.strictly_monotone:
            raise ValueError(f"kind = '3' needs strictly monotone neurons; layers[{index}] is {kind.name}.")
        total += (span.stop - span.start) * float(kind.lagrangian(kind.inverse(np.zeros(1)))[0])
    return total
