"""What a state is: census, enumeration and stability: `pytest bench/bench_states.py`."""

import time

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import fasthop as fh


def relu_memory(neurons, radius, seed=0):
    rng = np.random.default_rng(seed)
    M = rng.normal(size=(neurons, neurons))
    W = (M + M.T) / 2
    return fh.Memory(W * radius / np.abs(np.linalg.eigvalsh(W)).max(), rng.normal(size=neurons), "relu")


@pytest.mark.parametrize("radius", [0.9, 1.2])
def test_census_of_a_hundred_thousand_ends(benchmark, radius):
    """`settle` and `census` together; extra_info has the share of the second."""
    memory, starts = relu_memory(64, radius), fh.Uniform(-3, 3).draw(100_000, 64)
    shares = []

    def settle_and_classify():
        begin = time.perf_counter()
        ends = fh.settle(memory, starts)
        between = time.perf_counter()
        table = fh.census(memory, ends)
        shares.append((time.perf_counter() - between) / (between - begin))
        return table

    table = benchmark.pedantic(settle_and_classify, rounds=5, warmup_rounds=1)
    benchmark.extra_info["census_per_settle"] = round(float(np.median(shares)), 3)
    assert len(table) == 100_000


@pytest.mark.parametrize("neurons", [16, 20, 24])
def test_enumeration(benchmark, neurons):
    memory = relu_memory(neurons, 0.9)
    benchmark.extra_info["supports"] = 2**neurons
    table = benchmark.pedantic(fh.steady_states, (memory,), rounds=3, warmup_rounds=1)
    assert table["stable"].tolist() == [True]


def test_enumeration_where_every_support_is_steady(benchmark):
    """Winner takes all: 2^N − 1 steady states, each written and judged."""
    memory = fh.Memory(-2.0 * (np.ones((16, 16)) - np.eye(16)), 1.0, "relu")
    table = benchmark.pedantic(fh.steady_states, (memory,), rounds=3, warmup_rounds=1)
    assert len(table) == 2**16 - 1
    assert table["stable"].sum() == 16


STATES, NEURONS = 10_000, 100


def spectra_of_fasthop(memory, states):
    return fh.stability(memory, states).spectrum


def spectra_of_numpy(memory, states):
    """Batched LAPACK as NumPy offers it, on one thread."""
    root = 1 / np.cosh(states)
    with threadpool_limits(1):
        return np.concatenate(
            [
                np.linalg.eigvalsh(memory.W * (part[:, :, None] * part[:, None, :]) - np.eye(NEURONS))
                for part in np.array_split(root, 100)
            ]
        )


@pytest.mark.parametrize("spectra", [spectra_of_fasthop, spectra_of_numpy])
def test_stability(benchmark, spectra):
    rng = np.random.default_rng(0)
    M = rng.normal(size=(NEURONS, NEURONS))
    memory, states = fh.Memory((M + M.T) / 20), rng.normal(size=(STATES, NEURONS))
    benchmark.group = f"spectra of {STATES} states, N = {NEURONS}"
    found = benchmark.pedantic(spectra, (memory, states), rounds=3, warmup_rounds=1)
    some = slice(None, None, 1000)
    np.testing.assert_allclose(found[some], spectra_of_numpy(memory, states[some]), atol=1e-12)
