"""Capacity: how many of the cues of stored patterns are recalled, over load, noise, gain and learning rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fasthop.dynamics.discrete import Rule
from fasthop.dynamics.ensemble import Ends, settle
from fasthop.experiments import fields, stored
from fasthop.experiments.experiment import (
    REQUIRED,
    Experiment,
    Field,
    Kind,
    Task,
    realisations_field,
    task_columns,
    varying,
)
from fasthop.experiments.recall import OUTCOMES, Recall, classify, direction_of, overlap_of
from fasthop.model.activations import Tanh, as_activation
from fasthop.model.memory import Memory
from fasthop.statistics import over_rows, ratio_rows, with_undecided_rows

#: Numbers in the weights and states of one chunk: 2²⁵ float64 are 256 MiB.
_CHUNK = 2**25

#: Numbers in the cues that one realisation settles at once; more cues take more turns and no more memory.
_TURN = 2**22

#: Capacities of worn couplings that a picture has room for.
_MARKS = 4

#: Their columns stand before those of the other fields of [run].
_ANNEALING = (
    Field("run", "anneal_from", "anneal_from", float, 0.0, True, least=0, doc="first gain; 0: the gain is constant"),
    Field("run", "anneal_stages", "anneal_stages", int, 8, True, least=1, most=1000, doc="gains before the last"),
    Field(
        "run", "anneal_time", "anneal_time", float, 10.0, True, least=1e-6, doc="time at each of these gains, at most"
    ),
)

_OTHERS = (
    Field("cues", "per_realisation", "cues", int, REQUIRED, False, least=1, most=2**32, doc="cues for each W"),
    fields.criterion("when retrieved"),
    realisations_field("weight matrices per task"),
    fields.METHOD,
    fields.tolerance(1e-8),
    fields.t_max(1000.0, "cue"),
    Field("run", "dtype", "dtype", str, "float64", False, choices=("float64", "float32"), doc="of the states"),
)

FIELDS = (*stored.FIELDS, *_OTHERS, *_ANNEALING)

#: Criteria beside `retrieved`: counts of cues.
CRITERIA = ("exact", "few_errors", "close")

MEASURED: dict[str, Kind] = {
    "realisation": int,
    "rank": int,
    "fixed_patterns": int,
    "dt": float,
    "cues": int,
    **dict.fromkeys((*OUTCOMES, *CRITERIA, "discrete"), int),
    **dict.fromkeys(("sign_overlap_sum", "sign_overlap_square_sum", "overlap_sum", "overlap_square_sum"), float),
    "steps_sum": int,
    **dict.fromkeys(("time_sum", "retrieval_time_sum", "retrieval_time_square_sum"), float),
}


def problems(task: Task) -> list[tuple[str, str]]:
    """List what is wrong with the values of a task taken together."""
    found = stored.problems(task)
    if task["dtype"] == "float32" and task["tolerance"] < 1e-6:
        found.append(("run.tolerance", f"must be at least 1e-6 in float32; got {task['tolerance']:g}."))
    if found:
        return found
    size, rule, beta = stored.size_of(task), task["rule"], as_activation(task["activation"]).parameter
    if task["anneal_from"] and (rule not in stored.COUPLED or task["anneal_from"] >= beta):
        allowed = f"below the gain {beta:g}, with a rule that couples the neurons"
        found.append(("run.anneal_from", f"must be {allowed}; got {task['anneal_from']:g} and {rule!r}."))
    if _numbers(task, 1) > 8 * _CHUNK:
        shape = f"N = {size.neurons} and P = {size.patterns}"
        found.append(("memory.neurons", f"is too large: {shape} would need more than {_CHUNK >> 24} GiB."))
    return found


def _numbers(task: Task, cues: int) -> int:
    """Return how many numbers one realisation with so many cues at once holds."""
    neurons, patterns = stored.size_of(task)
    grouped = task["rule"] in stored.GROUPED
    states = 4 * cues * stored.width_of(task)
    return (0 if grouped else neurons**2) + states + (2 if grouped else 1) * patterns * neurons


def _turn(task: Task) -> int:
    """Return how many cues of a realisation are settled at once: of the task alone, because sums are added by turns."""
    return int(min(task["cues"], max(1, _TURN // stored.width_of(task))))


def per_chunk(task: Task) -> int:
    """Return how many realisations fit in a chunk."""
    return int(max(1, min(64, _CHUNK // _numbers(task, _turn(task)))))


def rows(task: Task, realisations: Sequence[int], seed: int) -> dict[str, np.ndarray | list[Any]]:
    """Compute one row per realisation.

    Each realisation draws its patterns, learns W, and settles its cues, which start at the noisy pattern itself,
    y = ±1. The realisation and the seed alone decide the draws, so that rules, loads and noise levels share them.
    """
    patterns = stored.size_of(task).patterns
    there = stored.store(task, realisations, seed)
    stages = _stages(task, there.memory)
    discrete = stored.discrete_rules(task, there)

    rows_of = len(realisations)
    columns: dict[str, np.ndarray | list[Any]] = {
        "realisation": np.array(realisations),
        "rank": there.rank,
        "fixed_patterns": np.array([rule.fixed(xi).sum() for rule, xi in zip(discrete, there.patterns, strict=True)]),
        "cues": np.full(rows_of, task["cues"]),
    }
    sums: dict[str, np.ndarray] = {}
    biased = task["bias"] != 0
    for first in range(0, task["cues"], _turn(task)):
        numbers = range(first, min(first + _turn(task), task["cues"]))
        cues = stored.draw_cues(task, there.patterns, numbers, realisations, seed)
        ends, steps, time = _settle(task, stages, there.start(cues))
        which = np.array(numbers) % patterns
        recall = classify(ends.kind, there.outputs(ends.state), there.patterns, which, task["criterion"], biased)
        counts = _sums(recall, steps, time)
        counts["discrete"] = np.array(
            [
                _retrieved(rule, of_rule, xi[which], task["criterion"], biased)
                for rule, of_rule, xi in zip(discrete, cues, there.patterns, strict=True)
            ]
        )
        for name, values in counts.items():
            sums[name] = sums.get(name, 0) + values
        columns["dt"] = np.broadcast_to(ends.dt, rows_of)
    return columns | sums


def _stages(task: Task, memory: Memory) -> list[Memory]:
    """Return the memory at the gains it is settled at in turn: on a geometric ladder where it is annealed."""
    if not task["anneal_from"]:
        return [memory]
    beta = as_activation(task["activation"]).parameter
    gains = np.geomspace(task["anneal_from"], beta, task["anneal_stages"] + 1)[:-1]
    return [*(Memory(memory.weights, memory.b, Tanh(gain), dtype=memory.dtype) for gain in gains.tolist()), memory]


def _settle(task: Task, stages: Sequence[Memory], starts: np.ndarray) -> tuple[Ends, np.ndarray, np.ndarray]:
    """Settle at each gain from where the last one ended; ends of the last, and steps and time of all together."""
    steps, time = np.zeros(starts.shape[:2], np.int64), np.zeros(starts.shape[:2])
    for memory in stages:
        t_max = task["t_max"] if memory is stages[-1] else task["anneal_time"]
        ends = settle(memory, starts, tolerance=task["tolerance"], t_max=t_max, method=task["method"])
        steps, time, starts = steps + ends.steps, time + ends.time, ends.state
    return ends, steps, time


def _sums(recall: Recall, steps: np.ndarray, time: np.ndarray) -> dict[str, np.ndarray]:
    """Count outcomes and criteria, and sum what is measured, of every realisation."""
    retrieved = recall.outcome == "retrieved"
    found = {name: (recall.outcome == name).sum(axis=1) for name in OUTCOMES}
    found |= {name: getattr(recall, name).sum(axis=1) for name in CRITERIA}
    for name, values in (
        ("sign_overlap", recall.sign_overlap),
        ("overlap", recall.overlap),
        ("retrieval_time", time),
    ):
        kept = np.where(retrieved, values, 0.0)
        found[f"{name}_sum"] = _exact_sums(kept)
        found[f"{name}_square_sum"] = _exact_sums(kept * kept)
    return found | {"steps_sum": steps.sum(axis=1), "time_sum": _exact_sums(time)}


def _retrieved(rule: Rule, cues: np.ndarray, targets: np.ndarray, least: float, biased: bool) -> int:
    """Count the cues of one realisation that a discrete rule brings to their patterns."""
    states, done = rule.settle(cues)
    own = overlap_of(direction_of(states, targets), targets, biased)
    return int((done & (own >= least)).sum())


def _exact_sums(values: np.ndarray) -> np.ndarray:
    """Sum over cues so that the result does not depend on how numpy groups an axis."""
    return np.array([math.fsum(row) for row in values])


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """Pool the realisations of each task.

    Rates are of pooled counts; `…_low` and `…_high` are 95 % intervals over realisations that hold however the
    unsettled cues would have ended (`with_undecided`). `retrieved_worst` and `retrieved_best` count the unsettled cues
    as failures and as successes. `discrete` is the share of the same cues that the discrete rule retrieves, by the same
    overlap: neurons of ±1 that are set one after the other, or steps of attention; `fixed` that of the patterns which
    one of its steps leaves, `all_fixed` the share of realisations in which it leaves all of them. `sign_overlap`,
    `overlap` and `retrieval_time` are means over retrieved cues, NaN where there are none, the last with the 95 %
    interval of a ratio estimator over realisations (Cochran, Sampling Techniques, 1977, chapter 6); `time` is that over
    all cues.
    """
    columns = task_columns(frame, EXPERIMENT.parameters)
    task = frame.groupby(columns, sort=False, dropna=False).ngroup().to_numpy()
    order = np.argsort(task, kind="stable")
    size = np.bincount(task)
    first = np.cumsum(size) - size
    measured = {name: frame[name].to_numpy() for name in MEASURED}
    measured["patterns"] = frame["patterns"].to_numpy()
    pieces = []
    for count in np.unique(size):  # tasks of equally many realisations together: there may be a million
        alike = np.flatnonzero(size == count)
        rows = order[first[alike][:, None] + np.arange(count)]
        pooled = _pooled({name: values[rows] for name, values in measured.items()})
        pieces.append(pd.DataFrame({"realisations": count, **pooled}, index=alike))
    keys = frame[columns].iloc[order[first]].reset_index(drop=True)
    summary: pd.DataFrame = pd.concat([keys, pd.concat(pieces).sort_index()], axis=1)
    return summary


def _pooled(there: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the columns of the summary from those of the table, (tasks, realisations)."""
    cues, retrieved = there["cues"].sum(axis=1), there["retrieved"].sum(axis=1)

    def over(sums: np.ndarray) -> np.ndarray:
        """Divide by the retrieved cues; NaN where there are none."""
        return np.asarray(np.divide(sums, retrieved, out=np.full(len(sums), np.nan), where=retrieved > 0))

    row = {"cues": cues}
    for name in ("retrieved", *CRITERIA):
        row[name] = there[name].sum(axis=1) / cues
        row[f"{name}_low"], row[f"{name}_high"] = with_undecided_rows(there[name], there["unsettled"], there["cues"])
    row["discrete"] = there["discrete"].sum(axis=1) / cues
    row["discrete_low"], row["discrete_high"] = over_rows(there["discrete"], there["cues"])
    row |= {name: there[name].sum(axis=1) / cues for name in OUTCOMES[1:]}
    row["retrieved_worst"] = retrieved / cues
    row["retrieved_best"] = (retrieved + there["unsettled"].sum(axis=1)) / cues
    row["fixed"] = there["fixed_patterns"].sum(axis=1) / there["patterns"].sum(axis=1)
    row["all_fixed"] = (there["fixed_patterns"] == there["patterns"]).mean(axis=1)
    for name in ("sign_overlap", "overlap"):
        row[name] = over(there[f"{name}_sum"].sum(axis=1))
    row["time"] = there["time_sum"].sum(axis=1) / cues
    spent = there["retrieval_time_sum"]
    row["retrieval_time"] = over(spent.sum(axis=1))
    row["retrieval_time_low"], row["retrieval_time_high"] = ratio_rows(spent, there["retrieved"])
    return row


