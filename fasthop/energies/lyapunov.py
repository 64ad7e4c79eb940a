"""Whether an energy decreases along trajectories: condition (7) of arXiv 2410.13866, and what is enough for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fasthop import checks
from fasthop.dynamics.evaluate import arguments, as_states, thin_curvature
from fasthop.dynamics.jacobians import energy_factor, factors
from fasthop.model.energy_family import SHARES, Energy
from fasthop.model.matrices import definite, rounding
from fasthop.model.memory import Memory
from fasthop.model.systems import (
    FACTORS,
    NAMED,
    Around,
    Constant,
    Factor,
    Gradient,
    GradientAsPrinted,
    Hessian,
    Identity,
    Inside,
    Orthogonal,
    Outside,
    Residual,
)
from fasthop.runtime import one_blas_thread


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
    F, _ = energy_factor(memory, states, memory.system.residual.energy(kind))
    Lam = thin_curvature(memory, arguments(memory, as_states(memory, states)[0]))
    R = factors(memory, Lam, memory.W.astype(np.float64))
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
    (low_R, high_R), (low_W, high_W) = (map(float, definite(*given)[0][[0, -1]]) for given in (("R", R), ("W", W)))
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


# --- what is proved -------------------------------------------------------------------------------------------------
#
# An energy is the sum of three parts, and falls where each does. With x the argument of g, Λ = Λ(x) and f minus the
# residual, a part of gradient F f changes at the rate −fᵀRᵀF f. `_PROOFS` has that rate for every variable, part and R
# of which it is known to be ≤ 0, and what this takes; for all others it is not known.


class _Part(NamedTuple):
    memory: Memory
    form: Energy
    share: str

    @property
    def name(self) -> str:
        named = self.memory.system.residual.energies
        return f"energy {next(name for name in named if getattr(named[name], self.share))!r}"

    @property
    def R(self) -> str:
        return f"R = {self.memory.system.factor.name!r}"


def _unproven(part: _Part) -> Iterator[str]:
    residual, share = type(part.memory.system.residual), part.share
    known = [repr(name) for name in NAMED if (residual, share, FACTORS[name]) in _PROOFS]
    yield f"{part.R} is not known to descend on {part.name}; what can is R = {', '.join(known)}."


def _made_for_it(part: _Part) -> Iterator[str]:
    factor = part.memory.system.factor
    if isinstance(factor, Orthogonal) and part.form != factor.energy:
        yield "R was made for another energy."


def _symmetric(part: _Part) -> Iterator[str]:
    if not part.memory.symmetric:
        yield "W is not symmetric."


def _upright(part: _Part) -> Iterator[str]:
    if (value := getattr(part.form, part.share)) < 0:
        yield f"{part.share} = {value:g} is negative: the energy rises where {part.name} falls."


def _unweighted(part: _Part) -> Iterator[str]:
    S = part.form.weighting(part.memory.neurons)
    if (S[0, 0] * np.eye(len(S)) != S).any():
        yield "S is not a multiple of the identity, for which R was made."
    elif (value := part.form.gamma * S[0, 0]) < 0:
        yield f"gamma S = {value:g} I is negative: the energy rises where {part.name} falls."


def _monotone(part: _Part) -> Iterator[str]:
    for _, kind in part.memory.spans:
        if not kind.monotone:
            yield f"{kind.name} is not monotone."


def _gentle(part: _Part) -> Iterator[str]:
    memory = part.memory
    steepest = max(kind.max_slope for _, kind in memory.spans)
    W = memory.W.astype(np.float64).reshape(-1, memory.neurons, memory.neurons)
    omega = max(numerical_abscissa(matrix) for matrix in W)
    if omega > 0 and not omega * steepest <= 1 + rounding(memory.neurons, memory.dtype):
        yield f"ω(W) max Λ exceeds 1, which {part.R} needs."


def _paced(part: _Part) -> Iterator[str]:
    R = _constant(part.memory)
    rates = np.diagonal(R, axis1=-2, axis2=-1)
    if (rates[..., None] * np.eye(part.memory.neurons) != R).any() or (rates < 0).any():
        yield f"{part.R} is not a diagonal matrix of numbers ≥ 0, which {part.name} needs."
    elif part.memory.system.residual.is_value and (rates != rates[..., :1]).any():
        yield f"{part.R} is not a multiple of the identity, which {part.name} needs."
    for span, kind in part.memory.spans:
        if kind.blockwise and (rates[..., span] != rates[..., span][..., :1]).any():
            yield f"{part.R} is not constant within a block of {kind.name}."


def _turned_within_reach(part: _Part) -> Iterator[str]:
    if part.memory.symmetric:
        R, W = (_scaled(matrix) for matrix in (_constant(part.memory), part.memory.W.astype(np.float64)))
        product = np.sign(part.form.beta) * np.matmul(np.swapaxes(R, -1, -2), W)
        with one_blas_thread():
            values = np.linalg.eigvalsh(product + np.swapaxes(product, -1, -2))
        least = -rounding(part.memory.neurons, part.memory.dtype) * np.abs(values).max(axis=-1)
        if not (values[..., 0] >= least).all():
            yield f"beta (RᵀW + W R) has a negative eigenvalue for {part.R}."


def _constant(memory: Memory) -> np.ndarray:
    """Return R where it is a matrix or I, float64, of the numbers that the memory holds."""
    factor = memory.system.factor
    R = factor.matrix.to_dense() if isinstance(factor, Constant) else np.eye(memory.neurons)
    return R.astype(memory.dtype).astype(np.float64)


def _scaled(matrix: np.ndarray) -> np.ndarray:
    """Return a matrix over its largest entry, so that products neither vanish nor overflow."""
    largest = np.abs(matrix).max(axis=(-2, -1), keepdims=True)
    return np.asarray(matrix / np.where(largest > 0, largest, 1.0))


#: By residual, share of the energy and R: what it takes for the energy to fall.
_PROOFS: dict[tuple[type[Residual], str, type[Factor]], tuple[Callable[[_Part], Iterator[str]], ...]] = {
    # (2), F = Λ for Wᵀ = W: −fᵀ(Λ/τ) f; −|Λ f|², as minus its gradient is Λ times the residual; −fᵀ(Λ − Λ W Λ) f.
    (Outside, "alpha", Identity): (_symmetric, _upright, _monotone),
    (Outside, "alpha", Constant): (_symmetric, _upright, _monotone, _paced),
    (Outside, "alpha", Hessian): (_symmetric, _upright),
    (Outside, "alpha", GradientAsPrinted): (_symmetric, _upright, _monotone, _gentle),
    # (10), F = I − Λ Wᵀ for S = I: −|F f|².
    (Outside, "gamma", Gradient): (_unweighted,),
    # E1, F = W Λ W for Wᵀ = W: −fᵀ W Λ W f.
    (Inside, "alpha", Identity): (_symmetric, _upright, _monotone),
    (Inside, "alpha", Constant): (_symmetric, _upright, _monotone, _paced),
    # E2, F = W for Wᵀ = W: −½ fᵀ(RᵀW + W R) f, the same for all states and all g.
    (Inside, "beta", Identity): (_symmetric, _turned_within_reach),
    (Inside, "beta", Constant): (_symmetric, _turned_within_reach),
    # E3, F = I − WᵀΛ for S = I: −|F f|²; −fᵀ(Λ − ½ Λ (W + Wᵀ) Λ) f, Λ^½ (1 − Λ^½ W Λ^½) Λ^½ in the middle.
    (Inside, "gamma", Gradient): (_unweighted,),
    (Inside, "gamma", Hessian): (_unweighted, _monotone, _gentle),
    # Proposition 5.2, with F = O P: −fᵀ P f.
    (Inside, "alpha", Orthogonal): (_made_for_it, _symmetric),
    (Inside, "beta", Orthogonal): (_made_for_it, _symmetric),
    (Inside, "gamma", Orthogonal): (_made_for_it,),
    # The simplest model, F = I: −|f|².
    (Around, "beta", Identity): (_upright,),
}


def why_not_lyapunov(memory: Memory, kind: str | Energy) -> list[str]:
    """List why an energy is not known to decrease along the trajectories of a memory; empty where that is proved.

    Proved it is, whatever b and the state, for

    - (2) of variable y with symmetric W, alpha > 0, and R = I (with τ) or a diagonal matrix, g monotone; R = "hessian";
      R = "gradient-as-printed", g monotone and ω(W) max Λ ≤ 1;
    - (10) and E3 with S = I, gamma > 0, and R = "gradient"; E3 with R = "hessian", g monotone and ω(W) max Λ ≤ 1;
    - E1 with symmetric W, alpha > 0, R = I and g monotone;
    - E2 with symmetric W and a constant R where β (RᵀW + W R) ≥ 0;
    - the energy of E1, E2, E3 and their sums for which an `OrthogonalFactor` was made, with symmetric W for E1 and E2;
    - the energy of the simplest model, beta > 0;

    and for the sums of those. Elsewhere `lyapunov_condition` tells state by state.

    Parameters
    ----------
    memory : Memory
    kind : str or Energy

    Returns
    -------
    list of str
        Sentences.
    """
    form = memory.system.residual.energy(kind)
    residual, factor = type(memory.system.residual), type(memory.system.factor)
    reasons = [
        f"(3) is not defined for {g.name}, which is not strictly monotone."
        for _, g in memory.spans
        if kind == "3" and not g.strictly_monotone
    ]
    for share in SHARES:
        if getattr(form, share):
            part = _Part(memory, form, share)
            for condition in _PROOFS.get((residual, share, factor), (_unproven,)):
                reasons += condition(part)
    return list(dict.fromkeys(reasons))


def _smallest_symmetric(product: np.ndarray) -> np.ndarray:
    """Return the smallest eigenvalue of X + Xᵀ for every X."""
    with one_blas_thread():
        return np.asarray(np.linalg.eigvalsh(product + np.swapaxes(product, -1, -2))[..., 0])
