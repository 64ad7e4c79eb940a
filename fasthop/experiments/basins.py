"""Basins of attraction: which share of random starts ends in which steady state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fasthop import checks
from fasthop.dynamics.ensemble import KINDS, faithful_step, settle
from fasthop.dynamics.evaluate import arguments
from fasthop.dynamics.starts import MEASURES, Measure
from fasthop.experiments import fields
from fasthop.experiments.experiment import (
    NO_COLUMNS,
    REQUIRED,
    Columns,
    Experiment,
    Field,
    Kind,
    Task,
    realisations_field,
    tasks_of,
    varying,
)
from fasthop.model.memory import Memory
from fasthop.model.systems import SYSTEMS
from fasthop.runtime import one_blas_thread
from fasthop.states import census
from fasthop.states.attractors import label
from fasthop.states.basins import table_of
from fasthop.statistics import wilson

_NEURONS = Columns({"neurons": int}, lambda task: (len(task["weights"]),))

FIELDS = (
    Field("memory", "weights", "weights", list, REQUIRED, False, doc="W, a list of rows", shown=_NEURONS),
    Field("memory", "bias", "bias", list, None, False, doc="b; 0 where it is left out", shown=NO_COLUMNS),
    fields.activation({"name": "tanh"}, "parameter", doc="name and parameters"),
    Field("memory", "system", "system", str, "1", True, choices=tuple(SYSTEMS), doc="equation, and R by its energy"),
    Field("starts", "kind", "measure", str, "box", False, choices=tuple(MEASURES), doc="what starts are drawn from"),
    Field("starts", "low", "low", float, None, True, doc="lower end of the box of starts, y in every system"),
    Field("starts", "high", "high", float, None, True, doc="upper end of the box of starts"),
    Field("starts", "size", "size", float, None, True, doc="radius of a ball, standard deviation of a normal cloud"),
    Field("starts", "centre", "centre", float, 0.0, True, doc="of all coordinates of a ball or a normal cloud"),
    Field("starts", "count", "starts", int, REQUIRED, False, least=1, most=10**8, doc="starts per realisation"),
    realisations_field("independent sets of starts", default=1),
    fields.METHOD,
    Field("run", "dt", "dt", float, None, True, least=1e-9, doc="step; by default faithful_step"),
    fields.tolerance(1e-10),
    fields.t_max(1e4),
)

#: Condition number of W up to which a y has a u with y = W u + b that is worth its digits.
_CONDITION = 1e10

#: Numbers in the starts of one realisation: 1 GiB.
_MOST = 2**27

MEASURED: dict[str, Kind] = {
    "dt": float,
    "realisation": int,
    "attractor": int,
    "kind": str,
    "starts": int,
    "hits": int,
    **dict.fromkeys(("share", "share_low", "share_high", "energy", "worst_residual", "mean_time"), float),
    **dict.fromkeys(census.UNDER, str),
    "state": list,
}


def problems(task: Task) -> list[tuple[str, str]]:
    """List what is wrong with the values of a task taken together."""
    found = []
    try:
        memory = _memory(task)
    except (TypeError, ValueError) as error:
        found.append(("memory.weights", f"cannot be used: {error}"))
    else:
        if task["starts"] * memory.neurons > _MOST:
            allowed = (
                f"at most {_MOST // memory.neurons} for {memory.neurons} neurons; use more run.realisations instead"
            )
            found.append(("starts.count", f"must be {allowed}; got {task['starts']}."))
        if not memory.system.residual.is_argument and not np.linalg.cond(memory.W) <= _CONDITION:
            instead = f'must have an inverse for memory.system = "{task["system"]}": starts are of y = W u + b.'
            found.append(("memory.weights", instead))
    return found + _wrong_measure(task)


def _wrong_measure(task: Task) -> list[tuple[str, str]]:
    box = task["measure"] == "box"
    due, other = (("low", "high"), ("size",)) if box else (("size",), ("low", "high"))
    found = [(f"starts.{name}", f'is missing for kind = "{task["measure"]}".') for name in due if task[name] is None]
    found += [
        (f"starts.{name}", f'must be left out for kind = "{task["measure"]}"; got {task[name]:g}.')
        for name in (*other, *(["centre"] if box else []))
        if task[name]
    ]
    if not found and box and not task["low"] < task["high"]:
        found.append(("starts.high", f"must be above starts.low = {task['low']:g}; got {task['high']:g}."))
    if not found and not box and not task["size"] > 0:
        found.append(("starts.size", f"must be above 0; got {task['size']:g}."))
    return found


def _measure(task: Task) -> Measure:
    numbers = ("low", "high") if task["measure"] == "box" else ("size", "centre")
    return MEASURES[task["measure"]](*(task[name] for name in numbers))


def _memory(task: Task) -> Memory:
    weights = checks.real_array("W", task["weights"], np.float64)
    variable, R = SYSTEMS[task["system"]]
    return Memory(weights, task["bias"], task["activation"], variable=variable, R=R)


def _states_of(memory: Memory, y: np.ndarray) -> np.ndarray:
    """Return the states with these y: themselves, or u = W⁻¹(y − b)."""
    if memory.system.residual.is_argument:
        return y
    with one_blas_thread():
        return np.ascontiguousarray(np.linalg.solve(memory.W, (y - memory.b).T).T)


def per_chunk(task: Task) -> int:
    """Return how many realisations make a chunk: one, whose starts are already many."""
    return 1


def rows(task: Task, realisations: Sequence[int], seed: int) -> dict[str, np.ndarray | list[Any]]:
    """Compute the attractors of each realisation of the starts.

    The starts are y, the same for every system: those of (5) are u = W⁻¹(y − b). Attractors are told apart by
    their y, too, so that the rows of two systems can be laid side by side.
    """
    memory, measure = _memory(task), _measure(task)
    columns: dict[str, Any] = {name: [] for name in MEASURED}
    for realisation in realisations:
        y = measure.draw(task["starts"], memory.neurons, seed=seed, realisation=realisation)
        ends = settle(
            memory,
            _states_of(memory, y),
            tolerance=task["tolerance"],
            t_max=task["t_max"],
            dt=float(faithful_step(memory, task["method"])) if task["dt"] is None else task["dt"],
            method=task["method"],
        )
        table = table_of(memory, ends)
        table |= _what_they_are(memory, table["state"])
        table |= {"dt": float(ends.dt), "realisation": realisation}
        for name, column in columns.items():
            values = table[name]
            column.extend(values if isinstance(values, (list, np.ndarray)) else [values] * len(table["kind"]))
    return columns


def _what_they_are(memory: Memory, states: list[np.ndarray]) -> dict[str, list[Any]]:
    """Return y of every attractor and the verdict on it under each system; nothing for other kinds of end."""
    attractors = [state for state in states if state.size]
    found: dict[str, list[Any]] = {name: [""] * len(states) for name in census.UNDER}
    found["state"] = list(states)
    if attractors:
        y = arguments(memory, np.array(attractors))
        found["state"][: len(y)] = list(y)
        for name, verdicts in census.under_each_system(memory, y).items():
            found[name][: len(y)] = verdicts.tolist()
    return found


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """Pool the realisations of each task: attractors that match are one, and their hits add up."""
    summaries = []
    for task, group in tasks_of(frame, (*EXPERIMENT.parameters, "dt")):
        total = group.drop_duplicates("realisation")["starts"].sum()
        settled = (group["kind"] == "settled").to_numpy()
        width = int(group["neurons"].iloc[0])
        states = np.array([s if len(s) else np.full(width, np.nan) for s in group["state"]], float)
        labels, _ = label(states, settled)
        marks = np.where(settled, labels.astype(str), group["kind"])
        pooled = []
        for mark, same in group.groupby(marks, sort=False):
            hits = same["hits"].sum()
            low, high = wilson(hits, total)
            row = task | {"kind": same["kind"].iloc[0], "starts": total, "hits": hits, "share": hits / total}
            row |= {"share_low": float(low), "share_high": float(high), "energy": same["energy"].iloc[0]}
            row |= {"worst_residual": same["worst_residual"].max()}
            row |= {"mean_time": (same["mean_time"] * same["hits"]).sum() / hits}
            row |= {name: same[name].iloc[0] for name in (*census.UNDER, "state")}
            pooled.append((str(mark) in KINDS, -hits, row))
        pooled.sort(key=lambda entry: entry[:2])
        for index, (other, _, row) in enumerate(pooled):
            summaries.append(row | {"attractor": -1 if other else index})
    return pd.DataFrame(summaries)


def plot(summary: pd.DataFrame, path: Path) -> None:
    """Draw the share of every attractor with its interval, a group of bars for each task."""
    from fasthop.plots.figures import bars

    told = varying(summary, EXPERIMENT.parameters)
    # The step follows from the others but where it is swept itself.
    swept = summary.groupby(told)["dt"].nunique().max() > 1 if told else summary["dt"].nunique() > 1
    bars(summary, path, by=[*told, "dt"] if swept else told, title="basins of attraction")


EXPERIMENT = Experiment("basins", FIELDS, MEASURED, problems, per_chunk, rows, summarise, plot)
