"""How soon it is certain where a trajectory ends: energy E2 as a certificate that lets it stop early."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fasthop.dynamics.ensemble import Ends, default_step, settle, simulate
from fasthop.dynamics.starts import Uniform
from fasthop.experiments import fields, memories
from fasthop.experiments.experiment import Experiment, Field, Kind, Task, realisations_field, tasks_of, varying
from fasthop.experiments.networks import positive_definite
from fasthop.model.memory import Memory
from fasthop.states.certificate import Certificate
from fasthop.statistics import over_realisations

#: Smallest eigenvalue of the weights that take the place of a network's own.
LEAST = 0.1

#: Looks at the trajectories that are taken before those that are certain by then are let go.
_LOOKS = 32

FIELDS = (
    *(field for field in memories.FIELDS if field.section in ("network", "starts")),
    realisations_field("networks per task"),
    fields.tolerance(1e-10),
    Field("run", "loose", "loose", float, 1e-3, False, least=1e-14, most=1, doc="a residual to stop at unproven"),
    Field("run", "every", "every", int, 5, False, least=1, doc="steps between two looks at the energy"),
    fields.t_max(1e5),
)

MEASURED: dict[str, Kind] = dict.fromkeys(
    (
        *("starts", "realisation", "stable", "settled", "certain", "certain_by_energy", "wrong", "wrong_loose"),
        *("steps", "steps_certain", "steps_by_energy", "steps_loose"),
    ),
    int,
)


def problems(task: Task) -> list[tuple[str, str]]:
    """List what is wrong with the values of a task taken together."""
    found = memories.problems(task)
    if not task["tolerance"] <= task["loose"]:
        found.append(("run.loose", f"must be at least run.tolerance = {task['tolerance']:g}; got {task['loose']:g}."))
    return found


def per_chunk(task: Task) -> int:
    """Return how many networks are computed together."""
    return min(16, memories.per_chunk(task))


def rows(task: Task, realisations: Sequence[int], seed: int) -> dict[str, np.ndarray | list[Any]]:
    """Compute one row per network, whose W is replaced by a positive definite one with the same memories."""
    W, b = positive_definite(*memories.networks(task, realisations, seed), LEAST)
    box = Uniform(task["low"], task["high"])
    found = []
    for k, realisation in enumerate(realisations):
        starts = box.draw(task["starts"], task["neurons"], seed=seed, realisation=realisation)
        found.append(_one(task, Memory(W[k], b[k], "relu"), starts))
    columns: dict[str, Any] = {"starts": [task["starts"]] * len(found), "realisation": np.array(realisations)}
    return columns | {name: [row[name] for row in found] for name in found[0]}


def _one(task: Task, memory: Memory, starts: np.ndarray) -> dict[str, int]:
    """Run the starts of one network to their ends, and look on the way when each was certain, and of what."""
    certificate = Certificate(memory)
    options = {"t_max": task["t_max"], "dt": float(default_step(memory))}
    ends = settle(memory, starts, tolerance=task["tolerance"], **options)
    loose = settle(memory, starts, tolerance=task["loose"], **options)
    settled, reached = ends.settled, _nearest(certificate, ends.state)
    found = {"stable": len(certificate.minima), "settled": settled.sum(), "steps": ends.steps[settled].sum()}
    found |= {"steps_loose": loose.steps[settled].sum()}
    found |= {"wrong_loose": (loose.settled & ((_nearest(certificate, loose.state) != reached) | ~settled)).sum()}
    step, end = _first_certain(certificate.end_of, memory, starts, ends, task["every"])
    by_energy, lowest = _first_certain(certificate.end_by_energy, memory, starts, ends, task["every"])
    wrong = ((end >= 0) & (end != reached)) | ((lowest >= 0) & (lowest != reached))
    # A trajectory that was out of time has not contradicted anything.
    wrong |= ((end >= 0) | (lowest >= 0)) & (ends.kind == "diverged")
    found |= {"certain": (settled & (end >= 0)).sum(), "certain_by_energy": (settled & (lowest >= 0)).sum()}
    found |= {"wrong": (wrong & (ends.kind != "unsettled")).sum()}
    return found | {"steps_certain": step[settled].sum(), "steps_by_energy": by_energy[settled].sum()}


def _nearest(certificate: Certificate, states: np.ndarray) -> np.ndarray:
    """Return the memory whose outputs are nearest to those of each state; −1 where there is no memory."""
    if not len(certificate.minima):
        return np.full(len(states), -1)
    outputs = np.maximum(states, 0)[:, None] - np.maximum(certificate.minima, 0)
    return np.asarray(np.abs(outputs).max(axis=2).argmin(axis=1))


def _first_certain(certain: Any, memory: Memory, starts: np.ndarray, ends: Ends, every: int) -> tuple[np.ndarray, ...]:
    """Return after how many steps each trajectory was first found certain, looked at again and again, and of what.

    Where it never was, its own number of steps, and −1.
    """
    step, found = ends.steps.copy(), np.full(len(starts), -1)
    left, state, done, h = np.arange(len(starts)), starts, 0, float(ends.dt)
    while left.size:
        marks = np.arange(_LOOKS) * every
        path = simulate(memory, state, t_end=_LOOKS * every * h, dt=h, save_at=marks * h)
        looks = np.asarray(path.states).reshape(-1, memory.neurons)
        told = certain(looks).reshape(_LOOKS, left.size)
        told[done + marks[:, None] > ends.steps[left]] = -1
        first = (told >= 0).argmax(axis=0)
        now = told[first, np.arange(left.size)]
        step[left[now >= 0]] = done + marks[first[now >= 0]]
        found[left[now >= 0]] = now[now >= 0]
        done += _LOOKS * every
        stay = (now < 0) & (ends.steps[left] >= done)
        left, state = left[stay], path.state[stay]
    return step, found


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """Pool the networks of each task that have several memories: elsewhere nothing is open.

    `networks` are those with several, of `realisations`. Of the starts that settle, `certain` and `certain_by_energy`
    are the shares whose end was certain on the way, `wrong` the number of starts that the certificate was wrong about,
    `wrong_loose` the share of starts that are named wrongly where the residual is loose. `saved`, `saved_by_energy` and
    `saved_loose` are the shares of the steps that need not have been made; with 95 % intervals over networks.
    """
    summaries = []
    for of_task, group in tasks_of(frame, (*EXPERIMENT.parameters, "starts")):
        row = of_task | {"realisations": len(group)}
        group = group[(group["stable"] > 1) & (group["settled"] > 0)]
        row |= {"networks": len(group), "settled": group["settled"].sum(), "wrong": group["wrong"].sum()}
        shares = {
            "certain": (group["certain"], group["settled"]),
            "certain_by_energy": (group["certain_by_energy"], group["settled"]),
            "wrong_loose": (group["wrong_loose"], group["starts"]),
            "saved": (group["steps"] - group["steps_certain"], group["steps"]),
            "saved_by_energy": (group["steps"] - group["steps_by_energy"], group["steps"]),
            "saved_loose": (group["steps"] - group["steps_loose"], group["steps"]),
        }
        for name, (part, whole) in shares.items():
            some = len(group) > 0
            row[name] = part.sum() / whole.sum() if some else np.nan
            row[f"{name}_low"], row[f"{name}_high"] = over_realisations(part, whole) if some else (np.nan, np.nan)
        row["steps"] = group["steps"].sum() / group["settled"].sum() if len(group) else np.nan
        summaries.append(row)
    return pd.DataFrame(summaries)


def plot(summary: pd.DataFrame, path: Path) -> None:
    """Draw the share of the steps that is saved, by the certificate, by energy alone and by a loose residual."""
    from fasthop.plots.memories import savings

    x = next(iter(varying(summary, ("radius", "edges", "neurons"))), "neurons")
    savings(summary, path, x=x, by=varying(summary, (*EXPERIMENT.parameters, "starts"), but=(x,)))


EXPERIMENT = Experiment("certainty", FIELDS, MEASURED, problems, per_chunk, rows, summarise, plot)
