"""What the folder of a sweep costs at scale: `python bench/bench_store.py [TASKS ...]`.

Every task is one chunk of eight rows whose kernels do nothing, so that all that is left is the engine around them: the
plan, the agenda, the files, the summary. Each command runs in a process of its own; seconds are those of the clock and
of the processor, bytes the most that the process has held.

On two cores that others used as well, so that only the seconds of the processor say something; 235 MB of them are
Python, numba and pandas:

| command | 10^5 chunks: CPU s | MB | 10^6 chunks: CPU s | MB |
|---|---|---|---|---|
| run | 20.9 | 551 | 259 | 1050 |
| status | 0.74 | 409 | 10.9 | 1067 |
| resume | 0.70 | 380 | 12.6 | 978 |
| read | 1.01 | 631 | | |
| verify | 2.58 | 410 | | |
| compact | 4.08 | 551 | | |

The largest part of the memory of a run of 10^6 is its summary. It took 1010 MB alone when this was measured, and takes
815 since.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from fasthop.experiments.experiment import REQUIRED, Experiment, Field, realisations_field
from fasthop.sweep.merge import compact
from fasthop.sweep.read import read
from fasthop.sweep.run import run
from fasthop.sweep.status import status
from fasthop.sweep.verify import verify

ROWS = 8

FIELDS = (
    Field("coin", "bias", "bias", float, REQUIRED, True, least=0, most=1),
    Field("coin", "sides", "sides", int, REQUIRED, True, least=1),
    realisations_field("throws of each coin"),
)

MEASURED = {"realisation": int, "heads": int, "lost": int, "thrown": int, "weight": float}


def rows(task, realisations, seed):
    number = np.array(realisations)
    columns = {"realisation": number, "heads": (number + task["sides"]) % 50, "lost": np.zeros_like(number)}
    return columns | {"thrown": np.full(len(number), 50), "weight": np.sqrt(number + task["bias"])}


def summarise(frame):
    names = {name: (name, "first") for name in ("bias", "sides")}
    sums = {name: (name, "sum") for name in ("heads", "thrown")}
    return frame.groupby("task_id", sort=False).agg(**names, **sums).reset_index()


def plot(summary, path):
    path.write_bytes(b"\x89PNG" + str(len(summary)).encode())


COUNTS = "heads", "lost", "thrown"
COINS = Experiment("coins", FIELDS, MEASURED, lambda task: [], lambda task: ROWS, rows, summarise, plot, COUNTS)
REGISTRY = {"coins": COINS}


def spec(tasks):
    columns = min(tasks, 100)
    return {
        "experiment": "coins",
        "coin": {"bias": [i / columns for i in range(columns)], "sides": list(range(1, tasks // columns + 1))},
        "run": {"realisations": ROWS},
    }


def _run(folder, tasks):
    report = run(spec(tasks), folder, progress=False, registry=REGISTRY)
    return report.chunks + report.skipped


COMMANDS = {
    "run": _run,
    "status": lambda folder, tasks: status(folder, REGISTRY).chunks,
    "resume": _run,
    "read": lambda folder, tasks: len(read(folder, registry=REGISTRY)) // ROWS,
    "verify": lambda folder, tasks: verify(folder, registry=REGISTRY).rows // ROWS,
    "compact": lambda folder, tasks: compact(folder, registry=REGISTRY).rows // ROWS,
}


def do(command, folder, tasks):
    """Run one command in this process; print seconds, those of the processor, and megabytes."""
    began, before = time.perf_counter(), time.process_time()
    assert COMMANDS[command](folder, tasks) == tasks
    seconds, busy = time.perf_counter() - began, time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    print(f"{command:8} {tasks:8} {seconds:9.2f} {busy:9.2f} {1e6 * busy / tasks:9.1f} {peak:9.0f}", flush=True)


def main(*counts):
    print(f"{'command':8} {'chunks':>8} {'seconds':>9} {'CPU s':>9} {'CPU us/chunk':>9} {'MB':>6}", flush=True)
    for tasks in counts or ("10000", "100000"):
        with tempfile.TemporaryDirectory() as place:
            for command in COMMANDS:
                subprocess.run([sys.executable, __file__, command, str(Path(place) / "out"), tasks], check=True)


@pytest.mark.parametrize("command", ["run", "status", "read"])
def test_store(benchmark, tmp_path, command):
    folder = tmp_path / "out"
    _run(folder, 200)
    assert benchmark(COMMANDS[command], folder, 200) == 200


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in COMMANDS:
        do(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main(*sys.argv[1:])
