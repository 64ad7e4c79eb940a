"""Solvers of the adjoint equation a = Jᵀa + e, many at once; one that fails never stops the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import lapack

from fasthop.equilibrium.equations import WIDE
from fasthop.equilibrium.linearised import Linearised
from fasthop.equilibrium.preconditioned import preconditioned, worth_it
from fasthop.runtime import one_blas_thread
from fasthop_kernels.dynamics.steppers import RK4
from fasthop_kernels.linear import adjoint as kernels

SOLVED, UNSOLVED, NOT_FINITE = kernels.SOLVED, kernels.UNSOLVED, kernels.NOT_FINITE

#: Up to this N `auto` factorises: one factorisation then costs less than the products of GMRES.
DIRECT = 48
#: Radius of the half disc in which RK4 is stable.
DISC = 2.6

#: Products with Jᵀ that a solver may take for a row.
MOST = {"iteration": 100_000, "ode": 400_000, "gmres": 4_000, "minres": 20_000}


def iteration(at: Linearised, right: np.ndarray, tolerance: float) -> kernels.Adjoints:
    """Iterate a ← Jᵀa + e: converges for every e where ρ(J) < 1, and as fast as the forward iteration does."""
    return at.run(at.problem(right, WIDE, tolerance, MOST["iteration"]), at.adjoints(), WIDE)


def ode(at: Linearised, right: np.ndarray, tolerance: float) -> kernels.Adjoints:
    """Integrate da/dt = Jᵀa − a + e by RK4, with half the largest step for |1 − λ| ≤ 1 + ρ: asks for λ_max(J) < 1."""
    steps = 0.5 * DISC / (1 + at.spectrum.rho)
    return at.run(at.problem(right, WIDE, tolerance, MOST["ode"]), at.adjoints(), WIDE, method=RK4, steps=steps)


def gmres(at: Linearised, right: np.ndarray, tolerance: float) -> kernels.Adjoints:
    """Solve by GMRES in lanes: needs I − J to be nonsingular and nothing more."""
    return at.gmres(right, tolerance, MOST["gmres"])


def minres(at: Linearised, right: np.ndarray, tolerance: float) -> kernels.Adjoints:
    """Solve by MINRES in lanes: needs symmetric W, monotone elementwise g, and I − J to be nonsingular."""
    if at.similar:
        return at.minres(right, tolerance, MOST["minres"])
    found = at.adjoints()
    found.status[:] = UNSOLVED
    return found


def cholesky(at: Linearised, right: np.ndarray, tolerance: float) -> kernels.Adjoints:
    """Factorise (I − √Λ W √Λ) z = √Λ W e of the alive neurons, a = e + √Λ z; for (5) with √Λ e, a = e + W √Λ z."""
    return _by_rows(at, right, _positive)


def lu(at: Linearised, right: np.ndarray, tolerance: float) -> kernels.Adjoints:
    """Factorise I − Λ Wᵀ of the alive neurons: needs I − J to be nonsingular and nothing more."""
    return _by_rows(at, right, _general)


SOLVERS: dict[str, Callable[[Linearised, np.ndarray, float], kernels.Adjoints]] = {
    solver.__name__: solver for solver in (iteration, ode, gmres, minres, preconditioned, cholesky, lu)
}


def choose(at: Linearised) -> np.ndarray:
    """Return the solver that `auto` takes for every row: by N, how many share W, the symmetry of W, and λ_max(J)."""
    if at.memory.neurons > DIRECT:
        return np.full(len(at.states), "preconditioned" if worth_it(at) else _others(at)[0], object)
    if not at.similar:
        return np.full(len(at.states), "lu", object)
    return np.where(at.spectrum.lambda_max < 1, "cholesky", "lu").astype(object)


def _others(at: Linearised) -> tuple[str, ...]:
    """Return what `auto` tries, in turn, where its choice fails."""
    if at.memory.neurons <= DIRECT:
        return ("lu",)
    return ("minres" if at.similar else "gmres", "lu")


def solve(at: Linearised, right: np.ndarray, solver: str, tolerance: float) -> tuple[kernels.Adjoints, np.ndarray]:
    """Solve every row with the solver of that name, or with the ones that `choose` names and others where those fail.

    Parameters
    ----------
    at : Linearised
    right : float array, shape (B, N)
        e.
    solver : str
        Of `SOLVERS`, or "auto".
    tolerance : float
        Solved where max|e + Jᵀa − a| ≤ tolerance · max(max|e|, max|a|), for all but the factorisations.

    Returns
    -------
    found : kernels.Adjoints
    solver : str array, shape (B,)
    """
    chosen = choose(at) if solver == "auto" else np.full(len(right), solver, object)
    names = dict.fromkeys(chosen)
    if len(names) == 1:
        found = SOLVERS[next(iter(names))](at, right, tolerance)
    else:
        found = at.adjoints()
        for name in names:
            fill(found, chosen == name, SOLVERS[name](at.some(chosen == name), right[chosen == name], tolerance))
    for name in _others(at) if solver == "auto" else ():
        rest = (found.status != SOLVED) & (chosen != name)
        if rest.any():
            chosen[rest] = name
            fill(found, rest, SOLVERS[name](at.some(rest), right[rest], tolerance))
    return found, chosen.astype(str)


def fill(found: kernels.Adjoints, rows: np.ndarray, part: kernels.Adjoints) -> None:
    """Write what was found for the rows of a mask."""
    for whole, values in zip(found, part, strict=True):
        whole[rows] = values


# --- factorisations, state by state ----------------------------------------------------------------------------------
#
# Dead neurons drop out: with D the dead and A the others, Λ_D = 0 leaves a_D = e_D in system (1), and Λ_D a_D = 0 in
# system (5). Both have the matrix M = I − Λ_A W_AAᵀ.


def _by_rows(
    at: Linearised, right: np.ndarray, factorise: Callable[[Linearised, int, np.ndarray], np.ndarray | None]
) -> kernels.Adjoints:
    found = at.adjoints()
    status = np.full(len(right), NOT_FINITE, np.int8)
    usable = np.isfinite(at.slopes).all(axis=1) & np.isfinite(right).all(axis=1)
    with one_blas_thread():
        for row in np.flatnonzero(usable).tolist():
            adjoint = factorise(at, row, right[row].astype(np.float64))
            solved = adjoint is not None and np.isfinite(adjoint).all()
            status[row] = SOLVED if solved else UNSOLVED
            found.state[row] = adjoint if solved else np.nan
    at.run(at.problem(right, WIDE, most=1), found, WIDE)  # what is left of the equation, and Wᵀa or Λa
    found.status[:], found.products[:] = status, 0
    return found


def _general(at: Linearised, row: int, e: np.ndarray) -> np.ndarray | None:
    W, slopes = at.W[at.owners[row]], at.slopes[row]
    inside = at.memory.system.residual.is_value
    alive = np.ones(len(e), bool) if not at.pointwise.all() else slopes != 0
    if at.pointwise.all():
        image = slopes[alive, None] * W[np.ix_(alive, alive)].T
        first = slopes[alive] * (e[alive] if inside else W[np.ix_(~alive, alive)].T @ e[~alive])
    else:
        Lam = at.Lam(row)
        image = Lam @ W.T
        first = Lam @ e if inside else np.zeros(len(e))
    solved = _solved(lapack.dgesv, image, first if inside else first + e[alive])
    if solved is None:
        return None
    if inside:  # what was solved for is Λ a
        return np.asarray(e + W[alive].T @ solved)
    adjoint = e.copy()
    adjoint[alive] = solved
    return adjoint


def _positive(at: Linearised, row: int, e: np.ndarray) -> np.ndarray | None:
    if not at.similar:
        return None
    W, alive = at.W[at.owners[row]], at.slopes[row] > 0
    root = np.sqrt(at.slopes[row][alive])
    inside = at.memory.system.residual.is_value
    part = root[:, None] * W[np.ix_(alive, alive)] * root
    first = root * (e[alive] if inside else W[alive] @ e)
    solved = _solved(lapack.dposv, part, first)
    if solved is None:
        return None
    adjoint = e.copy()
    if inside:
        adjoint += W[:, alive] @ (root * solved)
    else:
        adjoint[alive] += root * solved
    return adjoint


def _solved(routine: Callable[..., tuple[Any, ...]], image: np.ndarray, right: np.ndarray) -> np.ndarray | None:
    """Return (I − image)⁻¹ right; None where a pivot vanishes. LAPACK takes no empty matrix."""
    if not right.size:
        return right
    *_, solved, failed = routine(np.eye(len(image)) - image, right)
    return None if failed else np.asarray(solved)
