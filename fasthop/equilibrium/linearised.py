"""Steady states as far as a gradient asks: Krylov spaces of J, its outermost eigenvalues, stability of the flow."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np

from fasthop.dynamics.jacobians import batches
from fasthop.equilibrium.equations import NARROW, WIDE, Equations
from fasthop.equilibrium.spectra import Spectrum, abscissae, are_below, exact, ritz
from fasthop.model.norms import generic_direction
from fasthop.runtime import one_blas_thread
from fasthop_kernels.dynamics.flows import OUTSIDE
from fasthop_kernels.linear import adjoint as kernels

#: Up to this N all eigenvalues of every J are computed; above it the outermost Ritz values of a Krylov space.
EXACT = 32
#: Dimensions of that space by GMRES, and by MINRES, whose eigenvalues are cheaper.
COLUMNS = {kernels.GMRES: 24, kernels.MINRES: 32}
#: Up to this N it is proven that no eigenvalue lies beyond, or all are computed: where a diagonal makes J symmetric, so
#: that this costs a tenth, and where none does.
LARGE = {True: 2048, False: 512}
#: Where no diagonal makes J symmetric, all eigenvalues cost a hundred gradients: above so many neurons they are
#: computed only where the Ritz value is near 1. Of random J with λ_max between 1 and 1.1, N = 200, 4 % have one below
#: .85.
DENSE, NEAR = 100, 0.85
#: A bound must leave this share of the distance of the Ritz value to 1; a proof by Cholesky is tried beyond the Ritz
#: value by its residual, and by that other share.
SHARE, ROOM = 0.1, 0.01
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
        root, inside = np.sqrt(self.slopes).astype(self.memory.dtype), self.memory.system.residual.is_value
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
        """The outer end of the spectrum: of all eigenvalues up to N = 32, above it of a Krylov space, with a bound."""
        finite = np.isfinite(self.arguments).all(axis=1) & np.isfinite(self.slopes).all(axis=1)
        found = Spectrum.unknown(len(self.states))
        if finite.any():
            found.fill(finite, self.some(finite)._outermost())
        return found

    def _outermost(self) -> Spectrum:
        """Return Ritz values with a bound below 1 on all eigenvalues, or all eigenvalues where there is none."""
        n, every = self.memory.neurons, np.arange(len(self.states))
        if n <= EXACT:
            found = Spectrum.unknown(len(every))
            for rows in batches(every, n):
                found.fill(rows, self.some(rows)._exact())
            return found
        guess = ritz(*(self._space or self._grown(COLUMNS[self._kind])))
        if n > LARGE[self._symmetric and bool(self.pointwise.all())]:
            return guess._replace(error=np.full(len(every), np.inf))
        upper = self._bound()
        found = guess.below(upper)
        unproven = ~_serves(upper, guess)
        if n > DENSE and not self._symmetric:
            estimated = unproven & (guess.lambda_max < NEAR)
            found.fill(estimated, guess._replace(error=np.full(len(every), np.inf)).some(estimated))
            unproven &= ~estimated
        for rows in batches(every[unproven], n):
            found.fill(rows, self.some(rows)._proven(guess.some(rows)))
        return found

    def _bound(self) -> np.ndarray:
        """Return what no eigenvalue exceeds by the symmetric part of W; infinite where Λ has no root.

        It is max(ω, 0) ‖Λ‖ with ω that of the memory. Where Λ is diagonal, that of √Λ W √Λ with the largest Λ of every
        neuron in all states of the memory is less, and often enough: a congruence, it grows with Λ where it is not
        negative.
        """
        if not self.rooted:
            return np.full(len(self.states), np.inf)
        free = ~self.memory.weights.held
        if self.pointwise.all():
            highest = np.zeros((len(self.W), len(free)))
            np.maximum.at(highest, self.owners, self.slopes)
            root = np.sqrt(highest[:, free])
            framed = root[:, :, None] * self.W[:, free][:, :, free] * root[:, None, :]
            return np.asarray(np.maximum(abscissae(framed), 0)[self.owners])
        omega = np.maximum(abscissae(self.W[:, free][:, :, free]), 0)
        steepest = np.zeros(len(self.states))
        for span, kind in self.memory.spans:
            if free[span].all():
                part = self.slopes[:, span]  # of a block, their sum is that of its eigenvalues
                largest = np.minimum(part.sum(axis=1), kind.max_slope) if kind.blockwise else part.max(axis=1)
                steepest = np.maximum(steepest, largest)
        return np.asarray(omega[self.owners] * steepest)

    def _proven(self, guess: Spectrum) -> Spectrum:
        """Return a guess with a bound below 1 that is proven for each state, or else all its eigenvalues."""
        matrices = self.framed()
        if self._symmetric:
            upper = guess.lambda_max + np.maximum(guess.error, ROOM * (1 - guess.lambda_max))
            proven = _serves(upper, guess)
            proven[proven] = are_below(matrices[proven], upper[proven])
        else:
            upper = abscissae(matrices)
            proven = _serves(upper, guess)
        found = guess.below(np.maximum(upper, 0) if self.memory.weights.held.any() else upper)
        if not proven.all():
            found.fill(~proven, self.some(~proven)._exact())
        return found

    def _exact(self) -> Spectrum:
        """Return what all eigenvalues say."""
        found = exact(self.framed(), self._symmetric)
        held = self.memory.weights.held.any()  # each of them has the eigenvalue 0
        return found._replace(lambda_max=np.maximum(found.lambda_max, 0)) if held else found

    @property
    def _symmetric(self) -> bool:
        """Whether `framed` is symmetric."""
        return self.rooted and self.memory.weights.symmetric_when_held

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
        memory, factor = self.memory, self.memory.system.factor
        if factor.is_descent:
            return np.ones(len(self.states), bool)
        # Positive 1/τ does not change the signs of eigenvalues where those of W Λ are all real.
        if factor.is_identity and (memory.tau is None or (memory.symmetric and memory.monotone)):
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


def _serves(upper: np.ndarray, guess: Spectrum) -> np.ndarray:
    """Say where a bound on all eigenvalues is well below 1, beside a guess that is."""
    return np.asarray((guess.lambda_max < 1) & (1 - upper >= SHARE * (1 - guess.lambda_max)))


def _generic(right: np.ndarray) -> np.ndarray:
    """Return a start for every row, as large as its right-hand side, that no structured J is blind to.

    The Krylov space is then not one of e alone, which may lie in a part of the neurons that others do not reach.
    """
    size = np.abs(right).max(axis=1, keepdims=True)
    return np.asarray(np.where(size > 0, size, 1) * generic_direction(right.shape[1]))
