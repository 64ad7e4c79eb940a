"""What is stored and what it is recalled from, as a spec names it: patterns, the memory that holds them, and cues."""

from __future__ import annotations

from fasthop.experiments.experiment import Task
from fasthop.experiments.stored import cues, memories, patterns
from fasthop.experiments.stored.cues import NOISES, draw_cues
from fasthop.experiments.stored.memories import COUPLED, GROUPED, RULES, Stored, count_fixed, store
from fasthop.experiments.stored.patterns import Size, draw_patterns, size_of

__all__ = [
    "COUPLED",
    "FIELDS",
    "GROUPED",
    "NOISES",
    "RULES",
    "Size",
    "Stored",
    "count_fixed",
    "draw_cues",
    "draw_patterns",
    "problems",
    "size_of",
    "store",
]

FIELDS = (*memories.FIELDS, *patterns.FIELDS, *cues.FIELDS)


def problems(task: Task) -> list[tuple[str, str]]:
    """List what is wrong with these values taken together, as `(section.key, sentence)`."""
    found = patterns.problems(task)
    return found or memories.problems(task) + cues.problems(task)
