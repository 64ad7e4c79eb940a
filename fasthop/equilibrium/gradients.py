"""The gradient of a loss at steady states, through the equilibrium: Almeida–Pineda in batch.

At a fixed point x* = f(x*, θ) with J = ∂f/∂x the adjoint solves a = Jᵀa + e, e = ∂loss/∂x*, and dloss/dθ = aᵀ ∂f/∂θ.
The backward equation contracts when the forward one does, with the same spectral radius. L. B. Almeida, Proc. IEEE
First Int. Conf. Neural Networks 2:609, 1987; F. J. Pineda, Phys. Rev. Lett. 59:2229, 1987.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from fasthop import checks
from fasthop.dynamics.ensemble import least_tolerance, settle
from fasthop.dynamics.evaluate import activate
from fasthop.equilibrium.adjoints import NOT_FINITE, SOLVED, SOLVERS, fill, solve
from fasthop.equilibrium.clamping import Clamped
from fasthop.equilibrium.equations import states_of
from fasthop.equilibrium.linearised import Linearised
from fasthop.equilibrium.parameter_slopes import parameter_slopes
from fasthop.equilibrium.spectra import Spectrum
from fasthop.model.memory import Memory
from fasthop.model.scope import refuse
from fasthop.model.weights import Blocks, Dense, LowRank, Weights, low_rank_parts
from fasthop.results import Result, counts, extent, how_many, per_state
from fasthop.runtime import one_blas_thread
from fasthop.states.stability import STEADY
from fasthop_kernels.dynamics.products import DIAGONAL, LOW_RANK, PLAIN
from fasthop_kernels.linear.adjoint import Adjoints

#: What became of a state, in the order of the codes.
KINDS = ("solved", "unsolved", "not_finite", "unsettled", "unstable", "kink")
_CODE = {kind: code for code, kind in enumerate(KINDS)}

_TOLERANCE = {"float64": 1e-12, "float32": 1e-5}

#: Solvers that need no more than a nonsingular I − J, and so serve at saddles too.
GENERAL = ("auto", "gmres", "minres", "preconditioned", "lu")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Gradient(Result):
    """A gradient, and what says how far to trust it. For K memories every array has K in front.

    Attributes
    ----------
    db : float64 array, shape (N,), or (B, N) per sample
    dW : float64 array, shape (N, N), or dict or array of the structure of the weights
        By the free entries: of dense W all; of `Blocks` a dict of the blocks that were given, a tied block counted on
        both sides; of `LowRank` the patterns, shape (P, N). Per sample with B in front.
    dparameters : tuple of dict
        For every layer the gradient with respect to the parameters of its activation, by name: number or shape (B,).
    dheld : float64 array, shape (B, n_held), or None
        For every sample the gradient with respect to the states of the layers that are held (`clamp`).
    adjoint : array of the memory's dtype, shape (B, N)
        a; NaN where it is refused.
    states : array, shape (B, N)
        Where the gradient was taken: the states that were given, or those that `tighten` made of them.
    status : int8 array, shape (B,)
        Index into `KINDS`. What is not solved is left out of every sum, and NaN per sample.
    solver : str array, shape (B,)
    lambda_max, rho : float64 array, shape (B,)
        max Re λ and max |λ| of J: of all its eigenvalues up to N = 32, above it the outermost Ritz values of a Krylov
        space, which are estimates, or again of all eigenvalues where that was needed to be sure.
    lambda_max_error : float64 array, shape (B,)
        No eigenvalue has a real part above `lambda_max` + `lambda_max_error`, up to rounding. 0 where all eigenvalues
        were computed; otherwise the sum is below 1, and proven: by a bound for the memory, by a Cholesky factorisation
        (J similar to a symmetric matrix), or by the largest eigenvalue of the symmetric part. It leaves a tenth of the
        distance of `lambda_max` to 1, or more; where it would not, all eigenvalues are computed. So no state counts as
        stable because a Krylov space missed an eigenvalue. Infinite where `lambda_max` is an estimate and nothing more,
        and so is what is said of stability: where no bound is proven for non-symmetric J, above N = 100 with a
        `lambda_max` below .85, and above N = 512 with any; for J similar to a symmetric matrix above N = 2048.
    forward_residual : float array, shape (B,)
        The largest |residual_i| / max(1, |y_i|) of the state.
    backward_residual : float array, shape (B,)
        max|e + Jᵀa − a| / max(max|e|, max|a|).
    products : int64 array, shape (B,)
        Products with Jᵀ; 0 for a factorisation.
    weights : Weights
        Those of the memory, whose structure `dW` has.
    """

    db: np.ndarray
    dW: Any
    dparameters: tuple[dict[str, np.ndarray], ...]
    dheld: np.ndarray | None
    adjoint: np.ndarray
    states: np.ndarray
    status: np.ndarray
    solver: np.ndarray
    lambda_max: np.ndarray
    rho: np.ndarray
    lambda_max_error: np.ndarray
    forward_residual: np.ndarray
    backward_residual: np.ndarray
    products: np.ndarray
    weights: Weights

    def to_frame(self) -> pd.DataFrame:
        """One row per state: memory (for K memories), kind, solver, λ_max with its error, rho, residuals, products."""
        columns: dict[str, Any] = {"kind": pd.Categorical(self.kind.reshape(-1), list(KINDS)), "solver": self.solver}
        names = ("lambda_max", "lambda_max_error", "rho", "forward_residual", "backward_residual", "products")
        return per_state(self.status.shape, columns | {name: getattr(self, name) for name in names}, {})

    def in_short(self) -> str:
        """Say how many were solved, and how near to a fold they are."""
        return f"{how_many(self.states, 'states')}: {counts(self.kind)}; {extent('lambda_max', self.lambda_max)}"

    @property
    def kind(self) -> np.ndarray:
        """`status` in words."""
        return np.asarray(np.array(KINDS)[self.status])

    @property
    def amplification(self) -> np.ndarray:
        """1/(1 − λ_max): how much a small change of e, or of the state, is magnified; it has no bound at a fold."""
        with np.errstate(divide="ignore"):
            return np.asarray(1 / (1 - self.lambda_max))

    @property
    def largest_amplification(self) -> np.ndarray:
        """1/(1 − λ_max) for the largest λ_max that `lambda_max_error` allows; infinite where that may be 1."""
        near = np.where(self.lambda_max < 1, np.minimum(self.lambda_max + self.lambda_max_error, 1), self.lambda_max)
        with np.errstate(divide="ignore"):
            return np.asarray(1 / (1 - near))

    @property
    def dstart(self) -> np.ndarray:
        """The gradient with respect to the starts, and to τ and R: zero, because no steady state depends on them."""
        return np.zeros_like(self.adjoint)

    @property
    def dW_symmetric(self) -> np.ndarray:
        """The gradient along symmetric matrices, dA for W = (A + Aᵀ)/2, of a dense W."""
        free = self.weights.free if isinstance(self.weights, Clamped) else self.weights
        if not isinstance(free, Dense):
            raise ValueError(f"dW_symmetric is of dense W; {free!r} keeps its symmetry by itself.")
        return np.asarray((self.dW + np.swapaxes(self.dW, -1, -2)) / 2)


def gradient(
    memory: Memory,
    states: Any,
    cotangent: Any,
    *,
    solver: str = "auto",
    per_sample: bool = False,
    tolerance: float | None = None,
    tighten: float | None = None,
) -> Gradient:
    """Return the gradient of a loss of steady states with respect to everything that decides them.

    Parameters
    ----------
    memory : Memory
        System (1), (5) or (9), variable y or u, of any structure and activation; one memory or K.
    states : array_like, shape (B, N) or (N,); for K memories (K, B, N)
        Steady states, as `settle` leaves them.
    cotangent : array_like of the same shape
        e = ∂loss/∂state, of each state.
    solver : {"auto", "iteration", "ode", "gmres", "minres", "preconditioned", "cholesky", "lu"}
        iteration needs ρ(J) < 1, ode λ_max(J) < 1; gmres and lu need I − J to be nonsingular and nothing more, minres
        symmetric W and monotone elementwise g besides, cholesky λ_max(J) < 1 as well, which its success proves.
        preconditioned is gmres after one factorisation of I − J at the mean Λ of each memory's states, and needs
        elementwise g: the more alike the states, the fewer products; the last digits of an adjoint depend on the batch.
        auto factorises up to N = 48, by cholesky where that serves and by lu; above it takes preconditioned where W is
        dense and at least N/8 states share it, or minres where that serves, or gmres, and the next of these and lu
        where one fails. `Gradient.solver` says which.
    per_sample : bool
        Whether the gradients of all samples are kept apart; otherwise they are summed in the order of the batch.
    tolerance : float, optional
        Of all but the factorisations: max|e + Jᵀa − a| ≤ tolerance · max(max|e|, max|a|). By default 1e-12, in
        float32 1e-5.
    tighten : float, optional
        Settle the states further, to `tighten` · (1 − λ_max)²: near a fold the error of a gradient is that of its state
        divided by (1 − λ_max)².

    Returns
    -------
    Gradient

    Raises
    ------
    TypeError, ValueError
        Where shapes do not fit or the solver is unknown.

    Warns
    -----
    RuntimeWarning
        Where states are refused, with their number by name: not finite, unsettled, unstable under the system that
        reached them, on a kink of g, or unsolved.
    """
    refuse(memory, "gradient")
    found, alone = states_of(memory, "states", states)
    right, _ = states_of(memory, "cotangent", cotangent)
    if right.shape != found.shape:
        raise ValueError(f"cotangent must have the shape of states, {found.shape}; got {right.shape}.")
    checks.one_of("solver", solver, ("auto", *SOLVERS))
    kind = memory.dtype.name
    goal = _TOLERANCE[kind] if tolerance is None else checks.real("tolerance", tolerance, above=0)
    at = Linearised(memory, found)
    if tighten is not None:
        at = Linearised(memory, _tightened(at, checks.real("tighten", tighten, above=0)).reshape(found.shape))
    e = right.reshape(at.states.shape)
    status = judge(at, e)
    solved, names, spectrum = at.adjoints(), np.full(len(e), "none", object), Spectrum.unknown(len(e))
    for rows in (status == SOLVED, status != SOLVED):
        part = at.some(rows)
        if rows.any() and (status[rows] == SOLVED).all():
            found_here, names[rows], status[rows] = _solve(part, e[rows], solver, goal)
            fill(solved, rows, found_here)
        spectrum.fill(rows, part.spectrum)
    solved.state[status != SOLVED] = np.nan
    _warn(status, spectrum, solver)
    shape = found.shape[:-1]
    parts = derivatives(at, solved.state, solved.between, status == SOLVED, per_sample)
    table = {
        "adjoint": solved.state,
        "states": at.states,
        "status": status,
        "solver": names.astype(str),
        "lambda_max": spectrum.lambda_max,
        "rho": spectrum.rho,
        "lambda_max_error": spectrum.error,
        "forward_residual": at.residual,
        "backward_residual": solved.residual,
        "products": solved.products,
    }
    table = {name: values.reshape(*shape, *values.shape[1:]) for name, values in table.items()}
    if alone:
        table = {name: values[0] for name, values in table.items()}
    return Gradient(**parts, **table, weights=memory.weights)


def judge(at: Linearised, right: np.ndarray) -> np.ndarray:
    """Return what the states themselves say, as a status of each, int8, shape (B,)."""
    status = np.full(len(at.states), SOLVED, np.int8)
    status[_on_kink(at)] = _CODE["kink"]
    status[~(at.residual <= STEADY[at.memory.dtype])] = _CODE["unsettled"]
    status[~(np.isfinite(at.states).all(axis=1) & np.isfinite(right).all(axis=1))] = NOT_FINITE
    return status


def _solve(at: Linearised, right: np.ndarray, solver: str, tolerance: float) -> tuple[Adjoints, np.ndarray, np.ndarray]:
    """Return the adjoints of settled states, the solver of each and its status.

    The spectrum says which states the flow leaves. Krylov spaces of a solver give it on the way; one that converges to
    nothing there must know it before.
    """
    status, found, names = np.full(len(right), SOLVED, np.int8), at.adjoints(), np.full(len(right), "none", object)
    if solver not in GENERAL:
        status[at.spectrum.lambda_max >= 1] = _CODE["unsolved"]  # a saddle that (5) or (9) attract to
        status[~at.stable] = _CODE["unstable"]
    due = status == SOLVED
    if due.all():
        found, names = solve(at, right, solver, tolerance)
    elif due.any():
        part, names[due] = solve(at.some(due), right[due], solver, tolerance)
        fill(found, due, part)
    status[due & (found.status != SOLVED)] = _CODE["unsolved"]
    status[~at.stable] = _CODE["unstable"]
    return found, names, status


def _on_kink(at: Linearised) -> np.ndarray:
    """Say where g has no derivative: its slopes on the two sides of the state differ."""
    found = np.zeros(len(at.states), bool)
    for span, kind in at.memory.spans:
        if kind.kinks and not kind.blockwise:
            x = at.arguments[:, span]
            below, above = (kind.slope(np.nextafter(x, np.asarray(side, x.dtype))) for side in (-np.inf, np.inf))
            found |= (np.abs(above - below) > 1e-4).any(axis=1)
    return found


def _tightened(at: Linearised, goal: float) -> np.ndarray:
    """Return the states, settled further to goal · (1 − λ_max)² where they are not; decade by decade."""
    states, memory = at.states.copy(), at.memory
    floor = least_tolerance(memory)
    due = np.maximum(goal * (1 - at.spectrum.lambda_max) ** 2, floor)
    decade = np.maximum(10 ** np.floor(np.log10(due)), floor)
    needed = np.isfinite(due) & ~(at.residual <= due) & np.isfinite(at.states).all(axis=1)
    if not needed.any():
        return states
    for tolerance in np.unique(decade[needed]).tolist():
        rows = needed & (decade == tolerance)
        whole = np.where(np.isfinite(at.states), at.states, 0)
        starts = whole.reshape(memory.count or 1, -1, memory.neurons)
        ends = settle(memory, starts if memory.count else starts[0], tolerance=tolerance, t_max=1e7)
        states[rows] = ends.state.reshape(states.shape)[rows]
    return states


def _warn(status: np.ndarray, spectrum: Spectrum, solver: str) -> None:
    if (status == SOLVED).all():
        return
    counts = Counter(KINDS[code] for code in status[status != SOLVED])
    listed = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items())
    saddle = solver not in GENERAL and (spectrum.lambda_max[status == _CODE["unsolved"]] >= 1).any()
    hint = "; where λ_max(J) ≥ 1 only lu, gmres, minres and preconditioned serve" if saddle else ""
    warnings.warn(f"{sum(counts.values())} of {status.size} gradients are refused: {listed}{hint}.", RuntimeWarning, 3)


# --- from adjoints to derivatives ------------------------------------------------------------------------------------

#: `outer(q, p)` of arrays (K, B, n) and (K, B, m): summed (K, n, m), or per sample (K, B, n, m).
_Outer = Callable[[np.ndarray, np.ndarray], np.ndarray]


def derivatives(
    at: Linearised, adjoint: np.ndarray, between: np.ndarray, solved: np.ndarray, per_sample: bool
) -> dict[str, Any]:
    """Return db, dW, dparameters and dheld of `Gradient` from adjoints and what stands between the factors of Jᵀa.

    With q = a and p = g(y), or for system (5) q = Λa and p = u: db = q, dW = q pᵀ; and the parameters get Wᵀa · ∂g/∂θ,
    or a · ∂g/∂θ.
    """
    memory, count = at.memory, at.memory.count or 1

    def rows(values: np.ndarray) -> np.ndarray:
        kept = np.where(solved[:, None], values, np.nan if per_sample else 0.0).astype(np.float64)
        return kept.reshape(count, -1, kept.shape[1])

    def total(values: np.ndarray) -> np.ndarray:
        return values if per_sample else values.sum(axis=1)

    def given(values: np.ndarray) -> np.ndarray:
        return values[0] if memory.count is None else values

    inside = memory.system.residual.is_value
    q = rows(between if inside else adjoint)
    p = rows(at.states if inside else activate(memory, at.arguments))
    through = rows(adjoint if inside else between)
    held = None
    if memory.weights.held.any():
        held = given(rows(adjoint)[..., memory.weights.held])
        q = np.where(memory.weights.held, 0.0, q)
    dparameters = []
    for part, kind in memory.spans:
        moves = parameter_slopes(kind, at.arguments[:, part].astype(np.float64))
        products = {name: (through[..., part] * rows(move)).sum(axis=2) for name, move in moves.items()}
        dparameters.append({name: given(total(value)) for name, value in products.items()})
    with one_blas_thread():
        flat = stored_gradient(at.weights, q, p, _one_by_one if per_sample else _summed)
    return {
        "db": given(total(q)),
        "dW": _as_given(memory.weights, given(flat)),
        "dparameters": tuple(dparameters),
        "dheld": held,
    }


def _summed(q: np.ndarray, p: np.ndarray) -> np.ndarray:
    return np.asarray(np.matmul(np.swapaxes(q, 1, 2), p))


def _one_by_one(q: np.ndarray, p: np.ndarray) -> np.ndarray:
    return np.asarray(q[..., :, None] * p[..., None, :])


def stored_gradient(weights: Weights, q: np.ndarray, p: np.ndarray, outer: _Outer = _summed) -> np.ndarray:
    """Return the gradient with respect to the stored numbers of the weights where that of W is q pᵀ.

    Parameters
    ----------
    weights : Weights
    q, p : float64 arrays, shape (K, B, N)
    outer : callable

    Returns
    -------
    float64 array, shape (K, S), or (K, B, S) per sample
    """
    lead = outer(q[..., :1], p[..., :1]).shape[:-2]
    flat = np.zeros((*lead, weights.stored.shape[1]))
    for row, column, rows, columns, at, kind, rank in weights.blocks.tolist():
        left, right = q[..., row : row + rows], p[..., column : column + columns]
        if kind == DIAGONAL:
            product = left * right
            part = product if len(lead) == 2 else product.sum(axis=1)
        elif kind == LOW_RANK:  # W = AᵀA, or rows or columns of it: A G onto the columns, A Gᵀ onto the rows
            n = max(rows, columns)
            A = np.swapaxes(weights.stored[:, at : at + rank * n].reshape(-1, rank, n), 1, 2)
            onto_rows, onto_columns = low_rank_parts(row, column, rows, columns)
            part = np.zeros((*lead, rank, n))
            part[..., onto_columns] += outer(np.matmul(left, A[:, onto_rows]), right)
            part[..., onto_rows] += outer(np.matmul(right, A[:, onto_columns]), left)
        else:
            part = outer(left, right) if kind == PLAIN else outer(right, left)
        part = part.reshape(*lead, -1)
        flat[..., at : at + part.shape[-1]] += part
    return flat


def _as_given(weights: Weights, flat: np.ndarray) -> Any:
    """Return the gradient of the stored numbers as that of what the weights were made of."""
    if isinstance(weights, Clamped):
        return _as_given(weights.free, flat[..., : weights.free.stored.shape[1]])
    lead, n = flat.shape[:-1], weights.neurons
    if isinstance(weights, LowRank):
        rank = weights.patterns.shape[-2]
        A = weights.stored[:, : rank * n].reshape(-1, rank, n)
        A = A[0] if weights.count is None else A.reshape(-1, *[1] * (len(lead) - 1), rank, n)
        factors = flat[..., : rank * n].reshape(*lead, rank, n)
        if not weights.self_coupling:  # the diagonal that is taken away is that of AᵀA
            factors = factors - 2 * A * flat[..., None, rank * n :]
        return factors / np.sqrt(n)
    if isinstance(weights, Blocks):
        parts = {}
        for (i, j), place in weights.given.items():
            block = flat[..., place].reshape(*lead, weights.sizes[i], weights.sizes[j])
            # A tied block within a layer is symmetric, and moves as such.
            parts[i, j] = (block + np.swapaxes(block, -1, -2)) / 2 if weights.symmetric and i == j else block
        return parts
    return flat.reshape(*lead, n, n) if flat.shape[-1] == n * n else flat
