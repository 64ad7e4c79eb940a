"""What a run says of itself while it runs: nothing, bars on a terminal, or lines of JSON."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, TextIO, cast

import numpy as np

from fasthop.sweep.index import Held
from fasthop.sweep.plan import TaskPlan
from fasthop.sweep.spec import Spec
from fasthop.sweep.terminal import Remarks, printable

#: Tasks with their intervals below the bar.
_SHOWN = 6

#: Realisations whose intervals are computed at once.
_AT_ONCE = 2**18


class Step(NamedTuple):
    """One chunk was computed.

    Attributes
    ----------
    chunk : str
        Its id.
    task : TaskPlan
    seconds : float
        What its computation took.
    done, left : int
        Chunks of this run so far, and those that lack, at most.
    counts : callable
        `counts()` gives those of the realisations of the task so far, as `Experiment.counts`, shape (R, 3); none where
        the experiment has none.
    failed : int
        Realisations of the chunk that failed.
    """

    chunk: str
    task: TaskPlan
    seconds: float
    done: int
    left: int
    counts: Callable[[], np.ndarray]
    failed: int = 0


#: A context that gives the function to call after every chunk. It is given the spec and the chunks that lack.
Watch = Callable[[Spec, int], AbstractContextManager[Callable[[Step], None]]]


@contextmanager
def silence(spec: Spec, left: int) -> Iterator[Callable[[Step], None]]:
    """Say nothing."""
    yield lambda step: None


def on_terminal() -> Watch:
    """Return bars where stderr is a terminal, else silence."""
    return bars if Remarks(sys.stderr).isatty() else silence


def interval(counts: np.ndarray) -> tuple[float, float, float] | None:
    """Return the rate so far, of pooled counts, and the ends of its interval; None where there is none."""
    if not len(counts):
        return None
    rate, low, high = (float(found[0]) for found in _intervals(counts[None]))
    return rate, low, high


def intervals(there: Held) -> np.ndarray:
    """Return rate and interval of every task, shape (T, 3); NaN where nothing is there."""
    sizes = np.diff(there.bounds)
    found = np.full((len(sizes), 3), np.nan)
    for size in np.unique(sizes[sizes > 0]).tolist():
        alike = np.flatnonzero(sizes == size)
        block = max(1, _AT_ONCE // size)
        for start in range(0, len(alike), block):
            some = alike[start : start + block]
            counts = there.counts[there.bounds[some][:, None] + np.arange(size)].astype(np.int64)
            found[some] = np.stack(_intervals(counts), axis=1)
    return found


def _intervals(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rates and intervals of tasks that have equally many realisations, from counts of shape (G, R, 3)."""
    from fasthop.statistics import with_undecided_rows

    successes, undecided, trials = np.moveaxis(counts, 2, 0).astype(float, order="C")
    return successes.sum(axis=1) / trials.sum(axis=1), *with_undecided_rows(successes, undecided, trials)


def label(spec: Spec, task: TaskPlan) -> str:
    """Name a task by the parameters that vary in its sweep."""
    return ", ".join(f"{name} {_short(value)}" for name, value in _varied(spec, task).items()) or spec.experiment.name


def labels(spec: Spec) -> list[str]:
    """Name all tasks."""
    varied = [(name, values) for name, values in spec.values.items() if len(values) > 1]
    parts = itertools.product(*([f"{name} {_short(value)}" for value in values] for name, values in varied))
    return [", ".join(some) or spec.experiment.name for some in parts]


def _varied(spec: Spec, task: TaskPlan) -> dict[str, Any]:
    return {name: task.parameters[name] for name, values in spec.values.items() if len(values) > 1}


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(map(_short, value.values()))
    return f"{value:g}" if isinstance(value, float) else str(value)


@contextmanager
def bars(spec: Spec, left: int) -> Iterator[Callable[[Step], None]]:
    """Draw a bar on stderr with the rate and the time left, and the intervals of the last tasks below it."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Task as RichTask
    from rich.table import Table
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: RichTask) -> Text:
            return Text(f"{task.speed or 0.0:.3g} chunks/s")

    done, ahead = (MofNCompleteColumn(), TextColumn("chunks")), (TimeRemainingColumn(), TextColumn("left"))
    bar = Progress(BarColumn(), *done, Rate(), *ahead, auto_refresh=False)
    whole = bar.add_task("", total=left)
    recent: deque[Step] = deque(maxlen=_SHOWN)

    def picture() -> Group:
        table = Table.grid(padding=(0, 2))
        for step in list(recent):
            counts = step.counts()
            if found := interval(counts):
                rate, low, high = found
                told = f"{rate:.4f}", f"[{low:.4f}, {high:.4f}]", f"{len(counts)} realisations"
                table.add_row(*map(Text, (printable(label(spec, step.task)), *told)))  # no markup
        return Group(bar, table)

    with Live(get_renderable=picture, console=Console(file=cast(TextIO, Remarks(sys.stderr))), refresh_per_second=4):

        def show(step: Step) -> None:
            bar.update(whole, completed=step.done, total=step.done + step.left)
            if recent and recent[-1].task.task_id == step.task.task_id:
                recent.pop()
            recent.append(step)

        yield show


def json_lines(stream: TextIO | None) -> Watch:
    """Return a watch that writes one line of JSON at the beginning, after every chunk and at the end.

    Every line has `event` ("begin", "chunk" or "end"), `seconds` since the beginning, and `done` and `left`, in chunks.
    After a chunk also `chunk`, its id, `took`, its seconds, `parameters`, those that vary, and where the experiment has
    a rate, `rate`, `low`, `high` and `realisations` of the task so far; `failed`, how many of its realisations, where
    there are such. `end` has `error`, the name of what ended it
    early, or null. Where nobody reads the stream any more, nothing more is written to it.
    """
    remarks = Remarks(stream)

    @contextmanager
    def watch(spec: Spec, left: int) -> Iterator[Callable[[Step], None]]:
        began = time.monotonic()
        at = {"done": 0, "left": left}

        def line(event: str, **facts: Any) -> None:
            seconds = round(time.monotonic() - began, 3)
            print(json.dumps({"event": event, "seconds": seconds, **at, **facts}), file=remarks, flush=True)

        def show(step: Step) -> None:
            at.update(done=step.done, left=step.left)
            facts: dict[str, Any] = {"chunk": step.chunk, "took": round(step.seconds, 6)}
            facts["parameters"] = _varied(spec, step.task)
            facts |= {"failed": step.failed} if step.failed else {}
            counts = step.counts()
            if found := interval(counts):
                facts |= {**dict(zip(("rate", "low", "high"), found, strict=True)), "realisations": len(counts)}
            line("chunk", **facts)

        line("begin")
        try:
            yield show
        except BaseException as error:
            line("end", error=type(error).__name__)
            raise
        line("end", error=None)

    return watch
