"""Look for everything that can be wrong with the folder of a sweep, and compute some of it again."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fasthop.sweep.attempt import as_result, attempt
from fasthop.sweep.columns import FOOTER, read_table, starts_of_runs, table_schema
from fasthop.sweep.errors import FolderError
from fasthop.sweep.index import Index, held, index_files
from fasthop.sweep.machine import instruction_set, machine, versions
from fasthop.sweep.merge import gather, same_bits
from fasthop.sweep.pending import Agenda
from fasthop.sweep.plan import Chunk, TaskPlan, plan_tasks
from fasthop.sweep.spec import Registry, Spec
from fasthop.sweep.store import (
    Failure,
    by_task,
    named,
    other_files,
    outstanding,
    read_manifest,
    read_spec,
    spec_difference,
    using_files,
)
from fasthop.sweep.summary import damaged

#: Failed realisations that are named one by one.
_LISTED = 20


class VerifyReport(NamedTuple):
    """What was looked at, and what is wrong.

    Attributes
    ----------
    folder : Path
    files, rows : int
        In `tables/`.
    recomputed : int
        Chunks that were computed again.
    problems : tuple of str
        One sentence each; empty where all is well.
    notes : tuple of str
        What is no mistake but should be known.
    """

    folder: Path
    files: int
    rows: int
    recomputed: int
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def verify(folder: str | Path, sample: int = 3, seed: int = 0, registry: Registry | None = None) -> VerifyReport:
    """Check a sweep: its names, versions, columns, checksums, duplicates and gaps, and a sample of its numbers.

    Parameters
    ----------
    folder : path
    sample : int
        Chunks to compute again and to compare bit for bit; those of another instruction set are not compared.
    seed : int
        Which ones.
    registry : mapping of str to Experiment, optional

    Raises
    ------
    FolderError
        Where the folder holds no sweep at all.
    """
    folder = named(folder)
    spec, manifest = read_spec(folder, registry), read_manifest(folder)
    tasks = plan_tasks(spec)
    problems = [f"{path} is no file of this sweep." for path in other_files(folder)]
    if manifest["tasks"] != [task.task_id for task in tasks]:
        problems.append(f"{folder / 'manifest.json'} has other task ids than its spec gives.")
    problems += damaged(folder, spec.experiment, manifest["derived"])

    def look(paths: list[Path]) -> tuple[int, list[str], Index, list[tuple[Chunk, pa.Table]], int]:
        found = {path: list(_file_problems(path, spec, tasks)) for path in paths}
        index = index_files([path for path in paths if not found[path]], tasks, spec)
        chosen, foreign = _sample(index, spec, tasks, sample, seed)
        pieces = [(chunk, gather(index, entries, spec)) for chunk, entries in chosen]
        return len(paths), list(itertools.chain.from_iterable(found.values())), index, pieces, foreign

    count, found, index, pieces, foreign = using_files([folder], look)
    failed = outstanding(manifest["failed"], held(index, tasks), spec.realisations)
    problems += [*found, *_duplicates(index, tasks), *_gaps(index, spec, tasks, failed)]
    problems += [f"{one}; run again to try it again." for one in failed[:_LISTED]]
    if len(failed) > _LISTED:
        problems.append(f"{len(failed) - _LISTED} more realisations failed.")
    for chunk, there in pieces:
        again = attempt(spec.experiment.rows, chunk.task.parameters, chunk.realisations, spec.seed)
        if not same_bits(there, as_result(spec, chunk, again, 0.0, machine()).table):
            problems.append(f"the chunk {chunk.id} has other rows than computing it again gives{_cause(manifest)}.")
    return VerifyReport(
        folder, count, int(index.rows.sum()), len(pieces), tuple(problems), tuple(_notes(index, foreign))
    )


def _file_problems(path: Path, spec: Spec, tasks: Sequence[TaskPlan]) -> Iterator[str]:
    """Say the first thing that is wrong with a file."""
    try:
        table = read_table(path, table_schema(spec.experiment), spec.seed)
        index = index_files([path], tasks, spec)
        there = json.loads(table.schema.metadata[FOOTER])
        difference = spec_difference(there, spec)
    except FolderError as error:
        yield str(error)
        return
    except (AttributeError, KeyError, TypeError, ValueError):
        yield f"{path} has no spec in its footer."
        return
    if difference:
        yield f"{path} belongs to another sweep: {difference}."
        return
    order = np.lexsort((index.realisation, index.task))
    if len(starts_of_runs(index.task[order], index.realisation[order])) < len(order):
        yield f"{path} has rows of one realisation in two places."


def _duplicates(index: Index, tasks: Sequence[TaskPlan]) -> Iterator[str]:
    twice = np.setdiff1d(np.arange(len(index.task)), index.once())
    if len(twice):
        first = twice[0]
        which = f"realisation {index.realisation[first]} of the task {tasks[index.task[first]].task_id}"
        others = f" and {len(twice) - 1} more" if len(twice) > 1 else ""
        yield (
            f"{index.files[index.file[first]]} has {which}{others}, which another file has too: "
            "read counts them once, other readers do not; fasthop compact keeps one."
        )


def _gaps(index: Index, spec: Spec, tasks: Sequence[TaskPlan], failed: Sequence[Failure]) -> Iterator[str]:
    agenda = Agenda(spec, tasks, held(index, tasks), failed=by_task(failed))
    if first := next(iter(agenda), None):
        most = "at most " if spec.stop else ""
        yield f"chunks lack, {most}{agenda.left}, the first of them {first.id}: run again."


def _sample(
    index: Index, spec: Spec, tasks: Sequence[TaskPlan], sample: int, seed: int
) -> tuple[list[tuple[Chunk, np.ndarray]], int]:
    """Choose chunks that are there, by the hash of their names; count those of another instruction set."""
    entries = index.once()
    mine = entries[index.instruction_set[entries] == instruction_set()]
    per_chunk = np.array([task.per_chunk for task in tasks])
    part = index.realisation[mine] // per_chunk[index.task[mine]]
    bounds = np.append(starts_of_runs(index.task[mine], part), len(mine))

    def rank(low: int) -> bytes:
        name = f"{seed} {tasks[index.task[mine[low]]].task_id}-{part[low]}"
        return hashlib.sha256(name.encode()).digest()

    chosen = sorted(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True), key=lambda pair: rank(pair[0]))
    chunks = []
    for low, high in chosen[: max(sample, 0)]:
        own = mine[low:high]
        realisations = tuple(index.realisation[own].tolist())
        chunks.append((Chunk(-1, tasks[index.task[own[0]]], int(part[low]), realisations), own))
    return chunks, len(entries) - len(mine)


def _cause(manifest: Mapping[str, Any]) -> str:
    """Name the packages that were others when the rows were computed: their last bits may differ."""
    this, before = versions(), set()
    for entry in manifest["runs"]:
        there = entry.get("versions") if entry.get("instruction_set") == instruction_set() else None
        if isinstance(there, dict):
            before |= {
                f"{name} {there.get(name)} (here {this[name]})" for name in this if there.get(name) != this[name]
            }
    return f", which may be the doing of {', '.join(sorted(before))}" if before else ""


def _notes(index: Index, foreign: int) -> Iterator[str]:
    machines = np.unique(index.instruction_set).tolist()
    if len(machines) > 1:
        sets = ", ".join(machines)
        yield f"the rows were computed with several instruction sets ({sets}): their last bits may differ."
    if foreign:
        yield f"{foreign} realisations are not of this machine's instruction set, {instruction_set()}: not compared."
