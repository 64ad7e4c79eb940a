"""How far a sweep is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from fasthop.sweep.index import held, index_files
from fasthop.sweep.pending import Agenda
from fasthop.sweep.plan import count_chunks, plan_tasks
from fasthop.sweep.progress import interval, label
from fasthop.sweep.spec import Registry
from fasthop.sweep.store import Failure, by_task, named, outstanding, read_manifest, read_spec, using_files


class Status(NamedTuple):
    """How far a sweep is.

    Attributes
    ----------
    folder : Path
    chunks, left : int
        Of the whole sweep, and those that lack; under a stopping rule at most.
    rows, files : int
    tasks : DataFrame
        One row per task: `task_id`, `task` (what varies), `realisations` there, `failed` ones, `left` (chunks), and
        where the experiment has a rate, `rate` with its interval `low`, `high`.
    runs : list of dict
        What the manifest has of every run, the last one last.
    failed : list of Failure
        Realisations that have no rows because they failed, and why; a new run tries them again.
    """

    folder: Path
    chunks: int
    left: int
    rows: int
    files: int
    tasks: pd.DataFrame
    runs: list[dict[str, Any]]
    failed: list[Failure]


def status(folder: str | Path, registry: Registry | None = None) -> Status:
    """Say how far a sweep is, also while it runs; errors as in `read`, but a sweep without rows has a status."""
    folder = named(folder)
    spec, manifest = read_spec(folder, registry), read_manifest(folder)
    tasks = plan_tasks(spec)
    index = using_files([folder], lambda paths: index_files(paths, tasks, spec))
    there = held(index, tasks)
    failed = outstanding(manifest["failed"], there, spec.realisations)
    lost = by_task(failed)
    table = []
    for task in tasks:
        own = there.get(task.task_id)
        left = Agenda(spec, [task], there, failed=lost).left
        row: dict[str, Any] = {"task_id": task.task_id, "task": label(spec, task)}
        row |= {"realisations": 0 if own is None else len(own.realisations)}
        row |= {"failed": len(lost.get(task.task_id, ())), "left": left}
        if spec.experiment.counts:
            found = None if own is None else interval(own.counts)
            row |= dict(zip(("rate", "low", "high"), found or (float("nan"),) * 3, strict=True))
        table.append(row)
    frame = pd.DataFrame(table)
    chunks, left = count_chunks(tasks, spec.realisations), int(frame["left"].sum())
    rows = int(index.rows[index.once()].sum())
    return Status(folder, chunks, left, rows, len(index.files), frame, manifest["runs"], failed)
