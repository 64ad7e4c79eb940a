"""The residual of a state and what differentiation makes of it: J, R, F, gradients and Hessians of the energies.

Source: arXiv 2410.13866, Proposition 5 with Wᵀ in place of the leading W, which non-symmetric weights need.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fasthop.dynamics.evaluate import arguments, as_states, curvature, residuals
from fasthop.model.energy_family import Energy
from fasthop.model.memory import Memory
from fasthop.model.scope import refuse

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
    F, f = energy_factor(memory, states, memory.system.residual.energy(kind))
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
    F, _ = energy_factor(memory, states, memory.system.residual.energy(kind))
    W = memory.W.astype(np.float64)
    Lam = curvature(memory, arguments(memory, as_states(memory, states)[0]))
    return np.asarray(np.matmul(F, np.eye(memory.neurons) - memory.system.residual.before(W) @ Lam @ W))


def energy_factor(memory: Memory, states: Any, form: Energy) -> tuple[np.ndarray, np.ndarray]:
    """Return F with grad E = F f, shape (B, N, N), and f = −residual.

    For variable y, (2) has F = Λ and (10) has F = (I − ΛWᵀ) S; the simplest model has F = I.
    """
    refuse(memory, "energy_gradient")
    found, x = residuals(memory, as_states(memory, states)[0])
    F = memory.system.residual.energy_factor(form, curvature(memory, x), memory.W.astype(np.float64))
    return F, -found.astype(np.float64)


# --- linearised at many states at once -------------------------------------------------------------------------------
#
# All of these take Λ at the states as its diagonal, shape (B, N), or whole, (B, N, N), and W, of one memory, of shape
# (N, N), or that of each state, (B, N, N), both in float64. `owners` says which of K memories is that of a state.


def jacobians(memory: Memory, Lam: np.ndarray, W: np.ndarray) -> np.ndarray:
    """Return J of the map whose fixed points are the steady states, W Λ, for variable u Λ W, for v WᵀΛ W, (B, N, N)."""
    return memory.system.residual.jacobian(Lam, W)


def flow_jacobians(memory: Memory, Lam: np.ndarray, W: np.ndarray, owners: np.ndarray | None = None) -> np.ndarray:
    """Return R (J − I), with 1/τ for R where there is τ, shape (B, N, N): what the flow is near its steady states."""
    inner = jacobians(memory, Lam, W) - np.eye(memory.neurons)
    if memory.tau is not None:
        return np.asarray(_rates(memory, owners)[..., None] * inner)
    return inner if memory.system.factor.is_identity else np.matmul(factors(memory, Lam, W, owners), inner)


def factors(memory: Memory, Lam: np.ndarray, W: np.ndarray, owners: np.ndarray | None = None) -> np.ndarray:
    """Return R at states, with 1/τ for it where there is τ, float64, shape (B, N, N)."""
    if memory.tau is not None:
        one = np.eye(memory.neurons)
        return np.broadcast_to(_rates(memory, owners)[..., None] * one, (len(Lam), *one.shape))
    return memory.system.factor.matrices(memory.system.residual, Lam, W, owners)


def batches(rows: np.ndarray, neurons: int) -> Iterator[np.ndarray]:
    """Yield the indices of states in parts whose matrices stay in the caches."""
    size = max(1, _BATCH // neurons**2)
    for at in range(0, len(rows), size):
        yield rows[at : at + size]


def _rates(memory: Memory, owners: np.ndarray | None) -> np.ndarray:
    rates = 1 / np.asarray(memory.tau)
    return rates if owners is None else rates[owners]