#: What can stand on the x axis of the picture, with its label; of two with equally many values the first one does.
_AXES = {
    "load": "load α = P/N",
    "flip": "probability that an entry of the cue is flipped",
    "flips": "entries of the cue that are flipped",
    "sigma": "Gaussian noise σ of the cue",
    "hidden": "hidden entries of the cue",
    "hidden_last": "hidden entries of the cue, the last ones",
    "neurons": "neurons N",
    "beta": "gain β",
    "memory_gain": "gain β of the memory neurons",
    "power": "power n of the dense memory",
    "dilution": "share of pairs of neurons that are disconnected",
    "asymmetry": "share of couplings that are cut in one direction",
    "levels": "values of W (0: not quantised)",
    "threshold": "threshold θ",
    "bias": "mean of an entry of a pattern",
    "correlation": "overlap of any two patterns",
    "anneal_from": "first gain β of the annealing (0: none)",
    "anneal_stages": "gains before the last",
    "anneal_time": "time at each gain before the last",
}


def plot(summary: pd.DataFrame, path: Path) -> None:
    """Draw the retrieved share and the time to retrieve over what has most values, a line for each combination else.

    Dotted is the share that the discrete rule retrieves. Over the load the capacities at N → ∞ stand beside it, for
    Hebb's rule without its diagonal.
    """
    from fasthop.plots.figures import describe, lines

    axis = _axis(summary)
    # Of neurons, patterns and load two say the third.
    said = "load" if axis == "neurons" and summary["patterns"].nunique() == 1 else "patterns"
    by = varying(summary, EXPERIMENT.parameters, but=(axis, said))
    names = ["pattern_kind", "neurons", "load", "rule", *(["power"] if (summary["rule"] == "dense").all() else [])]
    # The identity has no gain, and a cue one kind of noise at most.
    names += [name for name in ("beta", *stored.NOISES) if summary[name].iloc[0]]
    fixed = [name for name in names if name not in (axis, said, *by)]
    time = {}
    if summary["retrieval_time"].notna().any():
        time = {"below": ("retrieval_time", "mean time to retrieve / τ")}
    lines(
        summary,
        path,
        x=axis,
        y="retrieved",
        by=by,
        x_label=_AXES[axis],
        y_label=f"cues retrieved (overlap ≥ {summary['criterion'].iloc[0]:g})",
        title=describe({name: summary[name].iloc[0] for name in fixed}),
        marks=_theory(summary) if axis == "load" else {},
        beside=("discrete", "the discrete rule"),
        **time,
    )


