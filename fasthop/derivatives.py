"""The residual of a state and what differentiation makes of it: Λ, R, F, gradients and Hessians of the energies.

Source: arXiv 2410.13866, Proposition 5 with Wᵀ in place of the leading W, which non-symmetric weights need.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fasthop import checks
from fasthop.activations import as_activation
from fasthop.drives import polar_factor
from fasthop.family import Energy, as_energy
from fasthop.memory import Memory
from fasthop.runtime import on_threads, workers_for
from fasthop_kernels import energies as kernels
from fasthop_kernels.flows import AS_PRINTED, GRADIENT, HESSIAN, ORTHOGONAL
from fasthop_kernels.lanes import lane_line
from fasthop_kernels.tiles import workspace


def as_states(memory: Memory, states: Any) -> tuple[np.ndarray, bool]:
    """Return states of shape (B, N) or (K, B, N) in the memory's dtype, and whether one alone was given."""
    due: tuple[int | str, ...] = ("B", memory.neurons)
    if memory.count is not None:
        due = (memory.count, *due)
    array = np.asarray(states)
    alone = memory.count is None and array.ndim == 1
    return checks.real_array("states", array[None] if alone else array, memory.dtype, shape=due), alone


def owners(memory: Memory, array: np.ndarray) -> np.ndarray:
    """Return the index of the memory of each of the flattened states."""
    return np.repeat(np.arange(memory.count or 1), array.shape[-2])


def workers_for_states(flat: np.ndarray) -> int:
    """Return how many threads find a tile of their own in the flattened states."""
    return workers_for(-(-len(flat) // lane_line(flat.dtype)))


def residual(memory: Memory, states: Any) -> np.ndarray:
    """Return W g(y) − y + b; g(W u + b) − u for variable u, Wᵀ g(W v + b) − v for v: zero at steady states alone.

    Parameters
    ----------
    memory : Memory
    states : array_like, shape (B, N) or (N,); for K memories (K, B, N)

    Returns
    -------
    float array of the shape of `states`
    """
    array, alone = as_states(memory, states)
    found, _ = residuals_and_arguments(memory, array)
    return found[0] if alone else found


def residuals_and_arguments(memory: Memory, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the residual and the argument of g, of the shape of the states."""
    flat = array.reshape(-1, memory.neurons)
    out, arguments = np.empty_like(flat), np.empty_like(flat)
    tables, owner, workers = memory.tables, owners(memory, array), workers_for_states(flat)
    floats, _ = workspace(tables, workers)
    on_threads(workers, lambda worker: kernels.residuals(worker, tables, flat, owner, floats, out, arguments))
    return out.reshape(array.shape), arguments.reshape(array.shape)


def slopes(memory: Memory, arguments: np.ndarray) -> np.ndarray:
    """Return Λ at the arguments of g, float64 of shape (B, N, N): diagonal but for block-wise activations."""
    n = memory.neurons
    Lam, at = np.zeros((len(arguments), n, n)), 0
    for layer in memory.layers:
        kind, size = as_activation(layer.activation), layer.neurons
        part, span = arguments[:, at : at + size], np.arange(at, at + size)
        if kind.blockwise:
            columns = np.broadcast_to(np.eye(size, dtype=part.dtype), (len(part), size, size))
            block = kind.apply_slope(np.repeat(part[:, None], size, axis=1), columns)
            Lam[:, at : at + size, at : at + size] = block
        else:
            Lam[:, span, span] = kind.slope(part)
        at += size
    return Lam


def energy_gradient(memory: Memory, states: Any, kind: str | Energy) -> np.ndarray:
    """Return the gradient of an energy with respect to the state, F f of Proposition 5 for system (5).

    Parameters
    ----------
    memory : Memory
        One memory. For non-symmetric W the gradients of E3, (10) and the simplest model are exact; those of the others
        need symmetric W.
    states : array_like, shape (B, N)
    kind : str or Energy

    Returns
    -------
    float64 array, shape (B, N)
    """
    F, f = energy_factor(memory, states, as_energy(kind, memory.variable))
    return np.asarray(np.matmul(F, f[..., None])[..., 0])


def energy_hessian(memory: Memory, states: Any, kind: str | Energy) -> np.ndarray:
    """Return the Hessian F (I − Λ W) of an energy of system (5) at steady states; condition (8) is twice this, > 0.

    Parameters
    ----------
    memory : Memory
        One memory with variable u, or v, where the Hessian is I − WᵀΛW at any state.
    states : array_like, shape (B, N)
        Steady states; elsewhere the Hessian of system (5) has further terms.
    kind : str or Energy

    Returns
    -------
    float64 array, shape (B, N, N)
    """
    if memory.variable == "y":
        raise ValueError("memory must have variable = 'u' or 'v' for condition (8); got variable = 'y'.")
    F, _ = energy_factor(memory, states, as_energy(kind, memory.variable))
    W = memory.W.astype(np.float64)
    Lam = slopes(memory, residuals_and_arguments(memory, as_states(memory, states)[0])[1])
    left = W.T if memory.variable == "v" else np.eye(memory.neurons)
    return np.asarray(np.matmul(F, np.eye(memory.neurons) - left @ Lam @ W))


def energy_factor(memory: Memory, states: Any, form: Energy) -> tuple[np.ndarray, np.ndarray]:
    """Return F with grad E = F f, shape (B, N, N), and f = −residual.

    For variable y, (2) has F = Λ and (10) has F = (I − ΛWᵀ) S; the simplest model has F = I.
    """
    if memory.count is not None:
        raise ValueError(f"memory must be one memory; got {memory.count}.")
    found, arguments = residuals_and_arguments(memory, as_states(memory, states)[0])
    f, identity = -found.astype(np.float64), np.eye(memory.neurons)
    if memory.variable == "v":
        return np.broadcast_to(form.beta * identity, (len(f), *identity.shape)), f
    Lam, W, S = slopes(memory, arguments), memory.W.astype(np.float64), form.weighting(memory.neurons)
    if memory.variable == "y":
        return form.alpha * Lam + form.gamma * (S - Lam @ W.T @ S), f
    return W.T @ Lam @ (form.alpha * W - form.gamma * S) + form.beta * W + form.gamma * S, f


def drive_matrices(memory: Memory, states: Any) -> np.ndarray:
    """Return R at every state, shape (B, N, N)."""
    array, _ = as_states(memory, states)
    _, arguments = residuals_and_arguments(memory, array)
    Lam, W, n = slopes(memory, arguments), memory.W.astype(np.float64), memory.neurons
    drive = memory.drive
    if drive.matrix is not None:
        return np.broadcast_to(drive.matrix.to_dense(), Lam.shape)
    if drive.code == HESSIAN:
        return Lam
    if drive.code == GRADIENT:
        return np.asarray(np.eye(n) - (W.T @ Lam if memory.variable == "u" else Lam @ W.T))
    if drive.code == AS_PRINTED:
        return np.asarray(np.eye(n) - W @ Lam)
    if drive.code == ORTHOGONAL and drive.energy is not None:
        return polar_factor(energy_factor(memory, array, drive.energy)[0])
    return np.broadcast_to(np.eye(n), Lam.shape)
