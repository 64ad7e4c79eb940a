"""Steady states as far as a gradient asks: Krylov spaces of J, its outermost eigenvalues, stability of the flow."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np

from fasthop.derivatives import batches
from fasthop.equilibrium.equations import NARROW, WIDE, Equations
from fasthop.equilibrium.spectra import Spectrum, exact, ritz
from fasthop.fields import spans
from fasthop.runtime import one_blas_thread
from fasthop_kernels import adjoint as kernels
from fasthop_kernels.flows import GRADIENT, NONE, OUTSIDE

#: Up to this N all eigenvalues of every J are computed; above it the outermost Ritz values of a Krylov space.
EXACT = 32
#: Dimensions of that space by GMRES, and by MINRES, whose eigenvalues are cheaper.
COLUMNS = {kernels.GMRES: 24, kernels.MINRES: 32}
#: Where a Ritz value does not say on which side of 1 an eigenvalue is, the space grows by these factors; then all
#: eigenvalues are computed, up to this N.
GROWTH, LARGE = (2, 4), 512
#: Dimensions after which a solver restarts. MINRES keeps no basis, and does so only to correct rounding.
RESTART = {kernels.GMRES: 24, kernels.MINRES: 400}


class Space(NamedTuple):
    """The matrices of I − J in the Krylov spaces of all states, (B, m + 1, m), and how many columns each has, (B,)."""

    hessenberg: np.ndarray
    columns: np.ndarray
    symmetric: bool


class Linearised(Equations):
    """Steady states with their spectra. A solver that builds Krylov spaces leaves the first one for the spectrum."""

    _space: Space | None = None

    def some(self, rows: np.ndarray) -> Self:
        """Return the states of a mask of shape (B,), or of indices, with what is known of them."""
        part = super().some(rows)
        part.__dict__.pop("stable", None)
        if "spectrum" in part.__dict__:
            part.spectrum = self.spectrum.some(rows)
        if self._space is not None:
            part._space = Space(self._space.hessenberg[rows], self._space.columns[rows], self._space.symmetric)
        return part

    # --- Krylov spaces ----------------------------------------------------------------------------------------------

    def gmres(self, right: np.ndarray, tolerance: float, most: int, columns: int = 0) -> kernels.Adjoints:
        """Solve by GMRES; with `columns` make a space of so many dimensions instead."""
        found = self.adjoints()
        found.state[:] = _generic(right)
        self._explore(self.problem(right, NARROW, tolerance, most), found, kernels.GMRES, columns)
        return found

    def minres(self, right: np.ndarray, tolerance: float, most: int, columns: int = 0) -> kernels.Adjoints:
        """Solve by MINRES where J is `similar` to a symmetric matrix; `columns` as for GMRES.

        (I − √Λ W √Λ) z = √Λ W e and a = e + √Λ z; for system (5) (I − √Λ W √Λ) z = √Λ e and a = e + W √Λ z.
        """
        root, inside = np.sqrt(self.slopes).astype(self.memory.dtype), self.memory.variable == "u"
        e = np.ascontiguousarray(right, self.memory.dtype)
        first = root * (e if inside else self.weighted(e))
        z = self.adjoints()
        z.state[:] = _generic(first)

        def go_on(goal: float) -> np.ndarray:
            self._explore(self.problem(first, NARROW, goal, most)._replace(slopes=root), z, kernels.MINRES, columns)
            step = root * z.state
            return np.asarray(e + (self.weighted(step) if inside else step))

        return self.substituted(right, tolerance, most, z, go_on)

    def substituted(
        self, right: np.ndarray, tolerance: float, most: int, z: kernels.Adjoints, go_on: Callable[[float], np.ndarray]
    ) -> kernels.Adjoints:
        """Solve by way of another unknown z; `go_on(goal)` solves for that and returns the a that it means.

        What is left of a can be more than what is left of z: then z must do better.
        """
        found = self.adjoints()
        for goal in (tolerance, tolerance / 16, tolerance / 256):
            found.state[:] = go_on(goal)
            found.status[:] = -1
            self.run(self.problem(right, WIDE, tolerance, most=1), found, WIDE)
            again = (found.status == kernels.UNSOLVED) & (z.products < most)
            if not again.any():
                break
            z.status[again] = -1
        found.products[:] = z.products
        return found

    def weighted(self, x: np.ndarray) -> np.ndarray:
        """Return Wᵀ x of every row."""
        found = self.adjoints()
        found.state[:] = x
        outside = self.tables._replace(system=OUTSIDE)
        return np.asarray(self.run(self.problem(x, WIDE, most=1), found, WIDE, outside).between)

    def _explore(self, problem: kernels.Problem, found: kernels.Adjoints, kind: int, columns: int) -> None:
        """Run the kernel with Krylov spaces, and keep the first of them if there is none yet."""
        n, new = self.memory.neurons, self._space is None and "spectrum" not in self.__dict__
        restart, kept = min(columns or RESTART[kind], max(n, 2)), min(columns or COLUMNS[kind], n) if new else 0
        space = Space(
            hessenberg=np.zeros((len(self.states), kept + 1, kept), self.memory.dtype),
            columns=np.full(len(self.states), -1),
            symmetric=kind == kernels.MINRES,
        )
        tables = self.tables._replace(system=OUTSIDE) if space.symmetric else None
        kernel = {"kind": kind, "dimensions": restart, "hessenberg": space.hessenberg, "columns": space.columns}
        self.run(problem, found, NARROW, tables, **kernel)
        if new:
            self._space = space

    # --- spectrum and stability -------------------------------------------------------------------------------------

    @cached_property
    def spectrum(self) -> Spectrum:
        """The outer end of the spectrum: exact up to N = 32, above it of a Krylov space."""
        finite = np.isfinite(self.arguments).all(axis=1) & np.isfinite(self.slopes).all(axis=1)
        found = Spectrum.unknown(len(self.states))
        if finite.any():
            part = self.some(finite)
            few = self.memory.neurons <= EXACT
            found.fill(finite, exact(part.jacobians()) if few else part._outermost())
        return found

    def _outermost(self) -> Spectrum:
        """Return the outermost Ritz values, and better ones where these do not say on which side of 1 they are."""
        columns = COLUMNS[self._kind]
        found = ritz(*(self._space or self._grown(columns)))
        for factor in GROWTH:
            rows = found.undecided
            if not rows.any():
                return found
            if factor * columns < self.memory.neurons:
                found.fill(rows, ritz(*self.some(rows)._grown(factor * columns)))
        rows = found.undecided
        if rows.any() and self.memory.neurons <= LARGE:
            found.fill(rows, exact(self.some(rows).jacobians()))
        return found

    def _grown(self, columns: int) -> Space:
        """Return spaces of so many dimensions."""
        self._space = None
        self.first_space(np.zeros_like(self.states), -1.0, columns)
        assert self._space is not None
        return self._space

    def first_space(self, right: np.ndarray, tolerance: float, columns: int = 0) -> kernels.Adjoints:
        """Solve as far as one Krylov space goes: the residual at the start, and the space."""
        columns = columns or COLUMNS[self._kind]
        return (self.minres if self.similar else self.gmres)(right, tolerance, 2, columns)

    @property
    def _kind(self) -> int:
        return kernels.MINRES if self.similar else kernels.GMRES

    @cached_property
    def stable(self) -> np.ndarray:
        """Whether the flow that reached a state leaves it nowhere: judged by R (J − I), shape (B,)."""
        memory, code = self.memory, self.memory.drive.code
        if code == GRADIENT:  # −(I − J)ᵀ(I − J)
            return np.ones(len(self.states), bool)
        monotone = all(kind.monotone for _, kind in spans(memory))
        # Positive 1/τ does not change the signs of eigenvalues where those of W Λ are all real.
        if code == NONE and (memory.tau is None or (memory.symmetric and monotone)):
            return np.asarray(self.spectrum.lambda_max < 1)
        found = np.zeros(len(self.states), bool)
        finite = np.isfinite(self.slopes).all(axis=1)
        with one_blas_thread():
            for rows in batches(np.flatnonzero(finite), memory.neurons):
                found[rows] = self.some(rows)._decays()
        return found

    def _decays(self) -> np.ndarray:
        """Say where no eigenvalue of R (J − I) is positive; those of dead neurons may be 0 where R = Λ."""
        flow = self.flow_jacobians()
        largest = np.linalg.eigvals(flow).real.max(axis=1)
        return np.asarray(largest <= 1e-12 * np.maximum(1.0, np.abs(flow).max(axis=(1, 2))))


def _generic(right: np.ndarray) -> np.ndarray:
    """Return a start for every row, as large as its right-hand side, that no structured J is blind to.

    An irrational rotation fills the directions: the Krylov space is then not one of e alone, which may lie in a part of
    the neurons that others do not reach.
    """
    direction = np.modf((np.arange(right.shape[1]) + 1) * 0.6180339887498949)[0] - 0.5
    size = np.abs(right).max(axis=1, keepdims=True)
    return np.asarray(np.where(size > 0, size, 1) * direction)
