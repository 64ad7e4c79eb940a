"""Stability of steady states: the spectrum of a memory linearised there, on the range of Λ.

arXiv 2410.13866, section 3.2: S = W_⊥ Λ_⊥ − I with W_⊥ = V_⊥ᵀ W V_⊥ off the dead directions V, of which the full
W Λ − I knows only the eigenvalue −1. All eigenvalues with a negative real part make a state stable, one with a positive
real part unstable; one with real part zero decides nothing.

Systems with the same steady states do not agree on which are stable. In the gradient flows of E3 and (10) every
nondegenerate steady state is stable, saddles of system (1) among them; under E2 with R = W or its polar factor and an
indefinite W none is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import pandas as pd
from scipy.sparse import linalg as sparse

from fasthop.dynamics.evaluate import (
    as_states,
    blockwise,
    curvature,
    relative,
    residuals,
    slopes,
    thin_curvature,
)
from fasthop.dynamics.jacobians import batches, flow_jacobians, jacobians
from fasthop.model.memory import Memory
from fasthop.model.norms import generic_direction
from fasthop.model.scope import refuse
from fasthop.results import Result, counts, extent
from fasthop.runtime import one_blas_thread
from fasthop.states.dead import DeadNeurons, dead_neurons

VERDICTS = ("stable", "unstable", "undecided", "not_steady")

#: A real part of at most this times the norm of the matrix is a zero; the residual relative to max(1, |y_i|) from which
#: on a state is not steady; and the distance of a neuron from a jump of Λ at which it stands on it.
_ZERO = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-4}
STEADY = {np.dtype(np.float64): 1e-6, np.dtype(np.float32): 1e-3}
_KINK = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-4}

#: Neurons above which only the largest eigenvalue is computed, by Lanczos's or Arnoldi's method.
LARGE = 400

#: Restarts of Lanczos's or Arnoldi's method; where more are needed the end of the spectrum is crowded, LAPACK faster.
_RESTARTS = 30


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Stability(Result):
    """What a memory linearised at its steady states says.

    Attributes
    ----------
    verdict : str array, shape (B,)
        "stable", "unstable", "undecided" (an eigenvalue with real part zero, or a state on a jump of Λ) or
        "not_steady" (the residual does not vanish: nothing to be stable).
    largest : float64 array, shape (B,)
        The largest real part; −inf where all neurons are dead, which leaves the eigenvalue −1 alone.
    k : int64 array, shape (B,)
        Dead directions, which have no part in the spectrum of system (1).
    spectrum : float64 or complex128 array, shape (B, N), or None
        Ascending by real part, NaN in the last places where directions are dead or held; None above 400 neurons.
    """

    verdict: np.ndarray
    largest: np.ndarray
    k: np.ndarray
    spectrum: np.ndarray | None

    def to_frame(self) -> pd.DataFrame:
        """One row per state: verdict, largest, k."""
        return pd.DataFrame(
            {"verdict": pd.Categorical(self.verdict, list(VERDICTS)), "largest": self.largest, "k": self.k}
        )

    def in_short(self) -> str:
        """Say how many are stable, and where the largest eigenvalues are."""
        return f"{len(self.k)} states: {counts(self.verdict)}; {extent('largest', self.largest)}"


def stability(memory: Memory, states: Any) -> Stability:
    """Return the spectrum of a memory linearised at its steady states, and whether they are stable.

    For systems (1) and (5) with R = I that of S = W_⊥ Λ_⊥ − I (divided by the time constants), in the symmetric form
    √Λ W √Λ − I where W is symmetric and Λ ≥ 0. For other systems that of R times the Jacobian of the residual, dead
    directions included, because R mixes them in: where R = Λ each has an eigenvalue 0.

    Neurons that are held (`clamp`) have no part in it: the spectrum is that of the others.

    Where Λ jumps, its larger value is taken. For system (1) with symmetric W and Λ ≥ 0 a state that is stable with it
    is stable with any smaller one; in all other cases the state is undecided.

    Parameters
    ----------
    memory : Memory
        One memory.
    states : array_like, shape (B, N) or (N,)
        Steady states of it, y or u; one state is taken as a batch of one.

    Returns
    -------
    Stability

    Raises
    ------
    TypeError, ValueError
        Where states have another width, or are NaN or infinite.
    """
    refuse(memory, "stability")
    array, _ = as_states(memory, states)
    left, arguments = residuals(memory, array)
    dead = dead_neurons(memory, array)
    slope, kinked = _slopes_at_kinks(memory, arguments)
    alive = (~dead.neurons | kinked) & ~memory.weights.held
    plain = memory.system.factor.is_identity
    symmetric = plain and memory.weights.symmetric_when_held and memory.monotone
    with one_blas_thread():
        if plain and not blockwise(memory):
            values, largest, scale = _elementwise(memory, slope, alive, symmetric)
        else:
            values, largest, scale = _full(memory, dead, symmetric)

    zero = _ZERO[memory.dtype] * np.maximum(1, scale)
    verdict = np.full(len(array), "undecided", "U10")
    verdict[largest > zero], verdict[largest < -zero] = "unstable", "stable"
    on_jump = kinked.any(axis=1)
    verdict[on_jump & ~((verdict == "stable") & symmetric)] = "undecided"
    verdict[~(relative(left, array) <= STEADY[memory.dtype])] = "not_steady"
    return Stability(verdict, largest, dead.k, values)


def _slopes_at_kinks(memory: Memory, arguments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the diagonal of Λ, the larger one where it jumps, and where that is."""
    slope, kinked = slopes(memory, arguments), np.zeros(arguments.shape, bool)
    near = _KINK[memory.dtype] * np.maximum(1, np.abs(arguments))
    for span, kind in memory.spans:
        for place in kind.kinks:
            kinked[:, span] |= np.abs(arguments[:, span] - place) <= near[:, span]
    if kinked.any():
        sides = (slopes(memory, (arguments + side * 2 * near).astype(memory.dtype)) for side in (-1, 1))
        slope = np.where(kinked, np.maximum(*sides), slope)
    return slope, kinked


