"""Whole runs: `pytest bench/bench_ensemble.py`. For one table beside the peers: `python bench/compare.py`."""

import compare
import numpy as np
import peers
import pytest

import fasthop as fh

NAMES = ["fasthop float64", "fasthop float32", *peers.solvers()]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", compare.SHAPES, ids=lambda shape: "-".join(map(str, shape)))
def test_simulate(benchmark, shape, name):
    neurons, batch, steps = shape
    benchmark.group = f"N, B, steps = {shape}"
    benchmark.extra_info["neuron_stages"] = neurons * batch * steps * compare.STAGES
    states = benchmark.pedantic(compare.contestants(*shape)[name], rounds=7, warmup_rounds=1)
    assert states.shape == (batch, neurons)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_settle_from_skewed_starts(benchmark, dtype):
    """Starts ever nearer to a saddle, so that some trajectories take many times the steps of others."""
    rng = np.random.default_rng(0)
    patterns = rng.choice([-1.0, 1.0], (4, 64))
    memory = fh.Memory(2 * fh.hebb(patterns), dtype=dtype)
    starts = 10 ** -rng.uniform(0, 30, (4000, 1)) * patterns[rng.integers(4, size=4000)]
    starts += 1e-3 * np.abs(starts) * rng.normal(size=starts.shape)
    ends = benchmark.pedantic(lambda: fh.settle(memory, starts), rounds=7, warmup_rounds=1)
    needed = int(ends.steps.sum() + ends.steps.size)
    benchmark.extra_info |= {
        "paid": ends.paid,
        "needed": needed,
        "paid_per_needed": round(ends.paid / needed, 3),
        "longest_per_mean": round(ends.steps.max() / ends.steps.mean(), 2),
    }
    assert ends.settled.all()


@pytest.mark.parametrize("count", [1, 16, 256])
def test_settle_many_memories(benchmark, count):
    """The same number of trajectories, divided among more and more memories."""
    rng = np.random.default_rng(1)
    patterns = rng.choice([-1.0, 1.0], (count, 5, 64))
    memory = fh.Memory(fh.hebb(patterns), activation=fh.Tanh(4))
    starts = rng.normal(size=(count, 4096 // count, 64))
    ends = benchmark.pedantic(lambda: fh.settle(memory, starts, tolerance=1e-8), rounds=7, warmup_rounds=1)
    benchmark.extra_info |= {"paid": ends.paid, "needed": int(ends.steps.sum() + ends.steps.size)}
