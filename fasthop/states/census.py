"""What an end is: energy alone does not say what a steady state is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fasthop import checks
from fasthop.dynamics.ensemble import KINDS, Ends
from fasthop.dynamics.evaluate import arguments, as_states, relative, residuals, states_at
from fasthop.energies.energy import energy, natural_energy
from fasthop.energies.lyapunov import why_not_lyapunov
from fasthop.model.memory import Memory
from fasthop.model.scope import refuse
from fasthop.model.systems import SYSTEMS
from fasthop.states.attractors import distances, identify
from fasthop.states.dead import dead_neurons
from fasthop.states.stability import VERDICTS, stability
from fasthop.statistics import wilson

#: Columns of verdicts, and the systems that they are under.
UNDER = {f"under_{name.replace('-', '_')}": name for name in ("1", "5-E2", "5-E3", "9")}


def census(memory: Memory, ends: Any, *, tolerance: float | None = None) -> pd.DataFrame:
    """Say of every end what it is: kind, energy, dead neurons, stability under each system, share of its basin.

    Settled ends are grouped into attractors by g, so that points of one flat region are one. One of each group is moved
    onto its steady state by Newton's method, in float64 and as far as the tolerance asks for; groups that meet there
    are one, and energy and stability are those of the steady state.

    Parameters
    ----------
    memory : Memory
        One memory.
    ends : Ends, or array_like of shape (B, N) or (N,)
        What `settle` returned, or states: these count as settled where the residual meets the tolerance.
    tolerance : float, optional
        For states: settled where |residual_i| ≤ tolerance · max(1, |y_i|) for all neurons. By default 1e-10, in
        float32 1e-5.

    Returns
    -------
    DataFrame
        One row per end: `kind`; `residual`; `attractor` (numbered by its first end; −1 where not settled); `moved`,
        max|end − polished state|, NaN where not settled; `energy` (`natural_energy`; NaN where it need not decrease);
        `k` and `dead`, the number of dead directions and the dead neurons, missing where not finite; `verdict` of
        `stability` and `largest`, the largest real part; `under_1`, `under_5_E2` (R = W), `under_5_E3`, `under_9` (both
        gradient flows): the verdict on the same steady state under these systems; `share` of all ends with this
        attractor, or of this kind, with its 95 % Wilson interval `share_low`, `share_high`.

    Raises
    ------
    TypeError, ValueError
        Where states have another width, or are NaN or infinite.
    """
    refuse(memory, "census")
    state, status, left = _ends(memory, ends, tolerance)
    settled = status == KINDS.index("settled")
    attractor, _, polished = identify(memory, state, left, settled)
    finite = np.isfinite(state).all(axis=1)
    lost = np.flatnonzero(finite & ~settled)

    columns: dict[str, Any] = {
        "kind": pd.Categorical.from_codes(status, pd.Index(KINDS)),
        "residual": left,
        "attractor": attractor,
        "moved": np.full(len(state), np.nan),
    }
    columns["moved"][settled] = distances(state, np.flatnonzero(settled), polished, attractor)

    def spread(of_attractors: Any, of_lost: Any, missing: Any, dtype: Any) -> np.ndarray:
        out = np.full(len(state), missing, dtype)
        out[settled] = np.asarray(of_attractors, dtype)[attractor[settled]]
        out[lost] = of_lost
        return out

    steady = polished.astype(memory.dtype)
    known = not why_not_lyapunov(memory, natural_energy(memory))
    energies = [energy(memory, part) if known and len(part) else np.nan for part in (steady, state[lost])]
    columns["energy"] = spread(np.broadcast_to(energies[0], len(polished)), energies[1], np.nan, float)
    k, dead = _dead(memory, steady)
    lost_k, lost_dead = _dead(memory, state[lost])
    columns["k"] = pd.array(spread(k, lost_k, -1, np.int64), "Int64")
    columns["k"][~finite] = pd.NA
    columns["dead"] = spread(dead, lost_dead, None, object)

    own = stability(memory, steady)
    columns["verdict"] = _words(own.verdict, attractor)
    columns["largest"] = spread(own.largest, np.nan, np.nan, float)
    for name, verdicts in under_each_system(memory, arguments(memory, steady)).items():
        columns[name] = _words(verdicts, attractor)

    counts = np.bincount(status, minlength=len(KINDS))[status]
    counts[settled] = np.bincount(attractor[settled], minlength=len(polished))[attractor[settled]]
    columns["share"] = counts / max(1, len(state))
    columns["share_low"], columns["share_high"] = wilson(counts, max(1, len(state)))
    return pd.DataFrame(columns)


def _ends(memory: Memory, ends: Any, tolerance: float | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return states, kinds (indices into KINDS) and relative residuals."""
    if isinstance(ends, Ends):
        if ends.state.shape[1:] != (memory.neurons,):
            raise ValueError(f"ends must be of this memory, with states (B, {memory.neurons}); got {ends.state.shape}.")
        return ends.state, ends.status.astype(np.int64), ends.residual
    array, _ = as_states(memory, ends)
    goal = 1e-5 if memory.dtype == np.float32 else 1e-10
    goal = goal if tolerance is None else checks.real("tolerance", tolerance, above=0)
    left = relative(residuals(memory, array)[0], array)
    names = np.where(left <= goal, KINDS.index("settled"), KINDS.index("unsettled"))
    names[~np.isfinite(left)] = KINDS.index("not_finite")
    return array, names, left


def _dead(memory: Memory, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return k and the tuple of dead neurons of every state."""
    if not len(states):
        return np.zeros(0, np.int64), np.empty(0, object)
    dead = dead_neurons(memory, states)
    # Many ends share a few sets, whose tuples are made once.
    bits = np.packbits(dead.neurons, axis=1)
    _, first, which = np.unique(bits.view(f"V{bits.shape[1]}")[:, 0], return_index=True, return_inverse=True)
    different = np.empty(len(first), object)
    different[:] = [tuple(np.flatnonzero(row).tolist()) for row in dead.neurons[first]]
    return dead.k, different[which]


def _words(of_attractors: np.ndarray, attractor: np.ndarray) -> Any:
    codes = np.array([VERDICTS.index(word) for word in of_attractors] + [-1])  # the last for no attractor
    return pd.Categorical.from_codes(codes[attractor], pd.Index(VERDICTS))


def under_each_system(memory: Memory, y: np.ndarray) -> dict[str, np.ndarray]:
    """Return the verdicts on steady y under the systems of `UNDER`, with all else that a memory has."""
    found = {}
    for column, name in UNDER.items():
        variable, R = SYSTEMS[name]
        tau = memory.tau if name == "1" else None  # the other systems have none
        other = Memory(
            memory.weights, memory.b, layers=memory.layers, tau=tau, variable=variable, R=R, dtype=memory.dtype
        )
        found[column] = stability(other, states_at(other, y)).verdict
    return found
