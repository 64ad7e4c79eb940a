"""Compute realisations, and tell those apart that fail: a failure is an outcome with its reason, and ends no sweep."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from fasthop.runtime import aside
from fasthop.sweep.columns import make_table, table_schema
from fasthop.sweep.pending import Result
from fasthop.sweep.plan import Chunk
from fasthop.sweep.spec import Spec

#: What an experiment returns for some realisations.
Columns = Mapping[str, Any]

#: Computes chunks, in any order: `run` asks the agenda for them one by one, and takes each result before the next.
Compute = Callable[[Spec, Iterable[Chunk]], Iterator[Result]]

#: These are of the machine, not of a realisation: on another one, or later, all may be well.
_OF_THE_MACHINE = (ImportError, MemoryError, OSError)

#: Characters of a reason at most.
_LONGEST = 300


class Attempt(NamedTuple):
    """What came of some realisations: pieces of them with their columns, in order, and why the others failed."""

    pieces: list[tuple[list[int], Columns]]
    failed: dict[int, str]


def attempt(rows: Callable[..., Columns], task: Mapping[str, Any], realisations: Sequence[int], seed: int) -> Attempt:
    """Compute realisations together; where that fails, in halves, so that only those that fail by themselves lack.

    The rows of a realisation do not depend on which others are computed with it; see `Experiment`.
    """
    try:
        return Attempt([(list(realisations), aside(rows, task, realisations, seed))], {})
    except _OF_THE_MACHINE:
        raise
    except Exception as error:
        if len(realisations) == 1:
            return Attempt([], {int(realisations[0]): _reason(error)})
    middle = len(realisations) // 2
    halves = [attempt(rows, task, part, seed) for part in (realisations[:middle], realisations[middle:])]
    return Attempt(halves[0].pieces + halves[1].pieces, halves[0].failed | halves[1].failed)


def as_result(spec: Spec, chunk: Chunk, found: Attempt, seconds: float, machine: Mapping[str, Any]) -> Result:
    """Return what an attempt on a machine has found as the result of a chunk; errors as in `make_table`."""
    tables = [make_table(spec, chunk.task, *piece, machine["instruction_set"]) for piece in found.pieces]
    if len(tables) != 1:
        tables = [pa.concat_tables([table_schema(spec.experiment).empty_table(), *tables])]
    return Result(chunk, tables[0], seconds, machine, found.failed)


def _reason(error: Exception) -> str:
    """Say in one line what failed; what does not look like a refusal of numbers, with its place."""
    text = " ".join(str(error).split())
    if not (isinstance(error, ValueError) and text):
        frames = traceback.extract_tb(error.__traceback__)
        place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
        text = f"{type(error).__name__}{': ' * bool(text)}{text}{place}"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
