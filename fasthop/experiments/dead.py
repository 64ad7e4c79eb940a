"""How many neurons are dead where stored patterns are recalled, against gain and load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fasthop.dynamics.ensemble import faithful_step, settle
from fasthop.experiments import fields, stored
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
from fasthop.experiments.recall import classify
from fasthop.model.activations import as_activation
from fasthop.model.memory import Memory
from fasthop.states.dead import dead_neurons
from fasthop.statistics import over_realisations, with_undecided

#: Numbers in the weights and states of one chunk: 2²⁴ float64 are 128 MiB.
_CHUNK = 2**24

#: What a settled cue has become, as `recall` says it: its pattern, anything else that is alive, or collapsed.
GROUPS = ("retrieved", "lost", "collapsed")

#: Of the fields that say what is stored, those that this experiment takes; the others have their defaults.
_TAKEN = ("neurons", "rule", "self_coupling", "pattern_kind", "load", "patterns", "bias", "correlation", *stored.NOISES)

#: Choices of those that are none here, where couplings are made of patterns of ±1.
_LEFT_OUT = {"rule": (*stored.GROUPED, "file"), "pattern_kind": ("spherical", "file")}

#: What a memory is made of beside what it stores.
_MEMORY = (
    Field("memory", "activation", "activation", str, "tanh", True, choices=("tanh", "hard_tanh"), doc="g"),
    Field("memory", "gain", "gain", float, REQUIRED, True, least=1e-6, doc="β of g(β y): W is multiplied by it"),
)

FIELDS = (
    *(
        field._replace(choices=tuple(c for c in field.choices if c not in _LEFT_OUT.get(field.column, ())))
        for field in stored.FIELDS
        if field.column in _TAKEN
    ),
    *_MEMORY,
    Field("cues", "per_realisation", "cues", int, REQUIRED, False, least=1, most=10**5, doc="cues for each W"),
    fields.criterion("when retrieved"),
    realisations_field("weight matrices per task"),
    fields.tolerance(1e-6),
    fields.t_max(1000.0, "cue"),
    Field("run", "dtype", "dtype", str, "float64", True, choices=("float64", "float32"), doc="of the states"),
)

MEASURED: dict[str, Kind] = {
    "realisation": int,
    "dt": float,
    **dict.fromkeys(("cues", *GROUPS, "open", *(f"dead_{name}" for name in GROUPS), "all_dead"), int),
}


def problems(task: Task) -> list[tuple[str, str]]:
    """List what is wrong with the values of a task taken together."""
    found = stored.problems(_as_stored(task))
    if task["dtype"] == "float32" and task["tolerance"] < 1e-6:
        found.append(("run.tolerance", f"must be at least 1e-6 in float32; got {task['tolerance']:g}."))
    if not found and _numbers(task) > 8 * _CHUNK:
        found.append(("memory.neurons", f"is too large: one realisation would need more than {_CHUNK >> 24} GiB."))
    return found


def _as_stored(task: Task) -> dict[str, Any]:
    """Return the task with the fields that it leaves out, as what stores patterns asks for them."""
    left_out = {field.column: field.default for field in stored.FIELDS}
    return left_out | {**task, "activation": {"name": "tanh", "beta": task["gain"]}}


def _numbers(task: Task) -> int:
    neurons, patterns = stored.size_of(_as_stored(task))
    return neurons * (neurons + patterns + 4 * int(task["cues"]))


def per_chunk(task: Task) -> int:
    """Return how many realisations fit in a chunk."""
    return max(1, min(64, _CHUNK // _numbers(task)))


def rows(task: Task, realisations: Sequence[int], seed: int) -> dict[str, np.ndarray | list[Any]]:
    """Compute one row per realisation: what its cues have become, and the dead neurons of their ends.

    The gain multiplies weights, bias and cues, which is g(β y) in the coordinates β y, so that a gain means the same
    for every activation. A neuron is dead where g is flat to the last bit, `fasthop.dead_neurons`: for hard tanh
    outside ± 1, for tanh beyond 18.7 in float64 and beyond 8.7 in float32.
    """
    what, count, gain = _as_stored(task), len(realisations), task["gain"]
    neurons, patterns = stored.size_of(what)
    learnt = stored.store(what | {"dtype": "float64"}, realisations, seed)
    xi = learnt.patterns
    activation = as_activation(task["activation"])
    memory = Memory(gain * learnt.memory.W, gain * learnt.memory.b, activation, dtype=task["dtype"])
    starts = gain * stored.draw_cues(what, xi, range(task["cues"]), realisations, seed)
    ends = settle(memory, starts, tolerance=task["tolerance"], t_max=task["t_max"], dt=faithful_step(memory))
    which = np.arange(task["cues"]) % patterns
    outcome = classify(ends.kind, activation.g(ends.state), xi, which, task["criterion"], task["bias"] != 0).outcome
    state = np.where(np.isfinite(ends.state), ends.state, 0.0)
    dead = dead_neurons(memory, state).k

    columns: dict[str, np.ndarray | list[Any]] = {
        "realisation": np.array(realisations),
        "dt": ends.dt,
        "cues": np.full(count, task["cues"]),
        "open": (~ends.settled).sum(axis=1),
        "all_dead": (ends.settled & (dead == neurons)).sum(axis=1),
    }
    special = {name: outcome == name for name in ("retrieved", "collapsed")}
    special["lost"] = ends.settled & ~special["retrieved"] & ~special["collapsed"]
    for name in GROUPS:
        columns |= {name: special[name].sum(axis=1), f"dead_{name}": (dead * special[name]).sum(axis=1)}
    return columns


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """Pool the realisations of each task.

    `retrieved`, `lost` and `collapsed` are shares of the cues, `open` that of those that did not settle; the interval
    of `retrieved` holds however these would have ended. `dead_…` is the share of the neurons that are dead in the ends
    of that group, with its 95 % interval over realisations, NaN where there are none; `all_dead` the share of settled
    cues whose end has no other neuron; `dt` the longest step.
    """
    summaries = []
    for task, group in tasks_of(frame, EXPERIMENT.parameters):
        row = task | {"realisations": len(group), "dt": group["dt"].max(), "cues": group["cues"].sum()}
        row |= {name: group[name].sum() / group["cues"].sum() for name in (*GROUPS, "open")}
        row["retrieved_low"], row["retrieved_high"] = with_undecided(group["retrieved"], group["open"], group["cues"])
        settled = group["cues"] - group["open"]
        for name, part, whole in (
            *((f"dead_{name}", group[f"dead_{name}"], group[name] * group["neurons"]) for name in GROUPS),
            ("all_dead", group["all_dead"], settled),
        ):
            some = whole.sum() > 0
            row[name] = part.sum() / whole.sum() if some else np.nan
            row[f"{name}_low"], row[f"{name}_high"] = over_realisations(part, whole) if some else (np.nan, np.nan)
        summaries.append(row)
    return pd.DataFrame(summaries)


def plot(summary: pd.DataFrame, path: Path) -> None:
    """Draw the dead share of the neurons of retrieved cues over the gain, or over the load where one gain is asked."""
    from fasthop.plots.figures import describe, lines

    x = next(iter(varying(summary, ("gain",))), "load")
    by = varying(summary, EXPERIMENT.parameters, but=("patterns", x))
    lines(
        summary,
        path,
        x=x,
        y="dead_retrieved",
        by=by,
        x_label={"gain": "gain β", "load": "load α = P/N"}[x],
        y_label="dead neurons in retrieved states, share",
        title=describe({name: summary[name].iloc[0] for name in ("neurons", "rule", "activation") if name not in by}),
    )


EXPERIMENT = Experiment(
    *("dead", FIELDS, MEASURED, problems, per_chunk, rows, summarise, plot),
    counts=("retrieved", "open", "cues"),
    shown=tuple(sorted(FIELDS, key=lambda field: ("memory", "patterns", "cues", "run").index(field.section))),
)
