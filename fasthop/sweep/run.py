"""Run a sweep: compute what its folder lacks, chunk by chunk, then sum it up."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa

from fasthop.runtime import aside
from fasthop.sweep import progress as watches
from fasthop.sweep.attempt import Attempt, Compute, as_result, attempt
from fasthop.sweep.errors import SpecError
from fasthop.sweep.index import Failure, Held, held, index_files
from fasthop.sweep.machine import machine
from fasthop.sweep.pending import Agenda, Result
from fasthop.sweep.plan import Chunk, Plan, count_chunks, plan_tasks
from fasthop.sweep.plan import shard as checked_shard
from fasthop.sweep.spec import Registry, Source, Spec, load_spec
from fasthop.sweep.store import check_folder, named, open_store, table_files, using_files
from fasthop.sweep.summary import forget, refresh

#: How long a timed outlook goes on timing chunks, beyond the first.
TIMING_SECONDS = 5.0


class RunReport(NamedTuple):
    """What a run has done.

    Attributes
    ----------
    out : Path
    rows : int
        Rows computed.
    chunks : int
        Chunks computed, wholly or in part.
    skipped : int
        Chunks that were there already; those of other shards not counted.
    seconds : float
    failed : tuple of Failure
        Realisations that have no rows because they failed, now or in an earlier run: a new run tries them again.
    notes : tuple of str
        What went wrong beside the rows, such as a picture that could not be drawn.
    """

    out: Path
    rows: int
    chunks: int
    skipped: int
    seconds: float
    failed: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()


class Outlook(NamedTuple):
    """What a run would do.

    Attributes
    ----------
    tasks, chunks, realisations : int
        In the whole sweep, under a stopping rule at most; realisations of all tasks together.
    left : int
        Chunks that this run would compute, at most.
    rows : int, optional
        Rows of those, estimated where a realisation may have several. None where nothing was timed.
    seconds : float, optional
        What those would take on this machine, estimated from timed chunks.
    timed : int
        How many were timed.
    at_most : bool
        Whether a stopping rule may do with fewer than these.
    """

    tasks: int
    chunks: int
    realisations: int
    left: int
    rows: int | None = None
    seconds: float | None = None
    timed: int = 0
    at_most: bool = False


def run(
    spec: Source,
    out: str | Path,
    progress: bool | watches.Watch = True,
    registry: Registry | None = None,
    shard: tuple[int, int] | None = None,
    dask: str | None = None,
    dask_security: str | Path | None = None,
) -> RunReport:
    """Run a sweep, or go on with it.

    What `out` already holds is not computed again. Given the same spec, the table is the same to the bit however
    often the run was interrupted, on however many threads, shards and machines with one instruction set.

    Parameters
    ----------
    spec : path, mapping or Spec
        A TOML file, what such a file would hold, or a checked spec.
    out : path
        A folder, new, empty, or with the same sweep. `realisations` may differ; a larger number extends the sweep.
        Rows go to `tables/`, what the experiment makes of them to `summary.parquet` and a PNG.
    progress : bool or Watch
        Show progress on stderr, if that is a terminal; or a watch of `fasthop.sweep.progress`.
    registry : mapping of str to Experiment, optional
        The experiments to choose from; those of fasthop by default.
    shard : (int, int), optional
        (i, n): compute the i-th of n parts only, 1 ≤ i ≤ n; `merge` puts them together.
    dask : str, optional
        Compute on the workers of this scheduler: its address, or the path of its file, which ends in .json. Needs
        `fasthop[dask]`.
    dask_security : path, optional
        For a scheduler at tls://: a TOML file with `tls_ca_file`, `tls_client_cert`, `tls_client_key`, the paths of PEM
        files, relative ones from its own folder, and `require_encryption`, true by default: the fields of
        `distributed.Security`. Without it dask's own configuration, `distributed.comm.tls`, must name them.

    Returns
    -------
    RunReport

    Raises
    ------
    SpecError
        Before anything is created, with everything that is wrong with the spec, or with `dask_security`.
    FolderError
        Where `out` holds anything else, cannot be written, or is in use.
    ClusterError
        Where the scheduler cannot be reached, or its workers cannot be used: before anything is created, but where they
        are gone later.
    OSError
        Where the disk is full. Finished files are kept; a new run goes on from them.
    """
    began, out = time.monotonic(), named(out)
    checked = load_spec(spec, registry)
    experiment, tasks = checked.experiment, plan_tasks(checked)
    part = None if shard is None else checked_shard(*shard)
    if dask is None and dask_security is not None:
        raise SpecError(["dask_security (--dask-security) is for a scheduler: give dask (--dask), its address, too."])
    if dask is not None:
        check_folder(out, checked)  # rather than after a wait for the scheduler
    workers = contextlib.nullcontext(here) if dask is None else _on_cluster(dask, dask_security)
    watch = progress if callable(progress) else watches.on_terminal() if progress else watches.silence
    facts = {"shard": str(part)} if part else {}
    facts |= {"dask": dask} if dask else {}
    with workers as compute, open_store(out, checked, tasks.names, **facts) as store:
        there = _there(out, checked, tasks)
        agenda = Agenda(checked, tasks, there, part)  # what has failed lacks, and is tried again
        ranks = tasks.names.ranks([one.task_id for one in store.failed]).tolist()
        store.failed = [
            one for rank, one in zip(ranks, store.failed, strict=True) if not there.has(rank, one.realisation)
        ]
        if agenda.left:
            forget(out, experiment)
        with watch(checked, agenda.left) as show:
            for result in compute(checked, agenda):
                counts = agenda.counts(result.chunk.task)
                for counted in agenda.take(result):
                    store.add(counted)
                chunk, at = result.chunk, (store.chunks, agenda.left)
                show(watches.Step(chunk.id, chunk.task, result.seconds, *at, counts, len(result.failed)))
        store.note()
        notes = [*store.notes, *(refresh(out, experiment, store) if table_files(out) else [])]
    failed = tuple(one for one in sorted(store.failed) if one.realisation < checked.realisations)
    return RunReport(out, store.rows, store.chunks, agenda.there, time.monotonic() - began, failed, tuple(notes))


def here(spec: Spec, chunks: Iterable[Chunk]) -> Iterator[Result]:
    """Compute chunks in this process, one after the other."""
    this = machine()
    for chunk in chunks:
        began = time.perf_counter()
        found = attempt(spec.experiment.rows, chunk.task.parameters, chunk.realisations, spec.seed)
        yield as_result(spec, chunk, found, time.perf_counter() - began, this)


def _on_cluster(address: str, security: str | Path | None) -> contextlib.AbstractContextManager[Compute]:
    if not address:
        raise SpecError(["dask (--dask) must be the address of a scheduler, as tcp://head:8786; got an empty text."])
    from fasthop.sweep.cluster import on_cluster

    return on_cluster(address, security)


def _there(out: Path, spec: Spec, tasks: Plan) -> Held:
    found = using_files([out], lambda paths: index_files(paths, tasks.names, spec.experiment, spec.seed))
    return held(found, len(tasks))


def outlook(
    spec: Source,
    out: str | Path | None = None,
    registry: Registry | None = None,
    shard: tuple[int, int] | None = None,
    timed: bool = False,
) -> Outlook:
    """Say what `run` would do, and create nothing.

    Parameters
    ----------
    spec, out, registry, shard : as in `run`
    timed : bool
        Compute some of the chunks that lack, and drop them, to estimate the time: one, and for a few seconds more,
        spread over the plan, because tasks differ.
    """
    checked = load_spec(spec, registry)
    tasks = plan_tasks(checked)
    part = None if shard is None else checked_shard(*shard)
    begun = out is not None and check_folder(Path(out), checked) is not None
    there = _there(Path(out), checked, tasks) if out is not None and begun else None
    agenda = Agenda(checked, tasks, there, part)
    chunks = count_chunks(tasks, checked.realisations)
    plan = Outlook(len(tasks), chunks, len(tasks) * checked.realisations, agenda.left, at_most=checked.stop is not None)
    return _timed(plan, checked, agenda) if timed and agenda.left else plan


def _timed(plan: Outlook, spec: Spec, agenda: Agenda) -> Outlook:
    """Estimate rows and seconds from chunks in an order that is spread over the plan at every moment."""
    first = next(iter(agenda))
    attempt(spec.experiment.rows, first.task.parameters, first.realisations[:1], spec.seed)  # compiles, loads
    began, timed, rows, seconds = time.perf_counter(), 0, 0, 0.0
    for result in here(spec, agenda.at(_spread(agenda.left))):
        timed += 1
        seconds += result.seconds
        rows += result.table.num_rows
        if time.perf_counter() - began >= TIMING_SECONDS:
            break
    # Under a stopping rule chunks are seen in full though fewer may do: everything here is at most.
    share = agenda.left / timed
    return plan._replace(rows=round(rows * share), seconds=seconds * share, timed=timed)


def _spread(count: int) -> Iterator[int]:
    """Yield 0, then the middle of the largest gaps below count: van der Corput's order."""
    bits = max(1, (count - 1).bit_length())
    for i in range(1 << bits):
        place = int(f"{i:0{bits}b}"[::-1], 2)
        if place < count:
            yield place


def table(spec: Source, registry: Registry | None = None) -> pd.DataFrame:
    """Return the rows of a sweep without a folder: what `read` would give after `run`; arguments as in `run`.

    A realisation that fails is not left out: what its experiment has raised is raised.
    """
    checked = load_spec(spec, registry)
    agenda = Agenda(checked, plan_tasks(checked))
    tables = []
    for chunk in agenda:
        columns = aside(checked.experiment.rows, chunk.task.parameters, chunk.realisations, checked.seed)
        result = as_result(checked, chunk, Attempt([(list(chunk.realisations), columns)], {}), 0.0, machine())
        tables += [counted.table for counted in agenda.take(result)]
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    return frame
