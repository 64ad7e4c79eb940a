"""Energies of states, their gradients, and whether they decrease; arXiv 2410.13866, equations (2), (6)–(8), (10)."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np

from fasthop import checks
from fasthop.activations import as_activation
from fasthop.fields import as_states, curvature, drive, owners, residuals
from fasthop.memory import Memory
from fasthop.runtime import all_threads, one_blas_thread
from fasthop_kernels import energies as kernels
from fasthop_kernels.flows import AS_PRINTED, GRADIENT, HESSIAN, NONE
from fasthop_kernels.tiles import workspace


@dataclasses.dataclass(frozen=True, eq=False)
class Energy:
    """The family (6) of energies of system (5), α E1 + β E2 + γ E3(S), and for system (9) with α = β = 0 energy (10).

    With x = W u + b and f = u − g(x): E1 = (x − b)·g − L − ½ gᵀW g, energy (2) at y = x; E2 = ½ uᵀW u − L;
    E3 = ½ fᵀS f.

    Parameters
    ----------
    alpha, beta, gamma : float
    S : array_like, shape (N, N), optional
        Symmetric; the identity by default.
    """

    alpha: float = 0.0
    beta: float = 0.0
    gamma: float = 0.0
    S: Any = None

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "gamma"):
            object.__setattr__(self, name, checks.real(name, getattr(self, name)))
        if self.S is not None:
            S = checks.real_array("S", self.S, np.float64, shape=("N", "N"))
            if not np.array_equal(S, S.T):
                raise ValueError("S must be symmetric.")
            object.__setattr__(self, "S", S)


#: Energies by name: (2) of system (1), E1, E2 and E3 of system (5), (10) of system (9).
NAMED = {
    "2": Energy(alpha=1.0),
    "E1": Energy(alpha=1.0),
    "E2": Energy(beta=1.0),
    "E3": Energy(gamma=1.0),
    "10": Energy(gamma=1.0),
}
_OF_Y = ("2", "10")


def natural_energy(memory: Memory) -> str:
    """Name the energy that was made for a memory: (2) for system (1), E3 for (5), (10) for (9)."""
    if memory.variable == "u":
        return "E3"
    return "2" if memory.drive.code == NONE else "10"


def energy(memory: Memory, states: Any, kind: str | Energy | None = None) -> np.ndarray:
    """Return an energy of every state; dimensionless.

    (2) and E1 are computed as Σφ(x_i) − b·g − ½ gᵀW g with φ = x g − L in closed form: where neurons saturate, x·g and
    L are large and nearly equal, and their difference would lose all its digits.

    Parameters
    ----------
    memory : Memory
    states : array_like, shape (B, N) or (N,); for K memories (K, B, N)
    kind : {"2", "10"} for variable y, {"E1", "E2", "E3"} for variable u, or Energy, optional
        By default `natural_energy`. "10" and "E3" have S = I.

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
    form = _form(memory, natural_energy(memory) if kind is None else kind)
    array, alone = as_states(memory, states)
    for reason in why_not_lyapunov(memory, form):
        warnings.warn(f"this energy need not decrease here: {reason}", RuntimeWarning, 2)
    flat = array.reshape(-1, memory.neurons)
    total = np.zeros(len(flat), memory.dtype)
    for share, which in ((form.alpha, kernels.LEGENDRE), (form.beta, kernels.QUADRATIC)):
        if share:
            total += memory.dtype.type(share) * _kernel_energy(memory, flat, array.shape, which)
    if form.gamma and form.S is None:
        total += memory.dtype.type(form.gamma) * _kernel_energy(memory, flat, array.shape, kernels.SQUARE)
    elif form.gamma:
        f, _ = residuals(memory, array)
        f = f.reshape(flat.shape).astype(np.float64)
        total += memory.dtype.type(form.gamma / 2) * ((f @ _S(form, memory)) * f).sum(axis=1).astype(memory.dtype)
    return total[0] if alone else total.reshape(array.shape[:-1])


def residual(memory: Memory, states: Any) -> np.ndarray:
    """Return W g(y) − y + b, or g(W u + b) − u for variable u; zero at steady states and nowhere else.

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
        One memory. For non-symmetric W the gradient of E3 and (10) is exact; that of the others needs symmetric W.
    states : array_like, shape (B, N)
    kind : str or Energy

    Returns
    -------
    float64 array, shape (B, N)
    """
    form, F, f = _form(memory, kind), *_F(memory, states, _form(memory, kind))
    if memory.variable == "y" and form.alpha:
        # grad (2) = −Λ h, and h = −f here.
        Lam = curvature(memory, residuals(memory, as_states(memory, states)[0])[1])
        return np.asarray(np.matmul(Lam, f[..., None])[..., 0])
    return np.asarray(np.matmul(F, f[..., None])[..., 0])


def lyapunov_condition(memory: Memory, states: Any, kind: str | Energy) -> np.ndarray:
    """Return the smallest eigenvalue of RᵀF + FᵀR at every state, condition (7): dE/dt = −½ fᵀ(RᵀF + FᵀR) f.

    The energy is a Lyapunov function where this is nowhere negative.

    Parameters
    ----------
    memory : Memory
        One memory with variable u, or with variable y for energy (10).
    states : array_like, shape (B, N)
    kind : str or Energy

    Returns
    -------
    float64 array, shape (B,)
    """
    F, _ = _F(memory, states, _form(memory, kind))
    R = _R(memory, states)
    product = np.matmul(np.swapaxes(R, -1, -2), F)
    with one_blas_thread():
        return np.asarray(np.linalg.eigvalsh(product + np.swapaxes(product, -1, -2))[:, 0])


