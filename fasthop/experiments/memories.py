"""How many memories a random ReLU network has: all of them by enumeration, beside those that random starts find."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fasthop.dynamics.ensemble import settle
from fasthop.dynamics.starts import Uniform
from fasthop.experiments import fields
from fasthop.experiments.experiment import (
    REQUIRED,
    Experiment,
    Field,
    Kind,
    Task,
    realisations_field,
    tasks_of,
    varying,
)
from fasthop.experiments.networks import clique_weights, goe_networks, multipartite_graph, random_graphs
from fasthop.model.memory import Memory
from fasthop.states.enumeration import all_exact_states
from fasthop.statistics import over_realisations, t_interval

#: What a kind of network is made of, beside its neurons; it has no other of these.
_MADE_OF = {
    "goe": ("radius", "mean", "bias"),
    "clique": ("edges", "inhibition"),
    "multipartite": ("part", "inhibition"),
}

FIELDS = (
    Field("network", "kind", "network", str, REQUIRED, False, choices=tuple(_MADE_OF), doc="how W and b are made"),
    Field("network", "neurons", "neurons", int, REQUIRED, True, least=1, most=20, doc="N"),
    Field("network", "radius", "radius", float, None, True, least=1e-6, doc="goe: spectral radius of W"),
    Field("network", "mean", "mean", float, 0.0, True, doc="goe: mean of the entries of W before they are scaled"),
    Field("network", "bias", "bias", float, 0.0, True, doc="goe: mean of b, whose standard deviation is 1"),
    Field("network", "edges", "edges", float, None, True, least=0, most=1, doc="clique: probability of an edge"),
    Field("network", "part", "part", int, None, True, least=1, doc="multipartite: vertices of a part"),
    Field("network", "inhibition", "inhibition", float, None, True, least=1.001, doc="of vertices without an edge"),
    Field("starts", "low", "low", float, -3.0, False, doc="lower end of the box of starts"),
    Field("starts", "high", "high", float, 3.0, False, doc="upper end of the box of starts"),
    Field("starts", "count", "starts", int, REQUIRED, True, least=1, most=10**6, doc="starts for each network"),
    realisations_field("networks per task"),
    fields.tolerance(1e-8),
    fields.t_max(1e4),
)

#: Supports enumerated, and numbers in the starts, in one chunk.
_SUPPORTS, _NUMBERS = 2**22, 2**23

MEASURED: dict[str, Kind] = dict.fromkeys(
    (
        *("realisation", "steady", "stable", "degenerate", "dead", "found", "astray"),
        *("starts", "settled", "dead_settled", "unsettled", "diverged"),
    ),
    int,
)


def problems(task: Task) -> list[tuple[str, str]]:
    """List what is wrong with the values of a task taken together."""
    kind, found = task["network"], []
    for name in dict.fromkeys(name for names in _MADE_OF.values() for name in names):
        if name in _MADE_OF[kind] and task[name] is None:
            found.append((f"network.{name}", f'is missing; network.kind = "{kind}" needs it.'))
        elif name not in _MADE_OF[kind] and task[name]:
            found.append((f"network.{name}", f'must be left out for network.kind = "{kind}"; got {task[name]:g}.'))
    if not task["low"] < task["high"]:
        found.append(("starts.high", f"must be above starts.low = {task['low']:g}; got {task['high']:g}."))
    return found


def per_chunk(task: Task) -> int:
    """Return how many networks are enumerated and settled together."""
    return int(max(1, min(64, _SUPPORTS >> task["neurons"], _NUMBERS // (task["starts"] * task["neurons"]))))


def networks(task: Task, realisations: Sequence[int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return W, shape (R, N, N), and b, shape (R, N), of every realisation."""
    neurons, kind = task["neurons"], task["network"]
    if kind == "goe":
        return goe_networks(neurons, *(task[name] for name in _MADE_OF[kind]), seed=seed, realisations=realisations)
    if kind == "clique":
        graphs = random_graphs(neurons, task["edges"], seed=seed, realisations=realisations)
    else:
        graphs = np.repeat(multipartite_graph(neurons, task["part"])[None], len(realisations), axis=0)
    return clique_weights(graphs, task["inhibition"]), np.ones((len(realisations), neurons))


