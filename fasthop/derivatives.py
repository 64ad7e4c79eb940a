"""The residual of a state and what differentiation makes of it: Λ, R, F, gradients and Hessians of the energies.

Source: arXiv 2410.13866, Proposition 5 with Wᵀ in place of the leading W, which non-symmetric weights need.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fasthop.drives import polar_factor
from fasthop.family import Energy, as_energy
from fasthop.fields import arguments, as_states, curvature, residuals
from fasthop.memory import Memory
from fasthop_kernels.flows import AS_PRINTED, GRADIENT, HESSIAN, ORTHOGONAL


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
    found, _ = residuals(memory, array)
    return found[0] if alone else found


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
    Lam = curvature(memory, arguments(memory, as_states(memory, states)[0]))
    left = W.T if memory.variable == "v" else np.eye(memory.neurons)
    return np.asarray(np.matmul(F, np.eye(memory.neurons) - left @ Lam @ W))


def energy_factor(memory: Memory, states: Any, form: Energy) -> tuple[np.ndarray, np.ndarray]:
    """Return F with grad E = F f, shape (B, N, N), and f = −residual.

    For variable y, (2) has F = Λ and (10) has F = (I − ΛWᵀ) S; the simplest model has F = I.
    """
    if memory.count is not None:
        raise ValueError(f"memory must be one memory; got {memory.count}.")
    found, x = residuals(memory, as_states(memory, states)[0])
    f, identity = -found.astype(np.float64), np.eye(memory.neurons)
    if memory.variable == "v":
        return np.broadcast_to(form.beta * identity, (len(f), *identity.shape)), f
    Lam, W, S = curvature(memory, x), memory.W.astype(np.float64), form.weighting(memory.neurons)
    if memory.variable == "y":
        return form.alpha * Lam + form.gamma * (S - Lam @ W.T @ S), f
    return W.T @ Lam @ (form.alpha * W - form.gamma * S) + form.beta * W + form.gamma * S, f


def drive_matrices(memory: Memory, states: Any) -> np.ndarray:
    """Return R at every state of one memory, float64 of shape (B, N, N)."""
    array, _ = as_states(memory, states)
    drive, W, one = memory.drive, memory.W.astype(np.float64), np.eye(memory.neurons)
    if drive.code == ORTHOGONAL and drive.energy is not None:
        return polar_factor(energy_factor(memory, array, drive.energy)[0])
    shape = (len(array), *one.shape)
    if drive.code not in (GRADIENT, AS_PRINTED, HESSIAN):
        return np.broadcast_to(one if drive.matrix is None else drive.matrix.to_dense(), shape)
    Lam = curvature(memory, arguments(memory, array))
    if drive.code == HESSIAN:
        return Lam
    if drive.code == AS_PRINTED:
        return np.asarray(one - W @ Lam)
    return np.asarray(one - (W.T @ Lam if memory.variable == "u" else Lam @ W.T))
