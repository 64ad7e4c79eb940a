"""Slices through the basins of stored patterns: what the plane of two patterns, or a plane at random, looks like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fasthop.experiments import fields, stored
from fasthop.experiments.ends import name_ends
from fasthop.experiments.experiment import Experiment, Field, Kind, Task, realisations_field, tasks_of, varying
from fasthop.geometry.entropy import basin_entropy, uncertainty_exponent
from fasthop.geometry.rays import random_directions
from fasthop.geometry.slices import axes, label_plane
from fasthop.statistics import over_realisations

#: Points along one side at least, so that the uncertainty exponent has two precisions.
_LEAST = 32

FIELDS = (
    *stored.MEMORY_FIELDS,
    Field(
        "plane",
        "kind",
        "plane",
        str,
        "patterns",
        True,
        choices=("patterns", "random"),
        doc="a ξ¹ + b ξ², or ξ¹ + a e₁ + b e₂ with e random and as long as a pattern",
    ),
    Field("plane", "extent", "extent", float, 1.5, False, least=1e-6, doc="a and b go from minus to plus this"),
    Field("plane", "resolution", "resolution", int, 200, False, least=_LEAST, most=2000, doc="points along a side"),
    Field("plane", "box", "box", int, 5, False, least=2, most=_LEAST, doc="points along a box of the entropy"),
    Field("plane", "check", "check", int, 400, False, least=0, doc="points beside a boundary to follow again, at most"),
    fields.criterion("of a pattern"),
    realisations_field("weight matrices per task"),
    fields.METHOD,
    fields.tolerance(1e-9, least=1e-13, most=1e-7),
    fields.t_max(1e4, "point"),
)

#: Shares of the plane that are columns.
SHARES = ("pattern", "inverse", "mixture", "collapsed", "other")

MEASURED: dict[str, Kind] = {
    "realisation": int,
    "ends": int,
    **dict.fromkeys((*SHARES, "entropy", "boundary_entropy", "boundary_boxes"), float),
    "fractal": bool,
    "exponent": float,
    "exponent_error": float,
    "checked": int,
    "changed": int,
    "labels": pa.list_(pa.field("item", pa.int32(), nullable=False)),
}


def problems(task: Task) -> list[tuple[str, str]]:
    """List what is wrong with the values of a task taken together."""
    found = stored.memory_problems(task)
    if not found and stored.size_of(task).neurons < 2:
        found.append(("memory.neurons", "must be at least 2, to have a plane; got 1."))
    if not found and task["plane"] == "patterns" and stored.size_of(task).patterns < 2:
        found.append(("patterns.count", 'must be at least 2 for plane.kind = "patterns"; got 1.'))
    return found


def per_chunk(task: Task) -> int:
    """Return how many realisations make a chunk: one, whose points are already many."""
    return 1


def rows(task: Task, realisations: Sequence[int], seed: int) -> dict[str, np.ndarray | list[Any]]:
    """Compute one row per realisation, the image among its columns."""
    columns: dict[str, Any] = {name: [] for name in MEASURED}
    for realisation in realisations:
        kept = stored.store(task, [realisation], seed)
        for name, value in ({"realisation": realisation} | _look(task, kept, realisation, seed)).items():
            columns[name].append(value)
    return columns


def _look(task: Task, kept: stored.Stored, realisation: int, seed: int) -> dict[str, Any]:
    memory, xi = kept.alone(0), kept.patterns[0]
    n, half = xi.shape[1], task["extent"]
    if task["plane"] == "patterns":
        origin, first, second = np.zeros(n), xi[0], xi[1]
    else:
        # No ray of an attractor has this number.
        drawn = random_directions(2, n, len(xi), seed, [realisation]) * np.sqrt(n)
        origin, first, second = xi[0], drawn[0], drawn[1]

    def starts(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return states in the space of the patterns, memory neurons where the others drive them."""
        places = origin + a[:, None] * first + b[:, None] * second
        return kept.start_at(places, np.zeros(len(places), np.int64))

    found = label_plane(
        memory,
        starts,
        *axes((-half, half, -half, half), task["resolution"]),
        check=task["check"],
        options={name: task[name] for name in ("tolerance", "t_max", "method")},
    )
    kinds, nearest, _ = name_ends(kept.outputs(found.attractors), xi, task["criterion"], task["bias"] != 0)
    labels = found.labels
    weight = np.bincount(labels[labels >= 0], minlength=len(kinds)) / labels.size
    groups = np.array([kind.split("-")[0] for kind in kinds], object)
    shares = {name: float(weight[groups == name].sum()) for name in SHARES}
    entropy, exponent = basin_entropy(labels, task["box"]), uncertainty_exponent(labels)
    return {
        "ends": len(kinds),
        **shares,
        "entropy": entropy.entropy,
        "boundary_entropy": entropy.boundary,
        "boundary_boxes": entropy.boundary_boxes / entropy.boxes,
        "fractal": entropy.fractal,
        "exponent": exponent.exponent,
        "exponent_error": exponent.error,
        "checked": found.checked,
        "changed": found.changed,
        "labels": code(labels, kinds, nearest, len(xi)).reshape(-1),
    }


