"""Put folders of one sweep together, each realisation once: the same rows make the same files, whatever their way."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fasthop.sweep import store as stores
from fasthop.sweep.columns import IDENTITY, parquet_bytes
from fasthop.sweep.errors import FolderError
from fasthop.sweep.index import Index, Rows, cut, held, index_files
from fasthop.sweep.plan import Plan, plan_tasks
from fasthop.sweep.spec import Registry, Spec
from fasthop.sweep.store import (
    Store,
    named,
    open_store,
    outstanding,
    read_manifest,
    read_spec,
    spec_difference,
    table_files,
    using_files,
)
from fasthop.sweep.summary import refresh


class MergeReport(NamedTuple):
    """What a merge has found.

    Attributes
    ----------
    out : Path
    rows : int
        Rows in `out` now.
    files_before, files : int
        In all folders before, and in `out` now.
    repeated : int
        Realisations that were there more than once.
    instruction_sets : tuple of str
        What the rows were computed with. Where there are several, the bits of some rows are not those that one machine
        would have given; they agree in distribution.
    differing : int
        Repeated realisations whose rows differ because their instruction sets do.
    notes : tuple of str
        What went wrong beside the rows, such as a picture that could not be drawn.
    """

    out: Path
    rows: int
    files_before: int
    files: int
    repeated: int
    instruction_sets: tuple[str, ...]
    differing: int
    notes: tuple[str, ...] = ()


def merge(folders: Sequence[str | Path], out: str | Path, registry: Registry | None = None) -> MergeReport:
    """Merge folders of one sweep into another: shards, copies, or what several machines have begun.

    Merging a folder twice, or in another order, changes nothing, not even a byte of `tables/`.

    Parameters
    ----------
    folders : sequence of path
        They are read only.
    out : path
        New, empty, or of the same sweep; what it holds stays.
    registry : mapping of str to Experiment, optional

    Returns
    -------
    MergeReport

    Raises
    ------
    FolderError
        Where a folder holds no sweep, another sweep, or damaged files; where two folders differ in the rows of a
        realisation although they were computed with one instruction set. `out` is then as it was.
    OSError
        Where the disk is full; `out` is then as it was.
    """
    sources, out = [named(folder) for folder in folders], named(out)
    if not sources:
        raise FolderError("merge needs at least one folder.")
    there = [out] if os.path.lexists(out / "manifest.json") else []
    spec = _common_spec([*sources, *there], registry)
    manifests = [read_manifest(folder) for folder in sources]
    runs = [run for manifest in manifests for run in manifest["runs"]]
    failed = [failure for manifest in manifests for failure in manifest["failed"]]
    with open_store(out, spec, plan_tasks(spec).names, "merge", merged=[str(folder) for folder in sources]) as store:
        others = [folder for folder in sources if not _same(folder, out)]
        report = _rewrite(store, out, spec, [out, *others], failed)
        store.inherit(runs)
    return report


def compact(folder: str | Path, registry: Registry | None = None) -> MergeReport:
    """Put the files of a sweep together in as few as are good to read, in the order of the plan.

    The rows stay the same to the bit; a realisation that lay in several files is kept once. Errors as in `merge`.
    """
    folder = named(folder)
    spec = read_spec(folder, registry)
    with open_store(folder, spec, plan_tasks(spec).names, "compact") as store:
        return _rewrite(store, folder, spec, [folder], [])


def _same(one: Path, two: Path) -> bool:
    return one.resolve() == two.resolve()


def _common_spec(folders: Sequence[Path], registry: Registry | None) -> Spec:
    """Return the spec of all folders, with the largest number of realisations."""
    specs = [read_spec(folder, registry) for folder in folders]
    for folder, spec in zip(folders[1:], specs[1:], strict=True):
        difference = spec_difference(specs[0].to_mapping(), spec)
        if difference is None and spec.stop != specs[0].stop:
            difference = "their stopping rules differ"
        if difference:
            raise FolderError(f"{folders[0]} and {folder} hold different sweeps ({difference}).")
    return max(specs, key=lambda spec: spec.realisations)


def _rewrite(
    store: Store, out: Path, spec: Spec, folders: Sequence[Path], failed: Sequence[Sequence[Any]]
) -> MergeReport:
    tasks = plan_tasks(spec)

    def rewrite(paths: list[Path]) -> tuple[Index, np.ndarray, int]:
        index = index_files(paths, tasks.names, spec.experiment, spec.seed)
        entries, rows = index.once(), Rows(index, spec.experiment, spec.seed)
        differing = _compare(index, entries, rows, tasks)
        store.rewrite(_pieces(index, entries, rows, spec, tasks), paths)
        return index, entries, differing

    index, entries, differing = using_files(folders, rewrite)
    store.failed = outstanding([*failed, *store.failed], held(index, len(tasks)), tasks.names, spec.realisations)
    notes = (*store.notes, *(refresh(out, spec.experiment, store) if len(entries) else ()))
    machines = tuple(index.machines[number] for number in np.unique(index.machine[entries]))
    repeated, before = len(index.task) - len(entries), len(index.files)
    return MergeReport(out, store.rows, before, len(table_files(out)), repeated, machines, differing, notes)


def _pieces(
    index: Index, entries: np.ndarray, rows: Rows, spec: Spec, tasks: Plan
) -> Iterator[tuple[int, int, pa.Table]]:
    """Cut entries into files of at most FLUSH_ROWS rows, but at least one realisation."""
    first_chunk = tasks.first_chunks(spec.realisations)
    for own in cut(entries, index.rows[entries], stores.FLUSH_ROWS):
        ends = index.task[own[[0, -1]]]
        first, last = first_chunk[ends] + index.realisation[own[[0, -1]]] // tasks.per_chunk[ends]
        yield int(first), int(last), rows.of(own)


def _compare(index: Index, kept: np.ndarray, rows: Rows, tasks: Plan) -> int:
    """Compare the rows of realisations that are there several times; count those that differ for a reason."""
    others = np.setdiff1d(np.arange(len(index.task)), kept)
    twin = _twins(index, kept, others)
    differing = 0
    for start in range(0, len(others), 10_000):
        pair = [some[start : start + 10_000] for some in (twin, others)]
        if same_bits(*(rows.of(some) for some in pair)):
            continue
        for one, two in zip(*pair, strict=True):
            if same_bits(*(rows.of(np.array([entry])) for entry in (one, two))):
                continue
            if index.machine[one] == index.machine[two]:
                files = " and ".join(str(index.files[index.file[entry]]) for entry in (one, two))
                which = f"realisation {index.realisation[one]} of the task {tasks.names[index.task[one]]}"
                raise FolderError(f"{files} differ in {which}: fasthop verify says which of them is wrong.")
            differing += 1
    return differing


def _twins(index: Index, kept: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return which of the kept entries, which are sorted, has the realisation of each of the others."""
    most = int(index.realisation.max(initial=0)) + 1
    key = index.task.astype(np.int64) * most + index.realisation
    return np.asarray(kept[np.searchsorted(key[kept], key[others])])


def same_bits(one: pa.Table, two: pa.Table) -> bool:
    """Say whether what was computed is the same in two tables of one sweep, NaN and the last bit included."""
    measured = [name for name in one.column_names if name not in IDENTITY.names]
    first, second = (parquet_bytes(table.select(measured).combine_chunks()) for table in (one, two))
    return bytes(first) == bytes(second)
