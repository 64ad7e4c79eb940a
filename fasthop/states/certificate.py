"""Certain ends: when a trajectory of a ReLU memory with positive definite W can only go to one steady state.

For W > 0 energy E2 of arXiv 2410.13866, section 4, is a Lyapunov function of system (1) itself (R = I), and it has no
flat directions from dead neurons. In y = W u + b

    E2(y) = ½ (y − b)ᵀ W⁻¹ (y − b) − ½ |relu(y)|²,  ẏ = −W ∇E2(y),  dE2/dt = −hᵀ W⁻¹ h,  h = W relu(y) − y + b.

Let no I − W_σσ be singular, σ any set of neurons, and no steady state have a neuron at 0. Then:

1. Steady states are finitely many and nondegenerate, ∇²E2 = W⁻¹ − Λ being singular only where some I − W_σσ is. Those
   that are stable under (1) are the minima of E2.
2. Where ∇E2 is small y is bounded: ∇E2(y) = ∇q(y) − W⁻¹ b with ∇q(z) = W⁻¹ z − relu(z) homogeneous of degree one, and
   ∇q(z) = 0 would mean (I − W_σσ) z_σ = 0 with σ = {z > 0}, so z = 0. So |∇q(z)| ≥ ε |z|, and E2 meets the condition
   of Palais and Smale, be it bounded below or not.
3. For a minimum m let c_m be the lowest energy above E2(m) of a steady state that is no minimum (∞ without one), and C
   the part of {E2 < c_m} connected to m. Then m is the only steady state in C, and E2 > E2(m) elsewhere in C. For let
   there be another point in C with E2 ≤ E2(m), or another minimum in C above m. A path in C joins the two, below c_m,
   and the higher of them is a strict minimum, so that the mountain pass theorem (Ambrosetti, Rabinowitz, J. Funct.
   Anal. 14:349, 1973) gives a steady state between E2(m) and c_m, one that is no strict minimum (Hofer, J. London Math.
   Soc. 31:566, 1985). By the choice of c_m there is none.
4. A trajectory in C stays in C, since E2 falls; it is bounded below by E2(m), so h comes to vanish along a bounded
   sequence (2.), whose limit is a steady state in C: m. A strict minimum that is come near to is not left: y → m.

5. E2 is bounded below just where I − W is strictly copositive: with −½|relu(x)|² = min over r ≥ 0 of ½|r|² − r·x, the
   infimum of E2 is that of ½ rᵀ(I − W) r − b·r. And this is so just where the memory of W with all b_i = −1 has no
   other steady state than y = −1: where rᵀ(I − W) r has a minimum μ < 0 over r ≥ 0, Σr = 1, that r is |μ| relu(y) of
   one. Then every trajectory below all steady states that are no minima goes to some minimum below it.

So the end of y is certain where a path from y to a minimum m stays below c_m. The path tried here is the straight line,
along which E2 is piecewise quadratic, so that its maximum is known exactly. Near m the line is short: every trajectory
that ends in a minimum becomes certain some time before.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fasthop import checks
from fasthop.model.memory import Memory
from fasthop.model.scope import refuse
from fasthop.runtime import one_blas_thread, workers_for
from fasthop.states.enumeration import exact_states, why_not_exact
from fasthop_kernels import enumeration as kernels

#: Energies closer than this, relative to their size, are not told apart: what is certain is so by more than rounding.
_MARGIN = 1e-9

#: Pairs of a state and a minimum that are looked at together: numbers of the path, 8 MiB.
_BATCH = 2**20


class Certificate:
    """Which states of a ReLU memory with positive definite W have a certain end; the proof is in the module's text.

    Parameters
    ----------
    memory : Memory
        One memory of system (1), symmetric positive definite W, all neurons ReLU, at most 24; float64.

    Attributes
    ----------
    minima : float64 array, shape (M, N)
        The stable states, by energy.
    energy, barrier : float64 arrays, shape (M,)
        E2 of each, and c_m, the lowest energy above it of a steady state that is no minimum; ∞ where there is none. One
        that rounding does not tell from E2(m) counts as above it: such an m is never certain.
    bounded : bool
        Whether E2 is bounded below, so that no trajectory runs away.

    Raises
    ------
    ValueError
        Where the memory is another one, or has degenerate steady states.
    """

    def __init__(self, memory: Memory) -> None:
        refuse(memory, "Certificate")
        if why_not := why_not_exact(memory):
            raise ValueError(f"memory must be one whose states can be enumerated: {why_not}")
        if memory.tau is not None or not memory.symmetric:
            raise ValueError("memory must have symmetric W and system (1), without R or tau.")
        W, b = np.array(memory.W, np.float64), np.array(memory.b, np.float64)
        with one_blas_thread():
            values, vectors = np.linalg.eigh(W)
            if values[0] <= _MARGIN * values[-1]:
                raise ValueError(f"W must be positive definite; its smallest eigenvalue is {values[0]:.3g}.")
            self._inverse = (vectors / values) @ vectors.T
        workers = workers_for(-(-(1 << len(b)) // kernels.CHUNK))
        found = exact_states(W, b, workers)
        if found.singular or found.degenerate.any() or (found.definite == kernels.UNDECIDED).any():
            raise ValueError(
                "memory must have no degenerate steady state and no singular I − W_σσ, of which E2 says less."
            )
        self.bounded = len(exact_states(W, -np.ones(len(b)), workers).y) == 1
        self._b = b
        energies = self.energy_of(found.y)
        order = np.argsort(energies[found.stable], kind="stable")
        self.minima = found.y[found.stable][order]
        self.energy = energies[found.stable][order]
        others = energies[~found.stable]
        self._lowest_other = float(others.min(initial=np.inf))
        size = np.maximum(1, np.abs(energies).max(initial=0))
        above = others[None, :] >= self.energy[:, None] - _MARGIN * size
        self.barrier = np.where(above, others[None, :], np.inf).min(axis=1, initial=np.inf)

    def energy_of(self, states: Any) -> np.ndarray:
        """Return E2 of states y, shape (B, N), as an array of shape (B,)."""
        y = self._states(states)
        with one_blas_thread():
            away = y - self._b
            return np.asarray(((away @ self._inverse) * away - np.square(np.maximum(y, 0))).sum(axis=1) / 2)

    def end_of(self, states: Any) -> np.ndarray:
        """Return the minimum that the trajectory from each state is certain to go to, −1 where none is.

        Parameters
        ----------
        states : array_like, shape (B, N)
            y.

        Returns
        -------
        int64 array, shape (B,)
            Indices into `minima`.
        """
        y = self._states(states)
        energies, ends = self.energy_of(y), np.full(len(y), -1)
        room = _MARGIN * np.maximum(1, np.abs(energies))
        for index, barrier in enumerate(self.barrier):
            # Two minima cannot both be certain: from one the other is behind its barrier.
            tried = np.flatnonzero((ends < 0) & (energies < barrier - room) & (energies >= self.energy[index] - room))
            for at in range(0, len(tried), self._batch):
                rows = tried[at : at + self._batch]
                highest = energies[rows] + self._climb(y[rows], self.minima[index])
                ends[rows[highest < barrier - room[rows]]] = index
        return ends

    def end_by_energy(self, states: Any) -> np.ndarray:
        """Return the same by energy alone: below every steady state that is no minimum, and above one minimum only.

        It needs an E2 that is bounded below: otherwise what is as low may run away.

        Parameters
        ----------
        states : array_like, shape (B, N)

        Returns
        -------
        int64 array, shape (B,)
            0 or −1: only the lowest minimum can be found like this.
        """
        energies = self.energy_of(states)
        room = _MARGIN * np.maximum(1, np.abs(energies))
        ceiling = min(self._lowest_other, *self.energy[1:2], np.inf) if self.bounded else -np.inf
        return np.where(energies < ceiling - room, 0, -1)

    def _states(self, states: Any) -> np.ndarray:
        return checks.real_array("states", states, np.float64, shape=("B", len(self._b)))

    def _climb(self, y: np.ndarray, minimum: np.ndarray) -> np.ndarray:
        """Return how far E2 rises above E2(y), at most, on the straight line from each y to a minimum."""
        d = minimum - y
        with one_blas_thread():
            turned = d @ self._inverse
        slope, curve = (turned * (y - self._b)).sum(axis=1), (turned * d).sum(axis=1)
        # The line crosses y_i = 0 where a piece of E2 ends and the next begins.
        with np.errstate(divide="ignore", invalid="ignore"):
            crossings = np.where(d != 0, -y / d, 0.0)
        s = np.concatenate([np.zeros((len(y), 1)), np.clip(crossings, 0, 1), np.ones((len(y), 1))], axis=1)
        s.sort(axis=1)
        alive = np.maximum(y[:, None] + s[:, :, None] * d[:, None], 0)
        start = np.square(np.maximum(y, 0)).sum(axis=1)[:, None]
        height = s * (slope[:, None] + s * curve[:, None] / 2) - (np.square(alive).sum(axis=2) - start) / 2
        rise = slope[:, None] + s * curve[:, None] - (alive * d[:, None]).sum(axis=2)
        # Within a piece the slope goes linearly from one end's to the other's: a top lies between + and −.
        first, last, width = rise[:, :-1], rise[:, 1:], np.diff(s, axis=1)
        top = (first > 0) & (last < 0)
        inside = height[:, :-1] + np.where(top, first * first * width / np.where(top, 2 * (first - last), 1.0), 0.0)
        return np.asarray(np.maximum(height.max(axis=1), inside.max(axis=1)))

    @property
    def _batch(self) -> int:
        n = len(self._b)
        return max(1, _BATCH // (n * (n + 2)))
