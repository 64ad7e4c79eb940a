"""All steady states of ReLU memories by enumeration: of one on all threads, or the numbers of them of many."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import optimize

from fasthop.model.activations import Activation, LeakyReLU, RectifiedPower, ReLU
from fasthop.model.memory import Memory
from fasthop.model.scope import refuse
from fasthop.runtime import on_threads, workers_for
from fasthop_kernels import enumeration as kernels

#: Neurons up to which supports are enumerated: 2²⁴ of them take some seconds and 16 MiB.
MOST_NEURONS = 24

#: Numbers in the states that one call returns: 1 GiB.
_MOST = 2**27

#: Singular supports that are looked at one by one.
_MOST_SINGULAR = 10_000

#: Two numbers of a neuron are one where they differ by this times the sizes of the terms of its equation.
_SAME = 1e-9


class Exact(NamedTuple):
    """All steady states of one ReLU memory.

    Attributes
    ----------
    y : float64 array, shape (S, N)
    definite : int8 array, shape (S,)
        Whether the symmetric I − W_σσ is positive definite: `kernels.STABLE`, UNSTABLE or UNDECIDED; this decides on
        stability where W is symmetric and the state is not degenerate.
    degenerate, continuum : bool array, shape (S,)
        Whether a neuron is at 0 or the state stands for a continuum, and whether it is the latter.
    singular : int
        Supports σ with a singular I − W_σσ, which hold no steady state or a continuum.
    """

    y: np.ndarray
    definite: np.ndarray
    degenerate: np.ndarray
    continuum: np.ndarray
    singular: int

    @property
    def stable(self) -> np.ndarray:
        """Whether a state is isolated and stable under system (1) with this W, where W is symmetric."""
        return np.asarray(~self.degenerate & (self.definite == kernels.STABLE))


def why_not_exact(memory: Memory) -> str:
    """Say why the steady states of a memory cannot be enumerated; nothing where they can."""
    other = sorted({kind.name for _, kind in memory.spans if not _is_relu(kind)})
    if other:
        return f"only the states of a ReLU memory can be enumerated; got {', '.join(other)}."
    if memory.neurons > MOST_NEURONS:
        return f"only memories of at most {MOST_NEURONS} neurons can be enumerated; got {memory.neurons}."
    return ""


def _is_relu(kind: Activation) -> bool:
    return (
        isinstance(kind, ReLU)
        or (isinstance(kind, LeakyReLU) and kind.slope_below == 0)
        or (isinstance(kind, RectifiedPower) and kind.n == 2)
    )


def count_steady_states(memory: Memory) -> pd.DataFrame:
    """Count the steady states of ReLU memories by enumeration, a memory to each thread.

    Parameters
    ----------
    memory : Memory
        One memory or K of them, with all neurons ReLU, at most 24, symmetric W and system (1).

    Returns
    -------
    DataFrame
        One row per memory: `steady`, the number of steady states; `stable`, of those that are isolated and stable;
        `degenerate`, of those with a neuron at 0, and of continua, each of which counts as one.

    Raises
    ------
    ValueError
        Where the memory is another one, with what it must be.
    """
    refuse(memory, "count_steady_states")
    why_not = why_not_exact(memory)
    if why_not:
        raise ValueError(f"memory must be one whose states can be enumerated: {why_not}")
    if not memory.symmetric:
        raise ValueError("memory must have symmetric W, to count its states.")
    n = memory.neurons
    found = all_exact_states(
        np.array(memory.W, np.float64).reshape(-1, n, n), np.array(memory.b, np.float64).reshape(-1, n)
    )
    return pd.DataFrame(
        {
            "steady": [len(states.y) for states in found],
            "stable": [int(states.stable.sum()) for states in found],
            "degenerate": [int(states.degenerate.sum()) for states in found],
        }
    )


def all_exact_states(W: np.ndarray, b: np.ndarray) -> list[Exact]:
    """Return the steady states of K ReLU memories with W of shape (K, N, N) and b of shape (K, N), one to a thread."""
    workers = workers_for(len(W))
    shares = on_threads(workers, lambda at, _: [exact_states(W[k], b[k], 1) for k in range(at, len(W), workers)])
    return [shares[k % workers][k // workers] for k in range(len(W))]


def exact_states(W: np.ndarray, b: np.ndarray, workers: int) -> Exact:
    """Return the steady states of one ReLU memory, found by so many threads.

    Parameters
    ----------
    W : float64 array, shape (N, N)
    b : float64 array, shape (N,)
    workers : int

    Raises
    ------
    ValueError
        Where they are too many, or too many supports have a singular I − W_σσ.
    """
    n = len(b)
    verdicts = np.zeros(1 << n, np.int8)
    table = np.zeros((n + 1, n + 1), np.int64)
    kernels.binomials(n, table)
    integers = np.zeros((workers, (n + 5) * kernels.LANES), np.int64)
    floats = np.zeros((workers, (n * n + 2 * n + 2) * kernels.LANES))
    taken = np.zeros(n + 1, np.int64)
    room = integers, floats
    on_threads(workers, lambda at, stop: kernels.enumerate_supports(at, W, b, table, taken, *room, verdicts, stop))
    verdicts[0] = _of_empty_support(b)
    supports = np.flatnonzero((verdicts == kernels.STEADY) | (verdicts == kernels.ON_EDGE))
    if len(supports) * n > _MOST:
        raise ValueError(f"memory has {len(supports)} steady states, too many to return at once.")
    y, definite = np.empty((len(supports), n)), np.empty(len(supports), np.int8)
    on_threads(workers, lambda at, stop: kernels.states_of(at, W, b, supports, *room, y, definite, stop))
    edge = verdicts[supports] == kernels.ON_EDGE

    singular = np.flatnonzero(verdicts == kernels.SINGULAR)
    pools = _continua(W, b, singular)
    kept = np.ones(len(y), bool)
    for i in np.flatnonzero(edge):
        near = _SAME * (np.abs(b) + np.abs(W) @ np.maximum(y[i], 0))
        twin = (np.abs(y - y[i]) <= near).all(axis=1)
        twin[i] = False
        in_pool = any(((y[i] >= -near) | ~alive).all() and ((y[i] <= near) | alive).all() for _, alive in pools)
        kept[i] = not in_pool and not (twin & kept & (~edge | (np.arange(len(y)) < i))).any()
    points = np.array([point for point, _ in pools]).reshape(-1, n)
    many = np.ones(len(points), bool)
    return Exact(
        np.concatenate([y[kept], points]),
        np.concatenate([definite[kept], np.full(len(points), kernels.UNDECIDED, np.int8)]),
        np.concatenate([edge[kept], many]),
        np.concatenate([np.zeros(int(kept.sum()), bool), many]),
        len(singular),
    )


def _of_empty_support(b: np.ndarray) -> int:
    if (b > 0).any():
        return kernels.NOTHING
    return kernels.ON_EDGE if (b == 0).any() else kernels.STEADY


def _continua(W: np.ndarray, b: np.ndarray, singular: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return a point of each continuum of steady states and its alive neurons, for supports with singular I − W_σσ.

    The equations have no solution, or a flat set of them; a linear program finds the one furthest inside y_σ > 0.
    """
    if len(singular) > _MOST_SINGULAR:
        raise ValueError(
            f"W must have few supports on which I − W_σσ is singular; got {len(singular)}, so that steady states are "
            "not isolated. Search with exact=False, or change W a little."
        )
    # The linear program has tolerances of its own, for numbers near 1.
    n, unit = len(b), float(np.abs(b).max()) or 1.0
    b = b / unit
    found = []
    for support in singular:
        alive = (support >> np.arange(n) & 1).astype(bool)
        size = int(alive.sum())
        matrix, due = np.eye(size) - W[np.ix_(alive, alive)], b[alive]
        solution = np.linalg.lstsq(matrix, due, rcond=kernels.ZERO)[0]
        if (np.abs(matrix @ solution - due) > _SAME * (np.abs(matrix) @ np.abs(solution) + np.abs(due))).any():
            continue
        scale = max(1.0, float(np.abs(solution).max()))
        # Unknowns y_σ and the slack s: maximise s with y_σ ≥ s, W_τσ y_σ + b_τ ≤ 0, s ≤ scale.
        rows = np.concatenate([-np.eye(size), W[np.ix_(~alive, alive)]])
        column = np.concatenate([np.ones(size), np.zeros(n - size)])[:, None]
        answer = optimize.linprog(
            np.append(np.zeros(size), -1.0),
            A_ub=np.concatenate([rows, column], axis=1),
            b_ub=np.concatenate([np.zeros(size), -b[~alive]]),
            A_eq=np.concatenate([matrix, np.zeros((size, 1))], axis=1),
            b_eq=due,
            bounds=[(0, None)] * size + [(None, scale)],
        )
        if answer.status == 0 and answer.x[-1] > _SAME * scale:
            y = b.copy()
            y[alive] = answer.x[:-1]
            y[~alive] += W[np.ix_(~alive, alive)] @ answer.x[:-1]
            found.append((unit * y, alive))
    return found