def _elementwise(
    memory: Memory, slope: np.ndarray, alive: np.ndarray, symmetric: bool
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """Return spectrum, largest real part and norm for diagonal Λ: only alive neurons, in groups of equal number."""
    W, n = memory.W.astype(np.float64), memory.neurons
    rate = np.ones(n) if memory.tau is None else 1.0 / memory.tau
    counts = alive.sum(axis=1)

    def matrices(rows: np.ndarray) -> np.ndarray:
        size = counts[rows[0]]
        # The alive neurons of every row, in order: a stable sort of False before True.
        index = np.argsort(~alive[rows], axis=1, kind="stable")[:, :size]
        lam, pace = np.take_along_axis(slope[rows], index, axis=1), rate[index]
        part = W if size == n else W.reshape(-1).take(index[:, :, None] * n + index[:, None, :])
        if symmetric:
            root = np.sqrt(lam * pace)
            matrix = part * (root[:, :, None] * root[:, None, :])
        else:
            matrix = pace[:, :, None] * jacobians(memory, lam, part)
        matrix[:, np.arange(size), np.arange(size)] -= pace
        return np.asarray(matrix)

    groups = [np.flatnonzero(counts == size) for size in np.unique(counts) if size > 0]
    return _spectra(matrices, groups, len(slope), n, symmetric, np.zeros(len(slope), np.int64))


def _full(memory: Memory, dead: DeadNeurons, symmetric: bool) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """Return spectrum, largest real part and norm for any Λ and R, from matrices of all neurons that are not held.

    With R = I dead directions are moved out of the way: W Λ V = 0, so that taking c V Vᵀ away gives each of them an
    eigenvalue below all others and changes no other.
    """
    W, n, plain = memory.W.astype(np.float64), memory.neurons, memory.system.factor.is_identity
    rate = np.ones(n) if memory.tau is None else 1.0 / memory.tau
    far = 4 * (1 + rate.max()) * (1 + np.linalg.norm(W))

    free = ~memory.weights.held

    def matrices(rows: np.ndarray) -> np.ndarray:
        # Held neurons hear nothing, so that the other rows and columns have a spectrum of their own.
        return whole(rows)[:, free][:, :, free]

    def whole(rows: np.ndarray) -> np.ndarray:
        if not plain:
            return flow_jacobians(memory, thin_curvature(memory, dead.argument[rows]), W)
        Lam = curvature(memory, dead.argument[rows])
        deep = far * (1 + np.linalg.norm(Lam, axis=(1, 2)))
        dark = _dead_projectors(dead, rows) * deep[:, None, None]
        if symmetric:
            values, vectors = np.linalg.eigh(Lam)
            root = np.matmul(vectors * np.sqrt(np.maximum(values, 0))[:, None, :], np.swapaxes(vectors, 1, 2))
            root = root * np.sqrt(rate)[:, None]
            matrix = np.matmul(np.matmul(root, W), np.swapaxes(root, 1, 2)) - np.diag(rate) - dark
            return np.asarray(matrix + np.swapaxes(matrix, 1, 2)) / 2
        return np.asarray(flow_jacobians(memory, Lam, W) - dark)

    hidden = dead.k if plain else np.zeros_like(dead.k)
    real = symmetric or memory.system.is_real(memory.symmetric)
    return _spectra(matrices, [np.arange(len(dead.k))], len(dead.k), n, real, hidden)


def _dead_projectors(dead: DeadNeurons, rows: np.ndarray) -> np.ndarray:
    """Return P_d of every state as a matrix."""
    part = DeadNeurons(dead.memory, dead.argument[rows], dead.neurons[rows], dead.k[rows])
    units = np.eye(dead.memory.neurons)
    columns = [part.project_dead(np.broadcast_to(unit, part.argument.shape)) for unit in units]
    return np.stack(columns, axis=-1).astype(np.float64)


def _spectra(
    matrices: Callable[[np.ndarray], np.ndarray],
    groups: list[np.ndarray],
    count: int,
    n: int,
    real: bool,
    hidden: np.ndarray,
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """Return eigenvalues, largest real parts and norms of the matrices of every group of states.

    The first `hidden` eigenvalues of a state are those that were moved out of the way. LAPACK runs without Python's
    lock, so batches go to threads, each with a BLAS of one thread; a state's bits do not depend on its batch.
    """
    large = n > LARGE
    values = None if large else np.full((count, n), np.nan, np.float64 if real else np.complex128)
    largest, norm = np.full(count, -np.inf), np.zeros(count)

    def work(rows: np.ndarray) -> None:
        matrix = matrices(rows)
        norm[rows] = np.abs(matrix).sum(axis=2).max(axis=1, initial=0)
        if values is None:
            largest[rows] = [_largest(one, real) for one in matrix]
            return
        found = np.linalg.eigvalsh(matrix) if real else _by_real_part(np.linalg.eigvals(matrix))
        for gone in np.unique(hidden[rows]):
            same = hidden[rows] == gone
            shown = found[same, gone:]
            values[rows[same], : shown.shape[1]] = shown
            if shown.shape[1]:
                largest[rows[same]] = shown[:, -1].real

    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        list(pool.map(work, [part for rows in groups for part in batches(rows, n)]))
    return values, largest, norm


def _by_real_part(values: np.ndarray) -> np.ndarray:
    order = np.lexsort((values.imag, values.real), axis=-1)
    return np.asarray(np.take_along_axis(values, order, axis=-1))


def _largest(matrix: np.ndarray, real: bool) -> float:
    """Return the largest real part of the eigenvalues of one large matrix."""
    if len(matrix) <= LARGE:
        return float((np.linalg.eigvalsh(matrix) if real else np.linalg.eigvals(matrix).real).max())
    options = {"k": 1, "v0": generic_direction(len(matrix)), "maxiter": _RESTARTS, "return_eigenvectors": False}
    try:
        if real:
            return float(sparse.eigsh(matrix, which="LA", **options)[0])
        return float(sparse.eigs(matrix, which="LR", **options)[0].real)
    except sparse.ArpackNoConvergence:
        return float((np.linalg.eigvalsh(matrix) if real else np.linalg.eigvals(matrix).real).max())
