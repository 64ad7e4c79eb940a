"""What is stored and what it is recalled from, as a spec names it: patterns, the memory that holds them, and cues."""

from __future__ import annotations

from fasthop.experiments.experiment import Task
from fasthop.experiments.stored import cues, memories, patterns
from fasthop.experiments.stored.cues import NOISES, draw_cues
from fasthop.experiments.stored.memories import COUPLED, GROUPED, RULES, Stored, discrete_rules, store, width_of
from fasthop.experiments.stored.patterns import Size, draw_patterns, size_of

__all__ = [
    "COUPLED",
    "FIELDS",
    "GROUPED",
    "MEMORY_FIELDS",
    "NOISES",
    "RULES",
    "Size",
    "Stored",
    "discrete_rules",
    "draw_cues",
    "draw_patterns",
    "memory_problems",
    "problems",
    "size_of",
    "store",
    "width_of",
]

#: Fields of memories and patterns, and with those of the cues besides.
MEMORY_FIELDS = (*memories.FIELDS, *patterns.FIELDS)
FIELDS = (*MEMORY_FIELDS, *cues.FIELDS)


def memory_problems(task: Task) -> list[tuple[str, str]]:
    """List what is wrong with the memories and patterns of a task, as `(section.key, sentence)`."""
    return patterns.problems(task) or memories.problems(task)


def problems(task: Task) -> list[tuple[str, str]]:
    """List what is wrong with the values of a task taken together, as `(section.key, sentence)`."""
    return patterns.problems(task) or memories.problems(task) + cues.problems(task)
