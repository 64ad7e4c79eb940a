"""The cues of a task: stored patterns with one kind of noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fasthop.experiments.experiment import Field, Task
from fasthop.experiments.stored.patterns import size_of
from fasthop.storage.patterns import add_noise, flip, flip_exactly, hide, hide_last

#: Ways to spoil a cue, each a field of [cues]; a task has at most one of them.
NOISES = ("flip", "flips", "sigma", "hidden", "hidden_last")

FIELDS = (
    Field("cues", "flip", "flip", float, 0.0, True, least=0, most=1, doc="probability that an entry is flipped"),
    Field("cues", "flips", "flips", int, 0, True, least=0, doc="entries that are flipped, exactly"),
    Field("cues", "sigma", "sigma", float, 0.0, True, least=0, doc="standard deviation of Gaussian noise"),
    Field("cues", "hidden", "hidden", int, 0, True, least=0, doc="entries that are hidden, at random"),
    Field("cues", "hidden_last", "hidden_last", int, 0, True, least=0, doc="last entries that are hidden"),
)


def problems(task: Task) -> list[tuple[str, str]]:
    """List what is wrong with these values taken together, as `(section.key, sentence)`."""
    found, neurons = [], size_of(task).neurons
    given = [f"{name} = {task[name]:g}" for name in NOISES if task[name]]
    if len(given) > 1:
        found.append(("cues", f"must have one kind of noise; got {' and '.join(given)}."))
    found += [
        (f"cues.{name}", f"must be at most {neurons}, the neurons; got {task[name]}.")
        for name in ("flips", "hidden", "hidden_last")
        if task[name] > neurons
    ]
    return found


def draw_cues(task: Task, xi: np.ndarray, cues: range, realisations: Sequence[int], seed: int) -> np.ndarray:
    """Return the cues of these numbers, shape (R, C, N): cue c is pattern c mod P with the task's noise."""
    given: dict[str, Any] = {"cues": cues, "seed": seed, "realisations": realisations}
    if task["flips"]:
        return flip_exactly(xi, task["flips"], **given)
    if task["sigma"]:
        return add_noise(xi, task["sigma"], **given)
    if task["hidden"]:
        return hide(xi, task["hidden"], **given)
    clean = flip(xi, task["flip"], **given)
    return hide_last(clean, task["hidden_last"]) if task["hidden_last"] else clean