def code(labels: np.ndarray, kinds: np.ndarray, nearest: np.ndarray, patterns: int) -> np.ndarray:
    """Return labels that say what an end is: p for pattern p, P + p for its negative, from 2 P on all others."""
    codes = 2 * patterns + np.cumsum(~np.isin(kinds, ("pattern", "inverse"))) - 1
    codes = np.where(kinds == "pattern", nearest, np.where(kinds == "inverse", patterns + nearest, codes))
    return np.where(labels >= 0, np.append(codes, 0)[labels], labels).astype(np.int32)


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """Pool the realisations of each task: means, and t-intervals over realisations of the shares and entropies.

    `exponent` is the mean over the realisations that have one, with the standard error `exponent_se`; `fractal` the
    share of realisations whose boundary entropy is above ln 2; `changed_at_finer_step` the share of the points followed
    again, all beside a boundary, that a quarter of the step moves into another basin, with its interval over
    realisations; `labels` the image of the first realisation.
    """
    summaries = []
    for task, group in tasks_of(frame, EXPERIMENT.parameters):
        row = task | {"realisations": len(group), "ends": group["ends"].mean()}
        for name in SHARES:
            row[name] = group[name].mean()
            row[f"{name}_low"], row[f"{name}_high"] = over_realisations(group[name])
        for name in ("entropy", "boundary_entropy", "boundary_boxes", "exponent"):
            row[name] = group[name].mean()
            row[f"{name}_se"] = group[name].std(ddof=1) / np.sqrt(max(1, group[name].count()))
        row |= {"fractal": group["fractal"].mean(), "checked": group["checked"].sum()}
        again = group[group["checked"] > 0]
        row["changed_at_finer_step"] = again["changed"].sum() / again["checked"].sum() if len(again) else np.nan
        low, high = over_realisations(again["changed"], again["checked"]) if len(again) else (np.nan, np.nan)
        row |= {"changed_at_finer_step_low": low, "changed_at_finer_step_high": high}
        row["labels"] = group["labels"].iloc[0]
        summaries.append(row)
    return pd.DataFrame(summaries)


def plot(summary: pd.DataFrame, path: Path) -> None:
    """Draw the first realisation of the first six tasks."""
    from fasthop.plots.figures import describe
    from fasthop.plots.slices import pictures

    by = varying(summary, EXPERIMENT.parameters, but=("load",))
    told = ["rule", "neurons", "patterns", "beta", "plane"]
    panels, names = [], []
    shown = summary.head(6).to_dict("records")
    side = int(shown[0]["resolution"])
    for row in shown:
        count, size = int(row["patterns"]), int(row["resolution"])
        words = {p: f"pattern {p + 1}" for p in range(count)} | {count + p: f"−pattern {p + 1}" for p in range(count)}
        others = np.unique([which for which in row["labels"] if which >= 2 * count])
        names.append(words | {int(which): f"other {number + 1}" for number, which in enumerate(others)})
        told_here = dict.fromkeys([*told, *by])
        panels.append((np.array(row["labels"]).reshape(size, size), describe({name: row[name] for name in told_here})))
    extent = float(shown[0]["extent"])
    places = extent * (2 * (np.arange(side) + 0.5) / side - 1)
    pictures(panels, places, places, path, names=names)


EXPERIMENT = Experiment("slices", FIELDS, MEASURED, problems, per_chunk, rows, summarise, plot)
