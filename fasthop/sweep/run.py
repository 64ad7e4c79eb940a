"""Run a sweep: compute what its folder lacks, chunk by chunk, then sum it up."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa

from fasthop.experiments.experiment import Experiment
from fasthop.sweep.plan import count_chunks, plan_chunks, plan_tasks
from fasthop.sweep.read import experiment_of, read
from fasthop.sweep.spec import Registry, load_spec
from fasthop.sweep.store import check_folder, finished, make_table, open_store, parquet_bytes, replacing


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
        Chunks that were there already.
    seconds : float
    """

    out: Path
    rows: int
    chunks: int
    skipped: int
    seconds: float


class Outlook(NamedTuple):
    """What a run would do.

    Attributes
    ----------
    tasks, chunks, realisations : int
        In the whole sweep; realisations of all tasks together.
    left : int
        Chunks that are not there yet.
    """

    tasks: int
    chunks: int
    realisations: int
    left: int


def run(
    spec: str | Path | Mapping[str, Any], out: str | Path, progress: bool = True, registry: Registry | None = None
) -> RunReport:
    """Run a sweep, or go on with it.

    What `out` already holds is not computed again. Given the same spec, the table is the same to the bit however
    often the run was interrupted, on machines with one instruction set.

    Parameters
    ----------
    spec : path or mapping
        A TOML file, or what such a file would hold.
    out : path
        A folder, new, empty, or with the same sweep. `realisations` may differ; a larger number extends the sweep.
        Rows go to `tables/`, what the experiment makes of them to `summary.parquet` and a PNG.
    progress : bool
        Show a progress bar on stderr, if that is a terminal.
    registry : mapping of str to Experiment, optional
        The experiments to choose from; those of fasthop by default.

    Returns
    -------
    RunReport

    Raises
    ------
    SpecError
        Before anything is created, with everything that is wrong with the spec.
    FolderError
        Where `out` holds anything else, cannot be written, or is in use.
    OSError
        Where the disk is full. Finished files are kept; a new run goes on from them.
    """
    begun, out = time.monotonic(), Path(out)
    checked = load_spec(spec, registry)
    experiment, tasks = checked.experiment, plan_tasks(checked)
    summary_path, plot_path = out / "summary.parquet", _plot_path(out, experiment)
    with open_store(out, checked, tasks) as store:
        left = list(plan_chunks(tasks, checked.realisations, finished(out, experiment)))
        if left:
            for path in (summary_path, plot_path):  # they would not be those of the rows any more
                path.unlink(missing_ok=True)
        with _progress(len(left), progress and sys.stderr.isatty()) as advance:
            for chunk in left:
                store.add(chunk, experiment.rows(chunk.task.parameters, chunk.realisations, checked.seed))
                advance()
        store.flush()
        if not (summary_path.exists() and plot_path.exists()):
            summary = experiment.summarise(read(out))
            with replacing(out, summary_path) as partial:
                partial.write_bytes(parquet_bytes(pa.Table.from_pandas(summary, preserve_index=False)))
            _write_plot(out, experiment, summary)
    skipped = count_chunks(tasks, checked.realisations) - len(left)
    return RunReport(out, store.rows, store.chunks, skipped, time.monotonic() - begun)


def outlook(
    spec: str | Path | Mapping[str, Any], out: str | Path | None = None, registry: Registry | None = None
) -> Outlook:
    """Say what `run` would do, and create nothing; parameters and errors as in `run`."""
    checked = load_spec(spec, registry)
    tasks = plan_tasks(checked)
    begun = out is not None and check_folder(Path(out), checked) is not None
    there = finished(Path(out), checked.experiment) if out is not None and begun else {}
    left = sum(1 for _ in plan_chunks(tasks, checked.realisations, there))
    chunks = count_chunks(tasks, checked.realisations)
    return Outlook(len(tasks), chunks, len(tasks) * checked.realisations, left)


def table(spec: str | Path | Mapping[str, Any], registry: Registry | None = None) -> pd.DataFrame:
    """Return the rows of a sweep without a folder: what `read` would give after `run`; arguments as in `run`."""
    checked = load_spec(spec, registry)
    chunks = plan_chunks(plan_tasks(checked), checked.realisations, {})
    tables = []
    for chunk in chunks:
        columns = checked.experiment.rows(chunk.task.parameters, chunk.realisations, checked.seed)
        tables.append(make_table(checked, chunk.task, chunk.realisations, columns))
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    return frame


def plot(folder: str | Path, registry: Registry | None = None) -> Path:
    """Draw what a folder holds of its sweep by now; return the path of the PNG. Errors as in `read`."""
    folder = Path(folder)
    summary = read(folder, summary=True, registry=registry)
    return _write_plot(folder, experiment_of(folder, registry), summary)


def _plot_path(folder: Path, experiment: Experiment) -> Path:
    return folder / f"{experiment.name}.png"


def _write_plot(folder: Path, experiment: Experiment, summary: pd.DataFrame) -> Path:
    path = _plot_path(folder, experiment)
    with replacing(folder, path) as partial:
        experiment.plot(summary, partial)
    return path


@contextmanager
def _progress(chunks: int, shown: bool) -> Iterator[Callable[[], None]]:
    """Give a function to call after every chunk."""
    if not shown:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Task as RichTask
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: RichTask) -> Text:
            return Text(f"{task.speed or 0.0:.3g} chunks/s")

    done, left = (MofNCompleteColumn(), TextColumn("chunks")), (TimeRemainingColumn(), TextColumn("left"))
    with Progress(BarColumn(), *done, Rate(), *left, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=chunks)
        yield lambda: bar.advance(task)
