"""The steady states of a memory: all of them for ReLU, those that a search finds for every other activation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fasthop import checks
from fasthop.dynamics.ensemble import settle
from fasthop.dynamics.evaluate import states_at
from fasthop.dynamics.starts import Uniform
from fasthop.energies.energy import energy, natural_energy
from fasthop.energies.lyapunov import why_not_lyapunov
from fasthop.model.memory import Memory
from fasthop.model.scope import refuse
from fasthop.runtime import workers_for
from fasthop.states.attractors import g_of, label
from fasthop.states.dead import dead_neurons
from fasthop.states.enumeration import exact_states, why_not_exact
from fasthop.states.newton import polish
from fasthop.states.stability import VERDICTS, stability
from fasthop_kernels import enumeration as kernels

#: Starts of a search by default, and the share of max(1, max|y|) that polishing may move an end found by it.
_STARTS = 2000
_REACH = 0.1


def steady_states(
    memory: Memory,
    *,
    exact: bool | None = None,
    starts: Any = None,
    n: int | None = None,
    seed: int = 0,
    dt: float | None = None,
) -> pd.DataFrame:
    """Return the steady states of a memory: exactly all of them for ReLU, otherwise those that a search finds.

    Exact: for every set of alive neurons the one candidate, from a fresh pivoted elimination. A state with a neuron at
    0, or a continuum of states (where I − W_σσ is singular), is one row of kind "degenerate"; a continuum is
    represented by the point of it that is furthest inside its support.

    Search: many starts run to their ends under system (1), which finds what is stable, and under the gradient flow (9),
    which attracts to saddles too; the ends are polished by Newton's method and grouped by g. What no start reached is
    not in the table.

    Parameters
    ----------
    memory : Memory
        One memory. With variable u the states are u = g(y).
    exact : bool, optional
        True: by enumeration, False: by search. By default exact where that is possible: all neurons ReLU, at most 24.
    starts : array_like, shape (B, N), or Uniform, optional
        For a search: initial y. By default drawn from the box |y| ≤ max|b| + ‖W‖_∞, which holds every steady state
        where |g| ≤ 1.
    n : int, optional
        How many starts to draw; 2000 by default.
    seed : int
    dt : float, optional
        Step of the search; by default that of `settle`. It must be given where no step is safe everywhere, as for
        powers.

    Returns
    -------
    DataFrame
        `state`, `kind` ("isolated" or "degenerate"), `verdict` of `stability` and `stable` (whether that is "stable"),
        `k` (dead directions), `energy` (`natural_energy`; NaN where it need not decrease) and `found_by` ("exact" or
        "search"); stable states first, each group by energy. The verdict on a continuum is "undecided".

    Raises
    ------
    ValueError
        Where enumeration is asked of a memory that is not ReLU or too large, with what to use instead.
    """
    refuse(memory, "steady_states")
    why_not = why_not_exact(memory)
    if exact is None:
        exact = not why_not and starts is None and n is None
    if exact and why_not:
        raise ValueError(f"exact must be False here, to search from many starts: {why_not}")
    if exact and (starts is not None or n is not None):
        raise ValueError("starts and n belong to a search and must not be given where exact is True.")
    if exact:
        y, verdict, degenerate = _enumerate(memory)
    else:
        y = _search(memory, starts, _STARTS if n is None else checks.whole("n", n, least=1), seed, dt)
        verdict = np.full(len(y), "", object)
        degenerate = np.zeros(len(y), bool)
    states = states_at(memory, y.astype(memory.dtype))
    open_ = verdict == ""
    if open_.any():
        verdict[open_] = stability(memory, states[open_]).verdict
    return _table(memory, states, verdict, degenerate, "exact" if exact else "search")


def _table(
    memory: Memory, states: np.ndarray, verdict: np.ndarray, degenerate: np.ndarray, found_by: str
) -> pd.DataFrame:
    energies = np.full(len(states), np.nan)
    if len(states) and not why_not_lyapunov(memory, natural_energy(memory)):
        energies = energy(memory, states).astype(float)
    rank = np.array([VERDICTS.index(word) for word in verdict], np.int64)
    order = np.lexsort((energies, rank))
    column = np.empty(len(states), object)
    column[:] = list(states)
    table = pd.DataFrame(
        {
            "state": column,
            "kind": pd.Categorical(np.where(degenerate, "degenerate", "isolated"), ["isolated", "degenerate"]),
            "verdict": pd.Categorical.from_codes(rank, pd.Index(VERDICTS)),
            "stable": rank == VERDICTS.index("stable"),
            "k": dead_neurons(memory, states).k if len(states) else np.zeros(0, np.int64),
            "energy": energies,
            "found_by": pd.Categorical([found_by] * len(states), ["exact", "search"]),
        }
    )
    return table.iloc[order].reset_index(drop=True)


# --- exact ------------------------------------------------------------------------------------------------------------


def _enumerate(memory: Memory) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all steady y, their verdicts ("" where `stability` is to say), and which are degenerate."""
    W, b = np.array(memory.W, np.float64), np.array(memory.b, np.float64)
    found = exact_states(W, b, workers_for(-(-(1 << memory.neurons) // kernels.CHUNK)))
    verdict = np.full(len(found.y), "", object)
    verdict[found.continuum] = "undecided"
    if memory.symmetric and memory.system.is_first:
        # Time constants and the dead neurons change no sign of the spectrum.
        sure = ~found.degenerate
        verdict[sure & (found.definite == kernels.STABLE)] = "stable"
        verdict[sure & (found.definite == kernels.UNSTABLE)] = "unstable"
    return found.y, verdict, found.degenerate


# --- search -----------------------------------------------------------------------------------------------------------


def _search(memory: Memory, starts: Any, n: int, seed: int, dt: float | None) -> np.ndarray:
    """Return the different steady y that many starts lead to."""
    layers, b = memory.layers, memory.b.astype(np.float64)
    plain = Memory(memory.weights, b, layers=layers)
    if starts is None:
        width = float(np.abs(b).max() + np.abs(plain.W).sum(axis=1).max())
        starts = Uniform(-max(width, 1.0), max(width, 1.0))
    first = starts.draw(n, memory.neurons, seed=seed) if isinstance(starts, Uniform) else starts
    flow = Memory(memory.weights, b, layers=layers, R="gradient")
    ends = [settle(plain, first, dt=dt), settle(flow, first, tolerance=1e-7, t_max=1e3, dt=dt)]
    # An end that R or the clock stopped short of a steady state may still be near one.
    near = np.concatenate([end.state[np.isin(end.kind, ("settled", "unsettled"))] for end in ends])
    near = near[np.abs(near).max(axis=1) < 1e9] if len(near) else near
    # Most ends are the same few: polish one of each.
    _, which = label(g_of(plain, near), np.ones(len(near), bool))
    polished = polish(plain, near[which], reach=_REACH)
    steady = polished.state[polished.residual <= 1e-10]
    _, which = label(g_of(plain, steady), np.ones(len(steady), bool))
    return np.asarray(steady[which])
