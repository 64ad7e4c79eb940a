"""The patterns of a task: what kind, how many, and the patterns themselves."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fasthop.experiments.experiment import NO_COLUMNS, Columns, Field, Task
from fasthop.storage import inputs
from fasthop.storage.patterns import (
    choose,
    correlated_patterns,
    digit_images,
    digit_means,
    random_patterns,
    spherical_patterns,
)
from fasthop.theory.mean_field import hebb_capacity


@functools.cache
def _digits(kind: str) -> np.ndarray:
    # Read once: the size of every task is asked for many times.
    patterns = digit_means() if kind == "digit-means" else digit_images()[0]
    patterns.flags.writeable = False
    return patterns


#: Kinds that are drawn for any number of neurons: of a task, P, N and what to draw for.
DRAWN: dict[str, Callable[..., np.ndarray]] = {
    "random": lambda task, p, n, **given: random_patterns(p, n, bias=task["bias"], **given),
    "correlated": lambda task, p, n, **given: correlated_patterns(p, n, task["correlation"], **given),
    "spherical": lambda task, p, n, **given: spherical_patterns(p, n, **given),
}

#: Kinds that are chosen from what is there, shape (M, N).
CHOSEN: dict[str, Callable[[Task], np.ndarray]] = {
    "digit-means": lambda task: _digits("digit-means"),
    "digit-images": lambda task: _digits("digit-images"),
    "file": lambda task: inputs.patterns_of(task["pattern_file"]),
}

KINDS = (*DRAWN, *CHOSEN)

#: The ways to say how many; a task has one of them.
_AMOUNTS = ("load", "relative_load", "count")

FIELDS = (
    Field("patterns", "kind", "pattern_kind", str, "random", False, choices=KINDS, doc="what is stored"),
    Field(
        "patterns",
        "file",
        "pattern_file",
        str,
        None,
        True,
        doc='a .npy or .parquet file or a folder of images, for kind = "file"',
        complete=inputs.named,
    ),
    Field("patterns", "load", "load", float, None, True, least=0, doc="patterns per neuron", shown=NO_COLUMNS),
    Field(
        "patterns",
        "relative_load",
        "relative_load",
        float,
        None,
        True,
        least=0,
        doc="in units of the mean-field capacity, for the dense rule of N^(power − 1)",
        shown=NO_COLUMNS,
    ),
    Field(
        "patterns",
        "count",
        "patterns",
        int,
        None,
        True,
        least=1,
        doc="patterns, instead of a load",
        shown=NO_COLUMNS,
    ),
    Field("patterns", "bias", "bias", float, 0.0, True, least=-1, most=1, doc="mean of an entry of a random pattern"),
    Field("patterns", "correlation", "correlation", float, 0.0, True, least=0, most=1, doc="overlap of any two"),
)


class Size(NamedTuple):
    """N and P of a task."""

    neurons: int
    patterns: int


def size_of(task: Task) -> Size:
    """Return the numbers of neurons and patterns, which a load, digits or a file may decide."""
    there = choice(task)
    neurons, most = (task["neurons"], 0) if there is None else (there.shape[1], len(there))
    if task["patterns"] is not None:
        return Size(neurons, task["patterns"])
    if task["load"] is not None:
        return Size(neurons, round(task["load"] * neurons))
    if task["relative_load"] is not None:
        return Size(neurons, round(task["relative_load"] * _unit(task, neurons)))
    return Size(neurons, most)


def _sizes(task: Task) -> tuple[int, int, float]:
    neurons, patterns = size_of(task)
    return neurons, patterns, patterns / neurons


#: What a table says of the sizes, whichever fields decide them.
SIZES = Columns({"neurons": int, "patterns": int, "load": float}, _sizes)


def _unit(task: Task, neurons: int) -> float:
    """Return how many patterns a relative load of 1 is."""
    if task["rule"] == "dense":
        return float(neurons ** (task["power"] - 1))
    return hebb_capacity(float(task["activation"]["beta"])) * neurons


def choice(task: Task) -> np.ndarray | None:
    """Return the patterns to choose from, shape (M, N), where they are not drawn."""
    kind = task["pattern_kind"]
    return CHOSEN[kind](task) if kind in CHOSEN else None


def problems(task: Task) -> list[tuple[str, str]]:
    """List what is wrong with these values taken together, as `(section.key, sentence)`."""
    kind, neurons = task["pattern_kind"], task["neurons"]
    found = _wrong_kind(task)
    if found:
        return found
    try:
        there = choice(task)
    except ValueError as error:
        return [("patterns.file", f"cannot be used: {error}")]
    if there is None and neurons is None:
        found.append(("memory.neurons", f'is missing; patterns.kind = "{kind}" needs it.'))
    if there is not None and neurons not in (None, there.shape[1]):
        least = f"must be {there.shape[1]}, or left out, for patterns.kind = {kind!r}"
        found.append(("memory.neurons", f"{least}; got {neurons}."))
    return found or _wrong_amount(task, there)


def _wrong_kind(task: Task) -> list[tuple[str, str]]:
    kind, found = task["pattern_kind"], []
    if (kind == "file") != (task["pattern_file"] is not None):
        found.append(("patterns.file", 'must be given for kind = "file", and for no other.'))
    if kind != "random" and task["bias"]:
        found.append(("patterns.bias", f'must be 0 for kind = "{kind}"; got {task["bias"]:g}.'))
    if abs(task["bias"]) == 1:
        found.append(("patterns.bias", "must be between -1 and 1: patterns that are one constant store nothing."))
    if kind != "correlated" and task["correlation"]:
        found.append(("patterns.correlation", f'must be 0 for kind = "{kind}"; got {task["correlation"]:g}.'))
    amounts = [name for name in _AMOUNTS if task["patterns" if name == "count" else name] is not None]
    if len(amounts) > 1:
        found.append(("patterns", f"must have one of load, relative_load and count; got {' and '.join(amounts)}."))
    if not amounts and kind not in ("digit-means", "file"):
        found.append(("patterns", "must have a load, a relative_load or a count."))
    if task["relative_load"] is not None:
        theory = task["rule"] == "hebb" and not task["self_coupling"] and kind == "random" and not task["bias"]
        theory = theory and task["activation"]["name"] == "tanh" and task["activation"]["beta"] > 1
        if not theory and task["rule"] != "dense":
            due = "Hebb's rule without self_coupling, random patterns and tanh with a gain above 1, or the dense rule"
            found.append(("patterns.relative_load", f"needs {due}; give load or count for others."))
    return found


def _wrong_amount(task: Task, there: np.ndarray | None) -> list[tuple[str, str]]:
    kind, size = task["pattern_kind"], size_of(task)
    if size.patterns < 1:
        asked = "load" if task["load"] is not None else "relative_load"
        return [(f"patterns.{asked}", f"must come to at least 1 pattern; {task[asked]:g} of {size.neurons} is none.")]
    if there is None:
        return []
    if kind == "digit-means" and size.patterns != len(there):
        return [("patterns", 'must have neither load nor count for kind = "digit-means": there are 10.')]
    if size.patterns > len(there):
        what = "the number of images" if kind == "digit-images" else "as many as the file has"
        return [("patterns.count", f"must be at most {len(there)}, {what}; got {size.patterns}.")]
    return []


def draw_patterns(task: Task, realisations: Sequence[int], seed: int) -> np.ndarray:
    """Return the patterns of every realisation, shape (R, P, N).

    Of a file, or of the digits, each realisation draws others, in a nested order; all of them where no number is given.
    """
    size, kind = size_of(task), task["pattern_kind"]
    given: dict[str, Any] = {"seed": seed, "realisations": realisations}
    there = choice(task)
    if there is None:
        return DRAWN[kind](task, size.patterns, size.neurons, **given)
    if size.patterns == len(there):
        return np.broadcast_to(there, (len(realisations), *there.shape))
    return choose(there, size.patterns, **given)
