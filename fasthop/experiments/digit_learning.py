"""Memories that learn the handwritten digits by Almeida–Pineda: one classifies them, one completes their lower half."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fasthop import fill
from fasthop.dynamics.ensemble import settle
from fasthop.experiments.experiment import Experiment, Field, Kind, Task, realisations_field, tasks_of
from fasthop.model.activations import Tanh
from fasthop.model.memory import Memory
from fasthop.model.weights import Blocks
from fasthop.statistics import over_realisations
from fasthop.storage.patterns import digit_images, digit_ink
from fasthop.storage.rules import pseudo_inverse
from fasthop.training.learning import Fit, fit, layer_of, respond
from fasthop.training.optimisers import Adam
from fasthop_kernels.mathematics import random

#: Images to learn from and images to be asked about.
LEARNED, ASKED = 1347, 450
#: Pixels of the upper half, which is seen.
SEEN = 32

FIELDS = (
    Field("data", "split", "split", str, "stratified", True, choices=("stratified", "file-order"), doc="what is asked"),
    Field("memory", "hidden", "hidden", int, 128, True, least=1, doc="neurons of the middle layer"),
    Field("memory", "scale", "scale", float, 1.5, True, least=1e-6, doc="norm of the first weights"),
    Field("training", "epochs", "epochs", int, 12, True, least=1, doc="passes through the images"),
    Field("training", "batch", "batch", int, 32, True, least=1, doc="images per step"),
    Field("training", "rate", "rate", float, 0.01, True, least=1e-9, doc="first rate of Adam"),
    Field("training", "decay", "decay", float, 0.0, True, least=0, doc="weight decay"),
    realisations_field("splits and first weights"),
)
#: What the last epoch was like.
_LEARNING: dict[str, Kind] = {"loss": float, "refused": int, "lambda_max": float}


def split(kind: str, seed: int, realisation: int) -> np.ndarray:
    """Return which images are asked about: of every digit its share at random, or the last ones of the file.

    Other people wrote the last images, which makes them harder.
    """
    _, digits = digit_images()
    asked = np.zeros(len(digits), bool)
    if kind == "file-order":
        asked[LEARNED:] = True
        return asked
    keys = np.empty((1, 1, len(digits)))
    fill.uniforms(seed, random.SHUFFLE, np.array([realisation]), 1, keys)
    order = np.argsort(keys[0, 0], kind="stable")
    # Every digit gives its share, rounded down; the first that are left in the order fill up.
    for digit in range(10):
        own = order[digits[order] == digit]
        asked[own[: len(own) * ASKED // len(digits)]] = True
    rest = order[~asked[order]]
    asked[rest[: ASKED - int(asked.sum())]] = True
    return asked


def _learn(task: Task, seed: int, sizes: list[int], last: Any, inputs: np.ndarray, targets: np.ndarray) -> Fit:
    weights = Blocks.chain(sizes, seed=seed, scale=task["scale"])
    layers = [(sizes[0], "identity"), (sizes[1], "tanh"), (sizes[2], last)]
    options = {name: task[name] for name in ("epochs", "batch", "decay")}
    adam = Adam(task["rate"])
    return fit(Memory(weights, layers=layers), inputs, targets, loss="squared", optimiser=adam, seed=seed, **options)


def _last(learned: Fit) -> dict[str, Any]:
    """Return what the last epoch was like."""
    return {name: learned.history[name].iloc[-1] for name in _LEARNING}


def classify(task: Task, seed: int, realisation: int) -> dict[str, Any]:
    """Learn to name digits from their ink, and count the images that are named right."""
    ink, digits = digit_ink()
    x, one_hot = ink / 8.0 - 1.0, np.eye(10)[digits]
    asked = split(task["split"], seed, realisation)
    learned = _learn(task, seed + realisation, [64, task["hidden"], 10], "softmax", x[~asked], one_hot[~asked])
    found = _last(learned)
    for name, rows in (("learned", ~asked), ("asked", asked)):
        ends = respond(learned.memory, x[rows])
        said = ends.state[:, layer_of(learned.memory, -1)].argmax(axis=1)
        found |= {name: int(rows.sum()), f"{name}_right": int((ends.settled & (said == digits[rows])).sum())}
    return found


def complete(task: Task, seed: int, realisation: int) -> dict[str, Any]:
    """Learn to complete the lower half of digits, and count the pixels that are wrong, beside simpler ways."""
    images, digits = digit_images()
    asked = split(task["split"], seed, realisation)
    seen, hidden = images[:, :SEEN], images[:, SEEN:]
    learned = _learn(task, seed + realisation, [SEEN, task["hidden"], SEEN], "tanh", seen[~asked], hidden[~asked])
    ends = respond(learned.memory, seen[asked])
    said = np.where(ends.settled[:, None], np.sign(ends.state[:, layer_of(learned.memory, -1)]), 0)
    due = hidden[asked]
    known = np.c_[seen[~asked], np.ones(int((~asked).sum()))]
    line = np.linalg.lstsq(known, hidden[~asked], rcond=None)[0]
    nearest = (seen[asked] @ seen[~asked].T).argmax(axis=1)
    means = np.where([images[~asked & (digits == digit)].mean(axis=0) >= 0 for digit in range(10)], 1.0, -1.0)
    recalled = settle(
        Memory(pseudo_inverse(means), activation=Tanh(8.0)), np.c_[seen[asked], np.zeros_like(due)], tolerance=1e-6
    )
    answers = {
        "wrong": said,
        "wrong_linear": np.sign(np.c_[seen[asked], np.ones(len(due))] @ line),
        "wrong_nearest": hidden[~asked][nearest],
        "wrong_pseudo_inverse": np.sign(recalled.state[:, SEEN:]),
    }
    found = _last(learned)
    return found | {"pixels": due.size} | {name: int((answer != due).sum()) for name, answer in answers.items()}


def problems(task: Task) -> list[tuple[str, str]]:
    """Nothing can be wrong with a combination that is right field by field."""
    return []


def per_chunk(task: Task) -> int:
    """One training after another, so that an interruption costs at most one."""
    return 1


def _experiment(
    name: str,
    one: Callable[[Task, int, int], dict[str, Any]],
    rates: dict[str, tuple[str, str]],
    words: dict[str, str],
    label: str,
) -> Experiment:
    """Return the experiment that repeats `one`; `rates` are columns of the summary, each a quotient of two counts."""
    counts = list(dict.fromkeys(column for pair in reversed(rates.values()) for column in reversed(pair)))
    measured: dict[str, Kind] = {"realisation": int} | _LEARNING | dict.fromkeys(counts, int)

    def rows(task: Task, realisations: Sequence[int], seed: int) -> dict[str, np.ndarray | list[Any]]:
        found = [one(task, seed, realisation) for realisation in realisations]
        return {"realisation": np.array(realisations)} | {name: [row[name] for row in found] for name in found[0]}

    def summarise(frame: pd.DataFrame) -> pd.DataFrame:
        summaries = []
        for task, group in tasks_of(frame, experiment.parameters):
            row = task | {"realisations": len(group)}
            for column, (part, whole) in rates.items():
                row[column] = group[part].sum() / group[whole].sum()
                row[f"{column}_low"], row[f"{column}_high"] = over_realisations(group[part] / group[whole])
            summaries.append(row)
        return pd.DataFrame(summaries)

    def plot(summary: pd.DataFrame, path: Path) -> None:
        from fasthop.plots.training import rates as draw

        draw(summary, path, words, label)

    experiment = Experiment(name, FIELDS, measured, problems, per_chunk, rows, summarise, plot)
    return experiment


CLASSIFICATION = _experiment(
    "classification",
    classify,
    {"accuracy": ("asked_right", "asked"), "accuracy_learned": ("learned_right", "learned")},
    {"accuracy": "images asked", "accuracy_learned": "images learned"},
    "share of digits named right",
)
COMPLETION = _experiment(
    "completion",
    complete,
    {
        "error": ("wrong", "pixels"),
        "error_linear": ("wrong_linear", "pixels"),
        "error_nearest": ("wrong_nearest", "pixels"),
        "error_pseudo_inverse": ("wrong_pseudo_inverse", "pixels"),
    },
    {
        "error": "memory",
        "error_linear": "linear regression",
        "error_nearest": "nearest neighbour",
        "error_pseudo_inverse": "pseudo-inverse of class means",
    },
    "share of hidden pixels that are wrong",
)