def _axis(summary: pd.DataFrame) -> str:
    """Return the column with most values; those of sizes are counted on one line, because P is rounded."""
    values = {name: int(summary[name].nunique()) for name in _AXES}
    values["load"] = int(summary.groupby("neurons")["load"].nunique().max())
    values["neurons"] = max(int(summary.groupby(size)["neurons"].nunique().max()) for size in ("load", "patterns"))
    return max(values, key=lambda name: values[name])  # the first of the largest


def _theory(summary: pd.DataFrame) -> dict[str, float]:
    """Return the mean-field capacities of the tasks that have one; where they are many, of whole couplings alone."""
    from fasthop.theory.mean_field import hebb_capacity, wear

    known = summary[
        (summary["rule"] == "hebb")
        & ~summary["self_coupling"]
        & (summary["pattern_kind"] == "random")
        & (summary["bias"] == 0)
        & (summary["beta"] > 1)
        & (summary["threshold"] == 0)
    ]
    worn = ["dilution", "asymmetry", "levels"]
    marks = {}
    for beta, *state in sorted(set(known[["beta", *worn]].itertuples(index=False, name=None))):
        told = {name: value for name, value in zip(worn, state, strict=True) if value}
        name = ", ".join([f"β = {beta:g}", *(f"{key} {value:g}" for key, value in told.items())])
        if not told or len(known[worn].drop_duplicates()) <= _MARKS:
            source = "Sompolinsky 1986" if told else "Shiino, Fukai 1992"
            marks[f"N → ∞, {name}\n(mean field, {source})"] = hebb_capacity(beta, wear(**told))
    return marks


EXPERIMENT = Experiment(
    *("capacity", FIELDS, MEASURED, problems, per_chunk, rows, summarise, plot),
    counts=("retrieved", "unsettled", "cues"),
    shown=(*stored.FIELDS, *_ANNEALING, *_OTHERS),
)

#: Columns that name a task in the tables.
PARAMETERS = EXPERIMENT.parameters
