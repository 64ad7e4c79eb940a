"""Stored memories for experiments that look at what was stored: memories, patterns, and the columns that name them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fasthop.activations import as_activation
from fasthop.experiments import stored
from fasthop.experiments.experiment import Field, Task
from fasthop.memory import Memory

#: Fields of what is stored, without the cues.
FIELDS = tuple(field for field in stored.FIELDS if field.section != "cues")

_TYPES = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}


class Stored(NamedTuple):
    """Memories of R realisations and what they have stored.

    Attributes
    ----------
    memory : Memory
        R memories together. The first N neurons are those of the patterns.
    patterns : float64 array, shape (R, P, N)
    """

    memory: Memory
    patterns: np.ndarray

    def outputs(self, states: np.ndarray) -> np.ndarray:
        """Return g of the neurons of the patterns, shape (…, N)."""
        kind = as_activation(self.memory.layers[0].activation)
        return kind.g(np.ascontiguousarray(states[..., : self.patterns.shape[2]]))

    def start(self, cues: np.ndarray) -> np.ndarray:
        """Return the states that cues of shape (R, C, N) start from."""
        return cues

    def alone(self, index: int) -> Memory:
        """Return the memory of one realisation."""
        return Memory(self.memory.W[index], self.memory.b[index], layers=self.memory.layers)


def store(task: Task, realisations: Sequence[int], seed: int) -> Stored:
    """Draw the patterns of a task and learn them; realisation and seed alone decide the draws."""
    xi = stored.draw_patterns(task, realisations, seed)
    learnt = stored.learn(task, xi)
    return Stored(Memory(learnt.W, learnt.b, task["activation"]), xi)


def columns_of(fields: Sequence[Field]) -> list[tuple[str, pa.DataType]]:
    """Return names and types of the columns of these fields, sizes first, `activation` as its name and gain."""
    found: list[tuple[str, pa.DataType]] = [("neurons", pa.int64()), ("patterns", pa.int64()), ("load", pa.float64())]
    for field in fields:
        if field.column == "activation":
            found += [("activation", pa.string()), ("beta", pa.float64())]
        elif field.column not in ("neurons", "patterns", "load"):
            found.append((field.column, _TYPES[field.kind]))
    return found


def values_of(task: Task, fields: Sequence[Field]) -> dict[str, Any]:
    """Return the values of `columns_of` for a task."""
    neurons, patterns = stored.size_of(task)
    activation = as_activation(task["activation"])
    found: dict[str, Any] = {"neurons": neurons, "patterns": patterns, "load": patterns / neurons}
    for field in fields:
        if field.column == "activation":
            found |= {"activation": activation.name, "beta": activation.parameter}
        elif field.column not in found:
            found[field.column] = task[field.column]
    return found


def problems(task: Task) -> list[tuple[str, str]]:
    """List what is wrong with what is stored, as `stored.problems`; a task without cues has none that are noisy."""
    found = stored.problems(dict.fromkeys(stored.NOISES, 0) | dict(task))
    activation = as_activation(task["activation"])
    if activation.name != "tanh":
        found.append(("memory.activation", f"must be tanh for patterns of ±1; got {activation.name!r}."))
    return found
