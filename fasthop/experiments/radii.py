"""How far the basins of stored patterns reach: rays at random, at the nearest other patterns, at saddles between."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fasthop.dynamics.ensemble import settle
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
from fasthop.geometry.rays import MOST_RAYS, Rays, aimed, bounds, crossings, random_directions
from fasthop.geometry.saddles import boundary_saddles
from fasthop.states.stability import LARGE
from fasthop.statistics import over_realisations, ratio_interval

#: Numbers in the rays of one chunk: 2²² float64 are 32 MiB.
_CHUNK = 2**22

FIELDS = (
    *stored.MEMORY_FIELDS,
    Field("rays", "memories", "memories", int, 10, False, least=1, doc="patterns that rays start from, at most"),
    Field("rays", "random", "rays", int, REQUIRED, False, least=1, most=MOST_RAYS, doc="random rays of each"),
    Field("rays", "aimed", "aimed", int, 10, False, least=0, doc="nearest other patterns that each aims at, at most"),
    Field("rays", "saddles", "saddles", int, 0, False, least=0, doc="nearest others that a saddle is sought towards"),
    Field("rays", "bound", "bound", float, 6.0, False, least=1e-6, doc="how far rays are followed, in units of √N"),
    Field("rays", "shells", "shells", int, 12, False, least=1, most=100, doc="places along a ray asked first"),
    Field("rays", "precision", "precision", float, 1e-3, False, least=1e-9, most=0.5, doc="width of the brackets"),
    fields.criterion("of a pattern"),
    realisations_field("weight matrices per task"),
    fields.METHOD,
    fields.tolerance(1e-9, least=1e-13, most=1e-7),
    fields.t_max(1e4, "point"),
)

#: What the table says of a ray, and where there is none.
_NOTHING = {
    "pattern": -1,
    "direction": "none",
    "target": -1,
    "distance": np.nan,
    "lower": np.nan,
    "upper": np.nan,
    "censored": False,
    "overlap": np.nan,
    "outside": "",
    "neighbour": -1,
    "verified": False,
    "dt": np.nan,
}

MEASURED: dict[str, Kind] = {"realisation": int, "kept": int} | {name: type(_NOTHING[name]) for name in _NOTHING}

#: Quantiles of the radius in a summary.
LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9)


def problems(task: Task) -> list[tuple[str, str]]:
    """List what is wrong with the values of a task taken together."""
    found = stored.memory_problems(task)
    if not found and task["saddles"] and (width := stored.width_of(task)) > LARGE:
        found.append(("rays.saddles", f"must be 0 for more than {LARGE} neurons, memory neurons too; got {width}."))
    return found


def per_chunk(task: Task) -> int:
    """Return how many realisations make a chunk."""
    neurons, patterns = stored.width_of(task), stored.size_of(task).patterns
    aims = min(task["aimed"], patterns) + min(task["saddles"], patterns)
    rays = min(task["memories"], patterns) * (task["rays"] + aims)
    return int(max(1, min(16, _CHUNK // (neurons * (rays + neurons)))))


class _Cast(NamedTuple):
    """The rays of a chunk with what the table says of them; lists of one entry per ray, but for `directions`.

    A saddle that was not found has the distance NaN.
    """

    memory: list[int]
    centre: list[int]
    direction: list[str]
    target: list[int]
    distance: list[float]
    directions: list[np.ndarray]


def rows(task: Task, realisations: Sequence[int], seed: int) -> dict[str, np.ndarray | list[Any]]:
    """Compute one row per ray; a realisation that keeps none of its patterns has a row without a ray.

    The patterns that are kept are those from which a trajectory settles, alive, in a state of overlap at least
    `criterion`; rays start there. They run in the space of the patterns: where a memory has memory neurons, these start
    where the others drive them. A saddle that was sought and not found has a row whose measurements are NaN.
    """
    kept = stored.store(task, realisations, seed)
    options = {name: task[name] for name in ("tolerance", "t_max", "method")}
    ends = settle(kept.memory, kept.start(kept.patterns), **options)
    which = np.arange(kept.patterns.shape[1])
    outputs, least, biased = kept.outputs(ends.state), task["criterion"], task["bias"] != 0
    outcome = classify(ends.kind, outputs, kept.patterns, which, least, biased).outcome
    home, pattern = np.nonzero(outcome == "retrieved")
    centres = ends.state[home, pattern]
    cast = _cast(task, kept, home, pattern, centres, realisations, seed, options)
    memories = np.array(cast.memory, np.int64)
    columns: dict[str, Any] = {name: [] for name in _NOTHING}
    if memories.size:
        direction, distance = np.array(cast.direction), np.array(cast.distance)
        reach = task["bound"] * np.sqrt(kept.patterns.shape[2])
        there = ~np.isnan(distance)
        rays = Rays(
            owner=memories[there],
            centre=np.array(cast.centre)[there],
            direction=np.concatenate(cast.directions)[there],
            bound=bounds(direction, distance, reach, task["precision"])[there],
        )
        how = (task["shells"], task["precision"], options, kept.start_at)
        found = crossings(kept.memory, centres, home, rays, *how)
        measured = found.columns() | {"neighbour": np.where(found.neighbour < 0, -1, pattern[found.neighbour])}
        columns |= {name: np.full(len(there), _NOTHING[name], values.dtype) for name, values in measured.items()}
        for name, values in measured.items():
            columns[name][there] = values
        columns |= {
            "pattern": pattern[np.array(cast.centre)],
            "direction": cast.direction,
            "target": cast.target,
            "distance": distance,
        }
    return _in_order(realisations, memories, np.bincount(home, minlength=len(realisations)), columns)


def _cast(
    task: Task,
    kept: stored.Stored,
    home: np.ndarray,
    pattern: np.ndarray,
    centres: np.ndarray,
    realisations: Sequence[int],
    seed: int,
    options: dict[str, Any],
) -> _Cast:
    """Return the rays of the first `memories` patterns of every realisation, sorted by it."""
    cast = _Cast([], [], [], [], [], [])
    n = kept.patterns.shape[2]

    def add(centre: int, direction: str, targets: Sequence[int], distances: np.ndarray, units: np.ndarray) -> None:
        cast.memory.extend([int(home[centre])] * len(targets))
        cast.centre.extend([centre] * len(targets))
        cast.direction.extend([direction] * len(targets))
        cast.target.extend(targets)
        cast.distance.extend(distances.tolist())
        cast.directions.append(units)

    for centre in np.flatnonzero(pattern < task["memories"]).tolist():
        r = int(home[centre])
        others = np.flatnonzero((home == r) & (pattern != pattern[centre]))
        toward, apart = aimed(centres[centre, :n], centres[others, :n])
        # Two patterns with one attractor have no way between them.
        near = [int(i) for i in np.argsort(apart, kind="stable") if apart[i] > 1e-6]
        drawn = random_directions(task["rays"], n, int(pattern[centre]), seed, [realisations[r]])
        add(centre, "random", range(len(drawn)), np.full(len(drawn), np.inf), drawn)
        chosen = near[: task["aimed"]]
        add(centre, "memory", pattern[others[chosen]].tolist(), apart[chosen], toward[chosen])
        if chosen := near[: task["saddles"]]:
            goals = others[chosen]
            saddles = boundary_saddles(kept.alone(r), centres[centre], centres[goals], **options).state
            units, distances = aimed(centres[centre, :n], saddles[:, :n])
            add(centre, "saddle", pattern[goals].tolist(), distances, units)
    return cast


def _in_order(
    realisations: Sequence[int], memories: np.ndarray, kept: np.ndarray, columns: dict[str, Any]
) -> dict[str, Any]:
    """Return all columns in the order of the realisations, with a row for each that has no ray."""
    without = np.setdiff1d(np.arange(len(realisations)), memories)
    index = np.concatenate([memories, without]).astype(np.int64)
    order = np.argsort(index, kind="stable")
    out: dict[str, Any] = {"realisation": np.array(realisations)[index[order]], "kept": kept[index[order]]}
    for name, value in _NOTHING.items():
        column = [*columns[name], *[value] * len(without)]
        out[name] = [column[i] for i in order]
    return out


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """Pool the rays of each task and direction; radii are those of `lower`, in units of √N.

    `kept` is the mean number of patterns kept, `sought` the number of rays, those at saddles that were not found
    included, and `count` without them. Of the rays counted, `censored` is the share that never leave within the bound
    with its 95 % interval over realisations, `verified` the share that a finer step confirms. Quantiles `q05` … `q90`
    are exact below the bound, where all rays that are censored are, and infinite beyond it; `q50_low` and `q50_high`
    are where the intervals over realisations of the shares that have left take in one half (Woodruff, Journal of the
    American Statistical Association 47:635, 1952). `smallest` is that of all rays, and falls with their number; of rays
    that are aimed it bounds from above the margin, which is the minimal fatal shock of Halekotte and Feudel, Scientific
    Reports 10:11783, 2020. `overlap` is the median at the crossings of rays that leave. All are NaN where no saddle was
    found; two of the rays at saddles may be one.
    """
    summaries = []
    for task, group in tasks_of(frame, EXPERIMENT.parameters):
        alone = group.drop_duplicates("realisation")
        for direction, sought in group[group["direction"] != "none"].groupby("direction", sort=False):
            row = task | {"direction": direction, "realisations": len(alone)}
            row |= {"kept": alone["kept"].mean(), "sought": len(sought)}
            summaries.append(row | _pool(sought[sought["distance"].notna()]))
    return pd.DataFrame(summaries)


def _pool(rays: pd.DataFrame) -> dict[str, Any]:
    """Return what the rays of one task and direction say together."""
    names = [f"q{100 * level:02.0f}" for level in LEVELS]
    if rays.empty:
        lost = ("censored", "censored_low", "censored_high", "verified", "mean", "mean_low", "mean_high", "smallest")
        return {"count": 0} | dict.fromkeys((*lost, *names, "q50_low", "q50_high", "overlap"), np.nan)
    radius = np.array(rays["lower"] / np.sqrt(rays["neurons"]), np.float64)
    of_each = rays.assign(radius=radius).groupby("realisation")["radius"].agg(["sum", "size"])
    low, high = ratio_interval(of_each["sum"], of_each["size"])
    mean = radius.mean()
    radius[rays["censored"]] = np.inf
    totals = rays.groupby("realisation")["censored"].agg(["sum", "size"])
    row = {"count": len(rays), "censored": rays["censored"].mean()}
    row["censored_low"], row["censored_high"] = over_realisations(totals["sum"], totals["size"])
    row |= {"verified": rays["verified"].mean(), "mean": mean, "mean_low": low, "mean_high": high}
    row |= {"smallest": radius.min()}
    row |= {name: _quantile(radius, level) for name, level in zip(names, LEVELS, strict=True)}
    row["q50_low"], row["q50_high"] = _median_interval(radius, rays["realisation"].to_numpy())
    leaves = rays.loc[~rays["censored"], "overlap"]
    row["overlap"] = leaves.median() if len(leaves) else np.nan
    return row


def _quantile(radius: np.ndarray, level: float) -> float:
    """Return the smallest radius within which this share of rays has left."""
    return float(np.sort(radius)[int(np.ceil(level * len(radius))) - 1])


def _median_interval(radius: np.ndarray, realisation: np.ndarray) -> tuple[float, float]:
    """Return from and to which radius the interval of the share that has left within it holds one half."""
    places = np.unique(radius)
    _, owner = np.unique(realisation, return_inverse=True)
    trials = np.bincount(owner)

    def share(place: float) -> tuple[float, float]:
        return over_realisations(np.bincount(owner[radius <= place], minlength=len(trials)), trials)

    def first(end: int) -> float:
        """Return the first radius at which this end of the interval is at least one half, by bisection."""
        low, high = 0, len(places) - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if share(places[middle])[end] >= 0.5 else (middle + 1, high)
        return float(places[low])

    return first(1), first(0)


def plot(summary: pd.DataFrame, path: Path) -> None:
    """Draw quantiles of the radii of each task and direction."""
    from fasthop.plots.geometry import radii

    radii(summary, path, by=varying(summary, EXPERIMENT.parameters, but=("load",)))


EXPERIMENT = Experiment("radii", FIELDS, MEASURED, problems, per_chunk, rows, summarise, plot)
