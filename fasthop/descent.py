"""Whether an energy decreases along trajectories: condition (7) of arXiv 2410.13866, and what is enough for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from fasthop import checks
from fasthop.activations import as_activation
from fasthop.derivatives import drive_matrices, energy_factor
from fasthop.family import Energy, as_energy
from fasthop.fields import arguments, as_states, thin_curvature
from fasthop.memory import Memory
from fasthop.runtime import one_blas_thread
from fasthop_kernels.flows import AS_PRINTED, GRADIENT, HESSIAN, MATRIX, NONE, ORTHOGONAL


def lyapunov_condition(memory: Memory, states: Any, kind: str | Energy) -> np.ndarray:
    """Return the smallest eigenvalue of RᵀF + FᵀR at every state, condition (7): dE/dt = −½ fᵀ(RᵀF + FᵀR) f.

    The energy is a Lyapunov function where this is nowhere negative.

    Parameters
    ----------
    memory : Memory
        One memory.
    states : array_like, shape (B, N)
    kind : str or Energy

    Returns
    -------
    float64 array, shape (B,)
    """
    F, _ = energy_factor(memory, states, as_energy(kind, memory.variable))
    Lam = thin_curvature(memory, arguments(memory, as_states(memory, states)[0]))
    R = drive_matrices(memory, Lam, memory.W.astype(np.float64))
    return _smallest_symmetric(np.matmul(np.swapaxes(R, -1, -2), F))


def orientation_bound(R: Any, W: Any) -> float:
    """Return the sharp lower bound on the eigenvalues of RW + WR over all orientations of R relative to W.

    With r = (κ_R − 1)/(κ_R + 1) and s likewise for W, κ the condition number, it is
    ¼ (λ_min + λ_max)(R) (λ_min + λ_max)(W) (1 − r² − s²) where r + s ≥ 1, and 2 λ_min(R) λ_min(W) otherwise. Where it
    is not negative, E2 is a Lyapunov function of system (5) with this R however its eigenvectors lie: Example 5.3.

    Parameters
    ----------
    R, W : array_like, shape (N, N)
        Symmetric and positive definite.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        Where R or W is not symmetric and positive definite.
    """
    low_R, high_R = _definite_ends("R", R)
    low_W, high_W = _definite_ends("W", W)
    r, s = (high_R - low_R) / (high_R + low_R), (high_W - low_W) / (high_W + low_W)
    if r + s < 1:
        return 2 * low_R * low_W
    return (low_R + high_R) * (low_W + high_W) / 4 * (1 - r * r - s * s)


def numerical_abscissa(W: Any) -> float:
    """Return ω(W), the largest eigenvalue of (W + Wᵀ)/2.

    For R = Λ ≥ 0, E3 with S = I is a Lyapunov function where ω(W) max Λ ≤ 1; the spectrum of W alone does not decide.
    """
    matrix = checks.real_array("W", W, np.float64, shape=("N", "N"))
    with one_blas_thread():
        return float(np.linalg.eigvalsh((matrix + matrix.T) / 2)[-1])


def why_not_lyapunov(memory: Memory, kind: str | Energy) -> list[str]:
    """List why an energy is not known to decrease along the trajectories of a memory; empty where it is.

    Parameters
    ----------
    memory : Memory
    kind : str or Energy
    """
    form = as_energy(kind, memory.variable)
    if memory.variable == "v":
        return []  # minus the gradient of this energy, whatever W and g
    code, name = memory.drive.code, memory.drive.name
    kinds = [as_activation(layer.activation) for layer in memory.layers]
    if code == ORTHOGONAL:
        reasons = [] if memory.symmetric or not (form.alpha or form.beta) else ["W is not symmetric."]
        return reasons if form == memory.drive.energy else [*reasons, "R was made for another energy."]
    reasons = []
    if (form.alpha or form.beta) and not memory.symmetric:
        reasons.append("W is not symmetric.")
    if form.alpha:
        reasons += [f"{kind.name} is not monotone." for kind in kinds if not kind.monotone]
        if code != NONE:
            reasons.append(f"R = {name!r} turns the flow of the energy; only R = I is known to descend.")
    if form.beta and memory.symmetric and code not in (NONE, MATRIX):
        reasons.append(f"R = {name!r} is not known to descend on E2; 'weights' and 'polar' do.")
    elif form.beta and memory.symmetric and not _descends_on_e2(memory):
        reasons.append(f"R W + WᵀRᵀ has a negative eigenvalue for R = {name!r}.")
    if form.gamma and code == AS_PRINTED:
        reasons.append("R = I − W Λ is the printed form of system (9); its transpose, R = 'gradient', descends.")
    elif form.gamma and code == HESSIAN:
        if _abscissa(memory) * max(kind.max_slope for kind in kinds) > 1:
            reasons.append("ω(W) max Λ exceeds 1, which R = 'hessian' needs.")
    elif form.gamma and code != GRADIENT:
        reasons.append(f"R = {name!r} is not known to descend on E3; 'gradient' does.")
    if form.gamma and form.S is not None:
        reasons.append("S is not the identity, for which R was made.")
    if sum(bool(share) for share in (form.alpha, form.beta, form.gamma)) > 1:
        reasons.append("it is a combination; lyapunov_condition tells state by state.")
    return reasons


def _descends_on_e2(memory: Memory) -> bool:
    """Whether condition (7) holds for E2, whose F is W: one eigenvalue decides for all states, up to rounding."""
    W = memory.W.astype(np.float64).reshape(-1, memory.neurons, memory.neurons)
    R = np.eye(memory.neurons) if memory.drive.matrix is None else memory.drive.matrix.to_dense()
    product = np.matmul(np.swapaxes(R, -1, -2), W)
    return bool((_smallest_symmetric(product) >= -1e-12 * np.abs(product).max()).all())


def _smallest_symmetric(product: np.ndarray) -> np.ndarray:
    """Return the smallest eigenvalue of X + Xᵀ for every X."""
    with one_blas_thread():
        return np.asarray(np.linalg.eigvalsh(product + np.swapaxes(product, -1, -2))[..., 0])


def _definite_ends(name: str, matrix: Any) -> tuple[float, float]:
    array = checks.real_array(name, matrix, np.float64, shape=("N", "N"))
    if not np.array_equal(array, array.T):
        raise ValueError(f"{name} must be symmetric.")
    with one_blas_thread():
        values = np.linalg.eigvalsh(array)
    if values[0] <= 0:
        raise ValueError(f"{name} must be positive definite; its smallest eigenvalue is {values[0]:.3g}.")
    return float(values[0]), float(values[-1])


def _abscissa(memory: Memory) -> float:
    W = memory.W.astype(np.float64).reshape(-1, memory.neurons, memory.neurons)
    return max(numerical_abscissa(matrix) for matrix in W)
