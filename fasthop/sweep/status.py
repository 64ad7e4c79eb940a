"""How far a sweep is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fasthop.sweep.index import Failure, held, index_files
from fasthop.sweep.pending import Agenda
from fasthop.sweep.plan import count_chunks, plan_tasks
from fasthop.sweep.progress import intervals, labels
from fasthop.sweep.spec import Registry
from fasthop.sweep.store import named, outstanding, read_manifest, spec_of, using_files


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
    manifest = read_manifest(folder)
    spec, runs, lost = spec_of(folder, manifest, registry), manifest["runs"], manifest["failed"]
    del manifest  # the ids of a million tasks
    tasks = plan_tasks(spec)
    index = using_files([folder], lambda paths: index_files(paths, tasks.names, spec.experiment, spec.seed)).ordered()
    there, rows = held(index, len(tasks)), int(index.rows.sum())
    failed = outstanding(lost, there, tasks.names, spec.realisations)
    agenda = Agenda(spec, tasks, there, failed=failed)
    table: dict[str, Any] = {"task_id": list(tasks.names), "task": labels(spec)}
    table |= {"realisations": np.diff(there.bounds)}
    ranks = tasks.names.ranks([one.task_id for one in failed])
    table |= {"failed": np.bincount(ranks[ranks >= 0], minlength=len(tasks))}
    table |= {"left": agenda.lacking}
    if spec.experiment.counts:
        table |= dict(zip(("rate", "low", "high"), intervals(there).T, strict=True))
    chunks = count_chunks(tasks, spec.realisations)
    return Status(folder, chunks, agenda.left, rows, len(index.files), pd.DataFrame(table), runs, failed)