def energy_hessian(memory: Memory, states: Any, kind: str | Energy) -> np.ndarray:
    """Return the Hessian F (I − Λ W) of an energy of system (5) at steady states; condition (8) is twice this, > 0.

    Parameters
    ----------
    memory : Memory
        One memory with variable u.
    states : array_like, shape (B, N)
        Steady states; elsewhere the Hessian has further terms.
    kind : str or Energy

    Returns
    -------
    float64 array, shape (B, N, N)
    """
    if memory.variable != "u":
        raise ValueError("memory must have variable = 'u' for condition (8); got variable = 'y'.")
    F, _ = _F(memory, states, _form(memory, kind))
    W = memory.W.astype(np.float64)
    Lam = curvature(memory, residuals(memory, as_states(memory, states)[0])[1])
    return np.asarray(np.matmul(F, np.eye(memory.neurons) - np.matmul(Lam, W)))


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
    form, code = _form(memory, kind), memory.drive.code
    reasons = []
    kinds = [as_activation(layer.activation) for layer in memory.layers]
    if (form.alpha or form.beta) and not memory.symmetric:
        reasons.append("W is not symmetric.")
    if form.alpha:
        reasons += [f"{kind.name} is not monotone." for kind in kinds if not kind.monotone]
        if code != NONE:
            reasons.append(f"R = {memory.drive.name!r} turns the flow of the energy; only R = I is known to descend.")
    if form.beta and code not in (NONE,) and memory.drive.name not in ("weights", "polar"):
        reasons.append(f"R = {memory.drive.name!r} is not known to descend on E2; 'weights' and 'polar' do.")
    if form.beta and code == NONE and memory.symmetric and _smallest(memory) < 0:
        reasons.append("W is not positive semidefinite, which R = I needs for E2.")
    if form.gamma and code == AS_PRINTED:
        reasons.append("R = I − W Λ is the printed form of system (9); its transpose, R = 'gradient', descends.")
    elif form.gamma and code == HESSIAN:
        if _abscissa(memory) * max(kind.max_slope for kind in kinds) > 1:
            reasons.append("ω(W) max Λ exceeds 1, which R = 'hessian' needs.")
    elif form.gamma and code != GRADIENT:
        reasons.append(f"R = {memory.drive.name!r} is not known to descend on E3; 'gradient' does.")
    if form.gamma and form.S is not None:
        reasons.append("S is not the identity, for which R was made.")
    if sum(bool(share) for share in (form.alpha, form.beta, form.gamma)) > 1:
        reasons.append("it is a combination; lyapunov_condition tells state by state.")
    return reasons


def _form(memory: Memory, kind: str | Energy) -> Energy:
    if isinstance(kind, Energy):
        if memory.variable == "y" and kind.beta:
            raise ValueError("kind must have beta = 0 for variable = 'y': E2 is an energy of variable u.")
        return kind
    allowed = [name for name in NAMED if (name in _OF_Y) == (memory.variable == "y")]
    return NAMED[checks.one_of(f"kind (for variable {memory.variable!r})", kind, allowed)]


def _kernel_energy(memory: Memory, flat: np.ndarray, shape: tuple[int, ...], which: int) -> np.ndarray:
    out = np.empty(len(flat), memory.dtype)
    with all_threads() as workers:
        floats, _ = workspace(memory.tables, workers)
        kernels.energies(memory.tables, flat, owners(memory, shape), which, floats, out)
    return out


def _S(form: Energy, memory: Memory) -> np.ndarray:
    S = np.eye(memory.neurons) if form.S is None else form.S
    if S.shape != (memory.neurons, memory.neurons):
        raise ValueError(f"S must have shape ({memory.neurons}, {memory.neurons}); got {S.shape}.")
    return np.asarray(S)


def _F(memory: Memory, states: Any, form: Energy) -> tuple[np.ndarray, np.ndarray]:
    """Return F of Proposition 5, shape (B, N, N), and f = −residual; for variable y that of energy (10)."""
    if memory.count is not None:
        raise ValueError(f"memory must be one memory; got {memory.count}.")
    found, arguments = residuals(memory, as_states(memory, states)[0])
    Lam, W, S = curvature(memory, arguments), memory.W.astype(np.float64), _S(form, memory)
    f = -found.astype(np.float64)
    if memory.variable == "y":
        # grad ½ hᵀS h = −(I − Λ Wᵀ) S h.
        return form.gamma * (S - np.matmul(np.matmul(Lam, W.T), S)), f
    mixed = np.matmul(np.matmul(W.T, Lam), form.alpha * W - form.gamma * S)
    return mixed + form.beta * W + form.gamma * S, f


def _R(memory: Memory, states: Any) -> np.ndarray:
    """Return R at every state, shape (B, N, N)."""
    _, arguments = residuals(memory, as_states(memory, states)[0])
    return drive(memory, curvature(memory, arguments))


def _smallest(memory: Memory) -> float:
    with one_blas_thread():
        return float(np.linalg.eigvalsh(memory.W.astype(np.float64)).min())


def _abscissa(memory: Memory) -> float:
    W = memory.W.astype(np.float64).reshape(-1, memory.neurons, memory.neurons)
    return max(numerical_abscissa(matrix) for matrix in W)
