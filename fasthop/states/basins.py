"""Basins of attraction: which share of starts ends in which steady state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fasthop.dynamics.ensemble import KINDS, Ends, faithful_step, settle
from fasthop.dynamics.starts import Measure
from fasthop.energies.energy import energy, natural_energy
from fasthop.energies.lyapunov import why_not_lyapunov
from fasthop.model.memory import Memory
from fasthop.model.scope import refuse
from fasthop.states.attractors import identify
from fasthop.statistics import wilson


def basins(memory: Memory, starts: Any, *, n: int | None = None, seed: int = 0, **options: Any) -> pd.DataFrame:
    """Return the attractors of a memory with the share of starts that each one draws.

    Parameters
    ----------
    memory : Memory
        One memory.
    starts : array_like, shape (B, N), or Uniform, Ball or Normal
        The starts themselves, or what to draw `n` of them from.
    n : int, optional
        Needed with a measure, and not allowed with starts.
    seed : int
    **options
        Passed on to `settle`: tolerance, t_max, dt, method, escape. By default dt is `faithful_step`, a quarter of
        `settle`'s own, because a coarse step moves the boundaries between basins.

    Returns
    -------
    DataFrame
        One row per attractor, the largest share first: `attractor`, `kind` ("settled"), `starts`, `hits`, `share` with
        its 95 % Wilson interval, `energy` (`natural_energy`; NaN where it need not decrease), `worst_residual`,
        `mean_time`, `state`. Starts that do not settle follow, one row for each kind of end, with attractor −1.

    Raises
    ------
    TypeError, ValueError
        As `settle`.
    """
    refuse(memory, "basins")
    if isinstance(starts, Measure):
        if n is None:
            raise ValueError("n must be given with starts that are drawn.")
        starts = starts.draw(n, memory.neurons, seed=seed)
    elif n is not None:
        raise ValueError("n must not be given with starts of your own.")
    if options.get("dt") is None:
        options["dt"] = float(faithful_step(memory, options.get("method", "rk4")))
    return pd.DataFrame(table_of(memory, settle(memory, starts, **options)))


def table_of(memory: Memory, ends: Ends) -> dict[str, Any]:
    """Columns of one row per attractor, largest share first, then one per other kind of end that occurs."""
    total = len(ends.status)
    found = identify(memory, ends.state, ends.residual, ends.settled)
    hits = np.bincount(found.labels[ends.settled], minlength=len(found.firsts))
    order = np.lexsort((np.arange(hits.size), -hits))
    groups = [("settled", found.labels == a, found.state[a]) for a in order]
    for code, kind in enumerate(KINDS):
        others = ends.status == code
        if kind != "settled" and others.any():
            groups.append((kind, others, np.empty(0)))

    counts = np.array([group.sum() for _, group, _ in groups], np.int64)
    low, high = wilson(counts, total)
    attractors = found.state[order].astype(memory.dtype)
    energies = np.full(len(groups), np.nan)
    if attractors.size and not why_not_lyapunov(memory, natural_energy(memory)):
        energies[: len(attractors)] = energy(memory, attractors)
    return {
        "attractor": np.array([a if kind == "settled" else -1 for a, (kind, _, _) in enumerate(groups)], np.int64),
        "kind": [kind for kind, _, _ in groups],
        "starts": np.full(len(groups), total),
        "hits": counts,
        "share": counts / total,
        "share_low": low,
        "share_high": high,
        "energy": energies,
        "worst_residual": np.array([ends.residual[group].max() for _, group, _ in groups], np.float64),
        "mean_time": np.array([ends.time[group].mean() for _, group, _ in groups]),
        "state": [state for _, _, state in groups],
    }
