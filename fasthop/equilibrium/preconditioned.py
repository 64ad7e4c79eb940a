"""One factorisation for all states of a memory: the adjoint equation preconditioned by the mean of Λ.

States of one memory share W and differ in Λ alone. Written for q = a, or q = Λa in system (5), the equation is
(I − ΛWᵀ) q = f, with f = e or Λe. The mean Λ̄ of the batch gives M = (I − Λ̄Wᵀ)⁻¹, and q = M z turns the equation into

    z = (Λ − Λ̄) V z + f,    V = WᵀM,    q = z + Λ̄ V z:

the same form, at one product with a matrix a dimension, with the spread of Λ where Λ was. Preconditioning from the
right leaves the residual as it is (Y. Saad, Iterative Methods for Sparse Linear Systems, section 9.3.1).
"""

from __future__ import annotations

import numpy as np

from fasthop.equilibrium.equations import NARROW
from fasthop.equilibrium.linearised import RESTART, Linearised
from fasthop.model.weights import Dense
from fasthop.runtime import one_blas_thread
from fasthop_kernels.dynamics.flows import OUTSIDE
from fasthop_kernels.dynamics.tables import Tables
from fasthop_kernels.linear import adjoint as kernels

#: States of a memory, as a share of N, from which on one factorisation costs less than the products it saves.
WORTH = 1 / 8
#: Numbers of V beside those of the weights up to which a product with V is cheap enough.
DEARER = 2
#: Products with V after which a row is left unsolved.
MOST = 400


def worth_it(at: Linearised) -> bool:
    """Whether V has few numbers more than the weights, and many states share it; only for elementwise g."""
    n, count = at.memory.neurons, at.memory.count or 1
    numbers = (at.weights.blocks[:, 2] * at.weights.blocks[:, 3]).sum()
    dense = at.weights.blocks[:, 6].max(initial=0) == 0 and n * n <= DEARER * numbers
    return bool(at.pointwise.all() and dense and len(at.states) >= WORTH * n * count)


def preconditioned(at: Linearised, right: np.ndarray, tolerance: float) -> kernels.Adjoints:
    """Solve by GMRES with one factorisation for all states of a memory: needs elementwise g.

    The first Krylov space is that of J itself, which the spectrum needs; from what it leaves GMRES goes on for z. Where
    the mean makes a singular matrix, or one so near to it that rounding shows, rows are left unsolved.
    """
    if not at.pointwise.all():
        found = at.adjoints()
        found.status[:] = kernels.UNSOLVED
        return found
    found = at.first_space(right, tolerance)
    mean = _mean_slopes(at)
    tables = _preconditioned(at, mean)
    if tables is None:
        return found
    kind, inside = at.memory.dtype, at.memory.system.residual.is_value
    e, lam = np.ascontiguousarray(right, kind), at.slopes.astype(kind)
    center = mean[at.owners].astype(kind)
    dimensions = min(RESTART[kernels.GMRES], max(at.memory.neurons, 2))
    q, z = found.between if inside else found.state, at.adjoints()
    z.state[:] = q - center * (at.weighted(q) if inside else found.between)
    f = lam * e if inside else e

    def go_on(goal: float) -> np.ndarray:
        problem = at.problem(f, NARROW, goal, MOST)._replace(slopes=lam - center)
        at.run(problem, z, NARROW, tables, kind=kernels.GMRES, dimensions=dimensions)
        q = z.state + center * z.between
        return np.asarray(e + at.weighted(q) if inside else q)

    solved = at.substituted(right, tolerance, MOST, z, go_on)
    solved.products[:] += found.products
    return solved


def _mean_slopes(at: Linearised) -> np.ndarray:
    """Return Λ̄ of every memory, float64, shape (K, N).

    Of slopes in units of 2⁻³⁰, whose sums are exact: the order of the batch does not show in the bits.
    """
    mean = np.zeros((at.memory.count or 1, at.memory.neurons))
    for owner in np.unique(at.owners).tolist():
        mean[owner] = np.rint(at.slopes[at.owners == owner] * 2.0**30).mean(axis=0) / 2.0**30
    return mean


def _preconditioned(at: Linearised, mean: np.ndarray) -> Tables | None:
    """Return the tables of system (1) with V in place of Wᵀ, or None where I − Λ̄Wᵀ is singular or not finite."""
    with one_blas_thread():
        try:
            # V = Wᵀ (I − Λ̄Wᵀ)⁻¹, so that Vᵀ solves (I − W Λ̄) Vᵀ = W.
            transposed = np.linalg.solve(np.eye(at.memory.neurons) - at.W * mean[:, None, :], at.W)
        except np.linalg.LinAlgError:
            return None
    if not np.isfinite(transposed).all():
        return None
    dense = Dense(transposed)
    return at.tables._replace(
        blocks=dense.blocks,
        mirror=dense.mirror,
        weights=np.ascontiguousarray(dense.stored, at.memory.dtype),
        system=OUTSIDE,
    )
