"""The census of ends: which states a stored memory has beside its patterns, and how much of what starts they draw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fasthop import fill
from fasthop.dynamics.ensemble import KINDS, faithful_step, settle
from fasthop.energies.energy import energy, natural_energy
from fasthop.energies.lyapunov import why_not_lyapunov
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
from fasthop.experiments.recall import MIXED, MIXTURE_OVERLAP, classify, direction_of, overlap_of, overlaps_of
from fasthop.states.attractors import identify
from fasthop.states.dead import dead_neurons
from fasthop.states.newton import polish
from fasthop.states.stability import stability
from fasthop.statistics import over_realisations
from fasthop_kernels.mathematics import random

#: Numbers in the states of all realisations that are settled at once: 32 MiB.
_TURN = 2**22

#: What a distinct end is, in the words of the table. The first six are settled.
CLASSES = (
    *("pattern", "inverse", *(f"mixture-{count}" for count in MIXED), "collapsed", "other"),
    *KINDS[1:],
)

FIELDS = (
    *stored.FIELDS,
    Field("starts", "kind", "start", str, "signs", True, choices=("signs", "cues"), doc="random signs, or noisy cues"),
    Field("starts", "count", "starts", int, REQUIRED, True, least=1, most=2**32, doc="starts of each realisation"),
    fields.criterion("of a pattern"),
    realisations_field("weight matrices per task"),
    fields.METHOD,
    fields.tolerance(1e-10),
    fields.t_max(1e4),
)

#: What the table says of an end, and of what is none.
_NOTHING = {
    "end": -1,
    "hits": 0,
    "kind": "",
    "nearest": -1,
    "overlap": np.nan,
    "energy": np.nan,
    "k": 0,
    "verdict": "not_steady",
    "largest": np.nan,
}

MEASURED: dict[str, Kind] = {"realisation": int, "dt": float} | {name: type(_NOTHING[name]) for name in _NOTHING}


def problems(task: Task) -> list[tuple[str, str]]:
    """List what is wrong with the values of a task taken together."""
    found = stored.problems(task)
    noises = [name for name in stored.NOISES if task[name]]
    if task["start"] == "signs" and noises:
        found.append((f"cues.{noises[0]}", 'must be left out for starts.kind = "signs", which are no cues.'))
    return found


def per_chunk(task: Task) -> int:
    """Return how many realisations make a chunk."""
    neurons = stored.width_of(task)
    return int(max(1, min(8, _TURN // (neurons * (neurons + min(task["starts"], 1000))))))


def rows(task: Task, realisations: Sequence[int], seed: int) -> dict[str, np.ndarray | list[Any]]:
    """Compute one row per distinct end of each realisation, and one for each other kind of end that occurs."""
    kept = stored.store(task, realisations, seed)
    dt = faithful_step(kept.memory, task["method"])
    settled, others = _tally(task, kept, dt, realisations, seed)
    columns: dict[str, Any] = {name: [] for name in MEASURED}
    for index, realisation in enumerate(realisations):
        table = _judge(task, kept, index, *settled[index])
        lost = np.flatnonzero(others[index])
        for code in lost:
            for name, value in _NOTHING.items():
                table[name] = [*table[name], value]
            table["hits"][-1], table["kind"][-1] = int(others[index, code]), KINDS[code]
        count = len(table["hits"])
        table |= {"realisation": [realisation] * count, "dt": [float(dt[index])] * count}
        for name, column in columns.items():
            column.extend(table[name])
    return columns


def _tally(
    task: Task, kept: stored.Stored, dt: np.ndarray, realisations: Sequence[int], seed: int
) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Return states and hits of the distinct ends of every realisation, and counts of the other kinds, (R, kinds)."""
    count, memory = len(realisations), kept.memory
    found = [(np.empty((0, memory.neurons)), np.empty(0, np.int64)) for _ in range(count)]
    others = np.zeros((count, len(KINDS)), np.int64)
    turn = max(1, _TURN // (per_chunk(task) * memory.neurons))  # of the task alone, as rows must be
    for first in range(0, task["starts"], turn):
        numbers = range(first, min(first + turn, task["starts"]))
        starts = kept.start(_starts(task, kept.patterns, numbers, realisations, seed))
        options = {name: task[name] for name in ("tolerance", "t_max", "method")}
        ends = settle(memory, starts, dt=dt, **options)
        for r, (states, hits) in enumerate(found):
            these = identify(
                kept.alone(r),
                np.concatenate([states, ends.state[r]]),
                np.concatenate([np.zeros(len(states)), ends.residual[r]]),
                np.concatenate([np.ones(len(states), bool), ends.settled[r]]),
            )
            again = np.bincount(these.labels[len(states) :][ends.settled[r]], minlength=len(these.firsts))
            again[: len(hits)] += hits
            found[r] = (these.state, again)
            others[r] += np.bincount(ends.status[r], minlength=len(KINDS))
    others[:, KINDS.index("settled")] = 0
    return found, others


def _starts(task: Task, xi: np.ndarray, numbers: range, realisations: Sequence[int], seed: int) -> np.ndarray:
    if task["start"] == "cues":
        return stored.draw_cues(task, xi, numbers, realisations, seed)
    out = np.empty((len(realisations), numbers.stop, xi.shape[2]))
    fill.signs(seed, random.START, np.array(realisations, np.int64), 0, 0.5, out)
    return out[:, numbers.start :]


def _judge(task: Task, kept: stored.Stored, index: int, states: np.ndarray, hits: np.ndarray) -> dict[str, Any]:
    """Say what the distinct ends of one realisation are, the one with most hits first."""
    memory, xi = kept.alone(index), kept.patterns[index]
    order = np.lexsort((np.arange(hits.size), -hits))
    states, hits = polish(memory, states[order]).state, hits[order]
    if not hits.size:
        return {name: [] for name in _NOTHING}
    g = kept.outputs(states)
    kinds, nearest, overlap = name_ends(g, xi, task["criterion"], task["bias"] != 0)
    verdict = stability(memory, states)
    decreases = not why_not_lyapunov(memory, natural_energy(memory))
    return {
        "end": np.arange(hits.size).tolist(),
        "hits": hits.tolist(),
        "kind": kinds.tolist(),
        "nearest": nearest.tolist(),
        "overlap": overlap.tolist(),
        "energy": energy(memory, states).tolist() if decreases else [np.nan] * hits.size,
        "k": dead_neurons(memory, states).k.tolist(),
        "verdict": verdict.verdict.tolist(),
        "largest": verdict.largest.tolist(),
    }


def name_ends(
    g: np.ndarray, xi: np.ndarray, least: float, biased: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Say what settled states are to the patterns.

    Parameters
    ----------
    g : array, shape (E, N)
    xi : float64 array, shape (P, N)
    least : float
        The overlap from which on a state is a pattern, as `classify` understands it.
    biased : bool
        Whether overlaps are centred.

    Returns
    -------
    kinds : str array, shape (E,)
        Of CLASSES. "inverse" is the negative of a pattern: where g is odd and b = 0 it is as stable as the pattern.
    nearest : int array, shape (E,)
        The pattern of the largest overlap in size.
    overlap : float64 array, shape (E,)
        That overlap, with its sign.
    """
    direction = direction_of(g, xi)
    overlaps = overlaps_of(direction, xi, biased)
    nearest = np.abs(overlaps).argmax(axis=1)
    outcome = classify(np.full((1, len(g)), "settled"), g[None], xi[None], nearest, least, biased).outcome[0]
    words = {"retrieved": "pattern", "inverted": "inverse", "other_memory": "pattern", "spurious": "other"}
    kinds = np.array([words.get(word, word) for word in outcome], object)
    for row in np.flatnonzero(kinds == "mixture"):
        kinds[row] = f"mixture-{_order(direction[row], overlaps[row], xi, biased)}"
    return kinds, nearest, overlaps[np.arange(len(g)), nearest]


def _order(direction: np.ndarray, overlaps: np.ndarray, xi: np.ndarray, biased: bool) -> int:
    """Return of how many patterns a mixture is the sign of the sum: the first number of MIXED that fits."""
    best = np.argsort(-np.abs(overlaps), kind="stable")
    for count in MIXED:
        chosen = best[:count]
        mixed = np.sign(np.sign(overlaps[chosen]) @ xi[chosen])
        if abs(overlap_of(direction, mixed, biased)) >= MIXTURE_OVERLAP:
            return count
    return MIXED[-1]


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """Pool the realisations of each task: a row for each class of ends that occurs.

    `share` is the share of starts that end in the class, with its 95 % interval over realisations; `distinct` and
    `stable` are the mean numbers of distinct ends of the class in a realisation, and of those that are stable. Of all
    classes together: `all_distinct`, which grows with the number of starts, the mean number of distinct ends; `singles`
    the mean number of those with one hit; `unseen` the estimate Σ singles/Σ starts (Good, Biometrika 40:237, 1953) of
    the share of starts whose ends were not seen yet, with its interval; `chao` the mean of the least number of distinct
    ends that singles and doubles speak for (Chao, Scandinavian Journal of Statistics 11:265, 1984); `dt`
    the longest step.
    """
    summaries = []
    for task, group in tasks_of(frame, EXPERIMENT.parameters):
        ids = np.unique(group["realisation"])
        starts = group["starts"].iloc[0]
        settled = group[group["end"] >= 0]

        def per_realisation(part: pd.Series, ids: np.ndarray = ids, group: pd.DataFrame = group) -> np.ndarray:
            totals = part.groupby(group["realisation"].loc[part.index]).sum().reindex(ids, fill_value=0)
            return np.asarray(totals.to_numpy(float))

        distinct = per_realisation(settled["hits"] > 0)
        singles = per_realisation(settled["hits"] == 1)
        doubles = per_realisation(settled["hits"] == 2)
        low, high = over_realisations(singles, starts)
        whole = {"realisations": len(ids), "all_distinct": distinct.mean(), "singles": singles.mean()}
        whole |= {"unseen": singles.sum() / (starts * len(ids)), "unseen_low": low, "unseen_high": high}
        whole["dt"] = group["dt"].max()
        whole["chao"] = (distinct + singles * (singles - 1) / (2 * (doubles + 1))).mean()
        for kind in CLASSES:
            same = group[group["kind"] == kind]
            if same.empty:
                continue
            hits = per_realisation(same["hits"])
            row = task | {"kind": kind, "share": hits.sum() / (starts * len(ids))}
            row["share_low"], row["share_high"] = over_realisations(hits, starts)
            row["distinct"] = per_realisation(same["end"] >= 0).mean()
            row["stable"] = per_realisation(same["verdict"] == "stable").mean()
            summaries.append(row | whole)
    return pd.DataFrame(summaries)


def plot(summary: pd.DataFrame, path: Path) -> None:
    """Draw the share of starts that end in each class, a group of bars for each task."""
    from fasthop.plots.geometry import classes

    classes(summary, path, by=varying(summary, EXPERIMENT.parameters, but=("load",)))


EXPERIMENT = Experiment("ends", FIELDS, MEASURED, problems, per_chunk, rows, summarise, plot)