def rows(task: Task, realisations: Sequence[int], seed: int) -> dict[str, np.ndarray | list[Any]]:
    """Compute one row per network: its steady states by enumeration, and the ends of random starts.

    A steady state of a ReLU network is identified by its support, the alive neurons, so an end is a memory where its
    support is that of a stable state.
    """
    W, b = networks(task, realisations, seed)
    count, neurons = b.shape
    exact = all_exact_states(W, b)
    box = Uniform(task["low"], task["high"])
    y = np.array([box.draw(task["starts"], neurons, seed=seed, realisation=r) for r in realisations])
    ends = settle(Memory(W, b, "relu"), y, tolerance=task["tolerance"], t_max=task["t_max"])
    bits = 1 << np.arange(neurons)
    found, elsewhere, dead = np.zeros((3, count), np.int64)
    for k, states in enumerate(exact):
        alive = states.y[states.stable] > 0
        memories, dead[k] = alive @ bits, (~alive).sum()
        reached = (ends.state[k, ends.settled[k]] > 0) @ bits
        known = np.isin(reached, memories)
        found[k], elsewhere[k] = len(np.unique(reached[known])), (~known).sum()
    columns: dict[str, np.ndarray | list[Any]] = {
        "realisation": np.array(realisations),
        "steady": np.array([len(states.y) for states in exact]),
        "stable": np.array([states.stable.sum() for states in exact]),
        "degenerate": np.array([states.degenerate.sum() for states in exact]),
        "dead": dead,
        "dead_settled": ((ends.state <= 0).sum(axis=2) * ends.settled).sum(axis=1),
        "found": found,
        "astray": elsewhere,
        "starts": np.full(count, task["starts"]),
    }
    return columns | {kind: (ends.kind == kind).sum(axis=1) for kind in ("settled", "unsettled", "diverged")}


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """Pool the networks of each task.

    `steady`, `stable` and `found` are means over networks with 95 % t-intervals, `most` the largest number of stable
    states, `found_share` found over stable; `none`, `one` and `several` the shares of networks with so many of them,
    `diverged` and `unsettled` the shares of starts, each with a 95 % interval over networks. `dead_share` and
    `dead_settled_share` are the dead share of the neurons in the stable states, each counted once, and in the ends of
    starts, NaN where there are none.
    """
    summaries = []
    for task, group in tasks_of(frame, (*EXPERIMENT.parameters, "starts")):
        row = task | {"realisations": len(group)}
        for name in ("steady", "stable", "found"):
            row[name] = group[name].mean()
            row[f"{name}_low"], row[f"{name}_high"] = t_interval(group[name])
        row["most"] = group["stable"].max()
        for name, states in (("dead", group["stable"]), ("dead_settled", group["settled"])):
            total = states.sum() * group["neurons"].iloc[0]
            row[f"{name}_share"] = group[name].sum() / total if total else np.nan
        row["found_share"] = group["found"].sum() / group["stable"].sum() if group["stable"].any() else np.nan
        shares = {
            "none": group["stable"] == 0,
            "one": group["stable"] == 1,
            "several": group["stable"] > 1,
            "diverged": group["diverged"] / group["starts"],
            "unsettled": group["unsettled"] / group["starts"],
        }
        for name, share in shares.items():
            row[name] = share.mean()
            row[f"{name}_low"], row[f"{name}_high"] = over_realisations(share)
        summaries.append(row | {name: group[name].sum() for name in ("degenerate", "astray")})
    return pd.DataFrame(summaries)


def plot(summary: pd.DataFrame, path: Path) -> None:
    """Draw the number of memories over what is swept, and below it how many networks have none, one or several."""
    from fasthop.plots.memories import numbers

    x = next(iter(varying(summary, ("radius", "edges", "neurons", "starts"))), "neurons")
    numbers(summary, path, x=x, by=varying(summary, (*EXPERIMENT.parameters, "starts"), but=(x,)))


EXPERIMENT = Experiment("memories", FIELDS, MEASURED, problems, per_chunk, rows, summarise, plot)
