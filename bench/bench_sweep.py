"""What the engine around a sweep costs beside its kernels: `pytest bench/bench_sweep.py`.

A capacity sweep of 10 000 chunks, from its plan to its summary and picture, with the rows of one chunk handed out again
and again instead of computed: what is left is the engine. Beside it the median time of the kernels of such a chunk (64
neurons, 32 realisations of 50 cues, half of a usual chunk). `overhead_percent` is their ratio. Two whole runs, one with
and one without the engine, swing by more than the engine costs.
"""

import time

import numpy as np
import pytest

from fasthop.experiments import EXPERIMENTS
from fasthop.sweep.pending import Agenda
from fasthop.sweep.plan import plan_tasks
from fasthop.sweep.run import run
from fasthop.sweep.spec import load_spec

CHUNKS = 10_000
PER_CHUNK = 32
CAPACITY = EXPERIMENTS["capacity"]._replace(per_chunk=lambda task: PER_CHUNK)
REGISTRY = {"capacity": CAPACITY}


def spec(chunks):
    return {
        "experiment": "capacity",
        "memory": {"neurons": 64},
        "patterns": {"load": 0.1},
        "cues": {"per_realisation": 50},
        "run": {"realisations": chunks * PER_CHUNK},
    }


def chunk_seconds(count):
    """Median time of the kernels of one chunk, over `count` of them."""
    checked = load_spec(spec(count), REGISTRY)
    seconds = []
    for chunk in Agenda(checked, plan_tasks(checked)):
        began = time.perf_counter()
        CAPACITY.rows(chunk.task.parameters, chunk.realisations, checked.seed)
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds[count // 10 :]))


def handing_out(chunks):
    """Return the experiment with the rows of its first chunk in the place of all others."""
    checked = load_spec(spec(chunks), REGISTRY)
    (task,) = plan_tasks(checked)
    first = CAPACITY.rows(task.parameters, range(PER_CHUNK), checked.seed)

    def rows(parameters, realisations, seed):
        return {**first, "realisation": np.array(realisations)}

    return {"capacity": CAPACITY._replace(rows=rows)}


@pytest.mark.parametrize("chunks", [CHUNKS])
def test_engine_of_a_sweep(benchmark, tmp_path, chunks):
    registry = handing_out(chunks)
    folders = (tmp_path / str(number) for number in range(99))
    report = benchmark.pedantic(lambda: run(spec(chunks), next(folders), registry=registry), rounds=3)
    assert (report.chunks, report.rows) == (chunks, chunks * PER_CHUNK)
    if not benchmark.enabled:
        return
    engine, kernels = benchmark.stats.stats.median / chunks, chunk_seconds(200)
    benchmark.extra_info |= {
        "engine_per_chunk_us": round(1e6 * engine, 1),
        "kernels_per_chunk_us": round(1e6 * kernels, 1),
        "overhead_percent": round(100 * engine / kernels, 2),
    }
