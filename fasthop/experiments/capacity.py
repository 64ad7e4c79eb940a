"""Capacity: how many of the cues of stored patterns are recalled, over load, noise and learning rule."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fasthop.activations import as_activation, spelled_out
from fasthop.ensemble import METHODS, settle
from fasthop.experiments.experiment import REQUIRED, Experiment, Field, Task
from fasthop.learning import hebb, projector
from fasthop.memory import Memory
from fasthop.patterns import digit_choice, digit_means, flip, random_patterns
from fasthop.statistics import with_undecided

#: Overlap of the signs with the pattern from which on a cue counts as retrieved.
RETRIEVED = 0.9
#: A state is alive where the mean of |g| is at least the first number and |g| is at least the second on the third of
#: the neurons; otherwise it has collapsed towards zero, and the signs that are left of it are no memory.
ALIVE = (0.5, 0.1, 0.99)

#: Numbers in the weights and states of one chunk: 2²⁵ float64 are 256 MiB.
_CHUNK = 2**25

RULES = ("hebb", "pseudo-inverse")
KINDS = ("random", "digit-means", "digit-images")

FIELDS = (
    Field("memory", "neurons", "neurons", int, None, True, least=1, doc="N; for digits it is 64"),
    Field("memory", "rule", "rule", str, "hebb", True, choices=RULES, doc="learning rule"),
    Field("memory", "self_coupling", "self_coupling", bool, False, True, doc="keep the diagonal of W"),
    Field(
        "memory",
        "activation",
        "activation",
        dict,
        {"name": "tanh", "beta": 8.0},
        True,
        doc="tanh and its gain",
        complete=spelled_out,
    ),
    Field("patterns", "kind", "pattern_kind", str, "random", False, choices=KINDS, doc="what is stored"),
    Field("patterns", "load", "load", float, None, True, least=0, doc="patterns per neuron"),
    Field("patterns", "count", "patterns", int, None, True, least=1, doc="patterns, instead of a load"),
    Field("cues", "flip", "flip", float, 0.0, True, least=0, most=1, doc="probability that an entry is flipped"),
    Field("cues", "per_realisation", "cues", int, REQUIRED, False, least=1, doc="cues for each weight matrix"),
    Field("run", "realisations", "realisations", int, REQUIRED, False, least=1, doc="weight matrices per task"),
    Field("run", "method", "method", str, "rk4", False, choices=tuple(METHODS), doc="stepper"),
    Field("run", "tolerance", "tolerance", float, 1e-8, False, least=1e-14, most=1e-2, doc="residual when settled"),
    Field("run", "t_max", "t_max", float, 1000.0, False, least=1e-6, doc="time after which a cue is unsettled"),
    Field("run", "dtype", "dtype", str, "float64", False, choices=("float64", "float32"), doc="of the states"),
)

#: Every cue ends as exactly one of these.
OUTCOMES = ("retrieved", "collapsed", "other", "unsettled", "diverged", "not_finite")

SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=False)
        for name, kind in [
            ("neurons", pa.int64()),
            ("patterns", pa.int64()),
            ("load", pa.float64()),
            ("rule", pa.string()),
            ("self_coupling", pa.bool_()),
            ("activation", pa.string()),
            ("beta", pa.float64()),
            ("pattern_kind", pa.string()),
            ("flip", pa.float64()),
            ("method", pa.string()),
            ("tolerance", pa.float64()),
            ("t_max", pa.float64()),
            ("dtype", pa.string()),
            ("realisation", pa.int64()),
            ("rank", pa.int64()),
            ("dt", pa.float64()),
            ("cues", pa.int64()),
            *[(outcome, pa.int64()) for outcome in OUTCOMES],
            ("exact", pa.int64()),
            ("overlap_sum", pa.float64()),
            ("overlap_square_sum", pa.float64()),
            ("steps_sum", pa.int64()),
        ]
    ]
)

#: Columns that name a task in the tables.
PARAMETERS = SCHEMA.names[: SCHEMA.names.index("realisation")]


@dataclasses.dataclass(frozen=True)
class _Setting:
    """A task with everything that follows from it."""

    neurons: int
    patterns: int

    @classmethod
    def of(cls, task: Task) -> _Setting:
        if task["pattern_kind"] == "digit-means":
            return cls(64, 10)
        neurons = 64 if task["pattern_kind"] == "digit-images" else task["neurons"]
        count = task["patterns"]
        return cls(neurons, count if count is not None else max(1, round(task["load"] * neurons)))


def problems(task: Task) -> list[tuple[str, str]]:
    """List what is wrong with the values of a task taken together."""
    found = []
    activation = as_activation(task["activation"])
    if activation.name != "tanh":
        found.append(("memory.activation", f"must be tanh for patterns of ±1; got {activation.name!r}."))
    kind, neurons, load, count = (task[name] for name in ("pattern_kind", "neurons", "load", "patterns"))
    if kind != "random" and neurons not in (None, 64):
        found.append(("memory.neurons", f"must be 64, or left out, for patterns.kind = {kind!r}; got {neurons}."))
    if kind == "random" and neurons is None:
        found.append(("memory.neurons", 'is missing; patterns.kind = "random" needs it.'))
    if kind == "digit-means":
        if load is not None or count not in (None, 10):
            found.append(("patterns", 'must have neither load nor count for kind = "digit-means": there are 10.'))
    elif (load is None) == (count is None):
        found.append(("patterns", "must have either load or count."))
    if found:
        return found
    setting = _Setting.of(task)
    if kind == "digit-images" and setting.patterns > 1797:
        found.append(("patterns.count", f"must be at most 1797, the number of images; got {setting.patterns}."))
    if task["rule"] == "pseudo-inverse" and setting.patterns > setting.neurons:
        most = f"at most {setting.neurons}, the number of neurons, for the pseudo-inverse"
        found.append(("patterns", f"must be {most}; got {setting.patterns}."))
    if setting.neurons**2 + 2 * task["cues"] * setting.neurons > 8 * _CHUNK:
        found.append(("memory.neurons", f"is too large: one realisation would need more than {_CHUNK >> 24} GiB."))
    if task["dtype"] == "float32" and task["tolerance"] < 1e-6:
        found.append(("run.tolerance", f"must be at least 1e-6 in float32; got {task['tolerance']:g}."))
    return found


def per_chunk(task: Task) -> int:
    """Return how many realisations fit in a chunk."""
    setting = _Setting.of(task)
    numbers = setting.neurons**2 + (2 * task["cues"] + setting.patterns) * setting.neurons
    return int(max(1, min(64, _CHUNK // numbers)))


def rows(task: Task, realisations: Sequence[int], seed: int) -> dict[str, np.ndarray | list[Any]]:
    """Compute one row per realisation.

    Each realisation draws its patterns, learns W, and settles its cues, which start at the noisy pattern itself,
    y = ±1. The realisation and the seed alone decide the draws, so that rules, loads and noise levels share them.
    """
    setting, activation = _Setting.of(task), as_activation(task["activation"])
    xi = _draw_patterns(task, setting, realisations, seed)
    if task["rule"] == "hebb":
        W, rank = hebb(xi, self_coupling=task["self_coupling"]), np.full(len(xi), setting.patterns)
    else:  # random patterns of few neurons do coincide: they then span less
        W, rank = projector(xi, self_coupling=task["self_coupling"])
    memory = Memory(W, activation=activation, dtype=task["dtype"])
    starts = flip(xi, task["flip"], cues=task["cues"], seed=seed, realisations=realisations)
    ends = settle(memory, starts, tolerance=task["tolerance"], t_max=task["t_max"], method=task["method"])
    target = xi[:, np.arange(task["cues"]) % setting.patterns]
    outcome, exact, overlap = _classify(ends.kind, activation.g(ends.state), target)
    kept = overlap * (outcome == "retrieved")

    rows_of = len(realisations)
    columns: dict[str, np.ndarray | list[Any]] = {
        "neurons": np.full(rows_of, setting.neurons),
        "patterns": np.full(rows_of, setting.patterns),
        "load": np.full(rows_of, setting.patterns / setting.neurons),
        "activation": [activation.name] * rows_of,
        "beta": np.full(rows_of, activation.parameter),
        "realisation": np.array(realisations),
        "rank": rank,
        "dt": ends.dt,
        "cues": np.full(rows_of, task["cues"]),
        "exact": exact.sum(axis=1),
        # Over the retrieved cues; fsum, so that the sum does not depend on how numpy groups an axis.
        "overlap_sum": np.array([math.fsum(row) for row in kept]),
        "overlap_square_sum": np.array([math.fsum(row * row) for row in kept]),
        "steps_sum": ends.steps.sum(axis=1),
    }
    columns |= {name: (outcome == name).sum(axis=1) for name in OUTCOMES}
    for name in ("rule", "self_coupling", "pattern_kind", "flip", "method", "tolerance", "t_max", "dtype"):
        columns[name] = [task[name]] * rows_of
    return columns


def _draw_patterns(task: Task, setting: _Setting, realisations: Sequence[int], seed: int) -> np.ndarray:
    if task["pattern_kind"] == "random":
        return random_patterns(setting.patterns, setting.neurons, seed=seed, realisations=realisations)
    if task["pattern_kind"] == "digit-images":
        return digit_choice(setting.patterns, seed=seed, realisations=realisations)
    return np.broadcast_to(digit_means(), (len(realisations), 10, 64))


def _classify(kind: np.ndarray, g: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the outcome of every cue, whether it is exact, and the overlap of its signs with the pattern."""
    overlap = np.mean(np.sign(g) * target, axis=-1)
    size = np.abs(g)
    mean, least, share = ALIVE
    alive = (size.mean(axis=-1) >= mean) & ((size >= least).mean(axis=-1) >= share)
    settled = kind == "settled"
    outcome = np.where(settled, "other", kind)
    outcome[settled & ~alive] = "collapsed"
    outcome[settled & alive & (overlap >= RETRIEVED)] = "retrieved"
    return outcome, settled & alive & (overlap == 1.0), overlap


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """Pool the realisations of each task.

    Rates are of pooled counts; `…_low` and `…_high` are 95 % intervals over realisations that hold however the
    unsettled cues would have ended (`with_undecided`).
    `retrieved_worst` and `retrieved_best` count the unsettled cues as failures and as successes. `overlap` is the mean
    over retrieved cues, NaN where there are none.
    """
    columns = ["task_id", *PARAMETERS] if "task_id" in frame else PARAMETERS
    summaries = []
    for key, group in frame.groupby(columns, sort=False):
        cues, retrieved = group["cues"].sum(), group["retrieved"].sum()
        row = dict(zip(columns, key, strict=True))
        row |= {"realisations": len(group), "cues": cues}
        for name in ("retrieved", "exact"):
            row[name] = group[name].sum() / cues
            row[f"{name}_low"], row[f"{name}_high"] = with_undecided(group[name], group["unsettled"], group["cues"])
        row |= {name: group[name].sum() / cues for name in OUTCOMES[1:]}
        row["retrieved_worst"] = retrieved / cues
        row["retrieved_best"] = (retrieved + group["unsettled"].sum()) / cues
        row["overlap"] = group["overlap_sum"].sum() / retrieved if retrieved else np.nan
        row["time"] = (group["steps_sum"] * group["dt"]).sum() / cues
        summaries.append(row)
    return pd.DataFrame(summaries)


def plot(summary: pd.DataFrame, path: Path) -> None:
    """Draw the retrieved share over the load, a line for each combination of the other parameters that vary."""
    from fasthop.plot import describe, lines

    axis = "load" if summary["load"].nunique() > 1 else "flip"
    told = [name for name in PARAMETERS if name not in ("load", "patterns", axis)]
    by = [name for name in told if summary[name].nunique() > 1]
    fixed = [name for name in ("pattern_kind", "neurons", "rule", "beta", "flip") if name in told]
    label = {"load": "load α = P/N", "flip": "probability that an entry of the cue is flipped"}[axis]
    lines(
        summary,
        path,
        x=axis,
        y="retrieved",
        by=by,
        x_label=label,
        y_label=f"share of cues retrieved (overlap ≥ {RETRIEVED:g})",
        title=describe({name: summary[name].iloc[0] for name in fixed if name not in by}),
    )


EXPERIMENT = Experiment(
    "capacity", FIELDS, SCHEMA, problems, per_chunk, rows, summarise, plot, ("retrieved", "unsettled", "cues")
)
