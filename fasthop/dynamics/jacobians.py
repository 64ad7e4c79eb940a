"""The residual of a state and what differentiation makes of it: J, R, F, gradients and Hessians of the energies.

Source: arXiv 2410.13866, Proposition 5 with Wᵀ in place of the leading W, which non-symmetric weights need.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fasthop.dynamics.evaluate import arguments, as_states, curvature, residuals
from fasthop.model.energy_family import Energy, as_energy
from fasthop.model.memory import Memory
from fasthop.model.scope import refuse
from fasthop.model.systems import factor_parts, polar_factor
from fasthop_kernels.dynamics.flows import AS_PRINTED, GRADIENT, HESSIAN, NONE, ORTHOGONAL

#: Numbers in the matrices of one batch, 8 MiB: what two threads hold in their caches is read once.
_BATCH = 2**20


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
    refuse(memory, "energy_hessian")
    F, _ = energy_factor(memory, states, as_energy(kind, memory.variable))
    W = memory.W.astype(np.float64)
    Lam = curvature(memory, arguments(memory, as_states(memory, states)[0]))
    left = W.T if memory.variable == "v" else np.eye(memory.neurons)
    return np.asarray(np.matmul(F, np.eye(memory.neurons) - left @ Lam @ W))


def energy_factor(memory: Memory, states: Any, form: Energy) -> tuple[np.ndarray, np.ndarray]:
    """Return F with grad E = F f, shape (B, N, N), and f = −residual.

    For variable y, (2) has F = Λ and (10) has F = (I − ΛWᵀ) S; the simplest model has F = I.
    """
    refuse(memory, "energy_gradient")
    found, x = residuals(memory, as_states(memory, states)[0])
    f, identity = -found.astype(np.float64), np.eye(memory.neurons)
    if memory.variable == "v":
        return np.broadcast_to(form.beta * identity, (len(f), *identity.shape)), f
    Lam, W = curvature(memory, x), memory.W.astype(np.float64)
    if memory.variable == "u":
        return _factor_of_five(form, Lam, W), f
    S = form.weighting(memory.neurons)
    return form.alpha * Lam + form.gamma * (S - Lam @ W.T @ S), f


# --- linearised at many states at once -------------------------------------------------------------------------------
#
# All of these take Λ at the states as its diagonal, shape (B, N), or whole, (B, N, N), and W, of one memory, of shape
# (N, N), or that of each state, (B, N, N), both in float64. `owners` says which of K memories is that of a state.


def jacobians(memory: Memory, Lam: np.ndarray, W: np.ndarray) -> np.ndarray:
    """Return J of the map whose fixed points are the steady states, W Λ, for variable u Λ W, for v WᵀΛ W, (B, N, N)."""
    if memory.variable == "v":
        return np.asarray(np.matmul(np.swapaxes(W, -1, -2), np.matmul(_whole(Lam), W)))
    inside = memory.variable == "u"
    if Lam.ndim == 2:
        return np.asarray(Lam[:, :, None] * W if inside else W * Lam[:, None, :])
    return np.asarray(np.matmul(Lam, W) if inside else np.matmul(W, Lam))


def flow_jacobians(memory: Memory, Lam: np.ndarray, W: np.ndarray, owners: np.ndarray | None = None) -> np.ndarray:
    """Return R (J − I), with 1/τ for R where there is τ, shape (B, N, N): what the flow is near its steady states."""
    inner = jacobians(memory, Lam, W) - np.eye(memory.neurons)
    if memory.tau is not None:
        return np.asarray((1 / _own(memory.tau, owners))[..., None] * inner)
    return inner if memory.drive.code == NONE else np.matmul(drive_matrices(memory, Lam, W, owners), inner)


def drive_matrices(memory: Memory, Lam: np.ndarray, W: np.ndarray, owners: np.ndarray | None = None) -> np.ndarray:
    """Return R at states, with 1/τ for it where there is τ, float64, shape (B, N, N)."""
    drive, one = memory.drive, np.eye(memory.neurons)
    if memory.tau is not None:
        return np.broadcast_to((1 / _own(memory.tau, owners))[..., None] * one, (len(Lam), *one.shape))
    if drive.code == ORTHOGONAL and drive.energy is not None:
        parts, floors = factor_parts(drive.energy, W, memory.dtype)
        whole = _whole(Lam)
        F = np.swapaxes(W, -1, -2) @ whole @ parts[..., 0, :, :] + parts[..., 1, :, :]
        steepest = np.abs(np.diagonal(whole, axis1=1, axis2=2)).max(axis=1, initial=np.finfo(memory.dtype).tiny)
        return polar_factor(F, steepest * floors[..., 0] + floors[..., 1])
    if drive.code == HESSIAN:
        return _whole(Lam)
    if drive.code in (GRADIENT, AS_PRINTED):
        R = one - jacobians(memory, Lam, W)
        return np.swapaxes(R, 1, 2) if drive.code == GRADIENT else R
    R = one if drive.matrix is None else _own(drive.matrix.to_dense(), owners)
    return np.broadcast_to(R, (len(Lam), *one.shape))


def batches(rows: np.ndarray, neurons: int) -> Iterator[np.ndarray]:
    """Yield the indices of states in parts whose matrices stay in the caches."""
    size = max(1, _BATCH // neurons**2)
    for at in range(0, len(rows), size):
        yield rows[at : at + size]


def _own(values: np.ndarray, owners: np.ndarray | None) -> np.ndarray:
    return values if owners is None else values[owners]


def _whole(Lam: np.ndarray) -> np.ndarray:
    return Lam if Lam.ndim == 3 else Lam[:, :, None] * np.eye(Lam.shape[1])


def _factor_of_five(form: Energy, Lam: np.ndarray, W: np.ndarray) -> np.ndarray:
    """Return F of system (5), Proposition 5."""
    S = form.weighting(W.shape[-1])
    turned = np.swapaxes(W, -1, -2)
    return np.asarray(turned @ Lam @ (form.alpha * W - form.gamma * S) + form.beta * W + form.gamma * S)
