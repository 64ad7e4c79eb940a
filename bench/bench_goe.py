"""Random matrices and their norms: `pytest bench/bench_goe.py`. Seconds per norm and ratios are in `extra_info`."""

import time

import numba
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import fasthop as fh
from fasthop_kernels.mathematics import random, variates


def best(benchmark):
    """Seconds of the best round; NaN where the benchmarks only run, untimed."""
    return benchmark.stats.stats.min if benchmark.stats else float("nan")


@pytest.mark.parametrize(("n", "draws"), [(100, 10**5), (1000, 10**5), (10**6, 10**4), (10**9, 10**4)])
def test_norms_from_the_edge(benchmark, n, draws):
    fh.goe_extremes(n, 10)
    benchmark.pedantic(lambda: fh.goe_extremes(n, draws), rounds=3)
    benchmark.extra_info["us_per_norm"] = best(benchmark) / draws * 1e6


def test_norms_from_all_rows(benchmark):
    n, draws = 10**4, 10**3
    benchmark.pedantic(lambda: fh.goe_extremes(n, draws, method="tridiagonal"), rounds=3, warmup_rounds=1)
    benchmark.extra_info["us_per_norm"] = best(benchmark) / draws * 1e6


@pytest.mark.parametrize(("n", "matrices"), [(250, 16), (1000, 4)])
def test_norms_beside_lapack_on_dense_draws(benchmark, n, matrices):
    """NumPy as one would write it: draw, symmetrise, all eigenvalues; on one or all threads, whichever is faster."""
    rng = np.random.default_rng(0)

    def dense():
        a = rng.standard_normal((matrices, n, n))
        return np.abs(np.linalg.eigvalsh((a + np.swapaxes(a, 1, 2)) / 2)).max(axis=1)

    times = []
    for threads in (1, None, 1, None):
        with threadpool_limits(threads):
            start = time.perf_counter()
            dense()
            times.append((time.perf_counter() - start) / matrices)
    lapack = min(times)
    draws = 100_000
    fh.goe_extremes(n, 10)
    benchmark.pedantic(lambda: fh.goe_extremes(n, draws), rounds=3)
    ours = best(benchmark) / draws
    benchmark.extra_info |= {"us_per_norm": ours * 1e6, "us_lapack": lapack * 1e6, "ratio": lapack / ours}


@pytest.mark.parametrize("n", [40, 1000])
def test_dense_matrices(benchmark, n):
    size = 4 * 10**6 // n**2
    benchmark.pedantic(lambda: fh.goe(n, size), rounds=5, warmup_rounds=1)
    benchmark.extra_info["ns_per_entry"] = best(benchmark) / (size * n * n) * 1e9


@pytest.mark.parametrize("what", ["words", "normals", "gammas"])
def test_random_numbers_on_one_thread(benchmark, what):
    """Words as they leave the generator; normal numbers take two of them, gamma variates four."""
    count = 4096
    words, numbers = np.zeros((4, count), np.uint64), np.zeros((4, count))
    panel = variates.Panel(*words, *numbers)
    panel.index[:] = np.arange(count)
    panel.shape[:] = 500.0
    panel.slope[:] = variates.gamma_slope(500.0)
    source = variates.Stream(*map(np.uint64, (1, 0, 0, random.OFFDIAGONAL << 24)))
    out = np.zeros(count)
    calls = {
        "words": (lambda: variates.blocks(source, panel), 4 * count),
        "normals": (lambda: variates.normals_of(panel.high, out), count),
        "gammas": (lambda: variates.gammas_of(source, panel, out), count),
    }
    call, made = calls[what]
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        benchmark.pedantic(call, rounds=200, iterations=10, warmup_rounds=5)
    finally:
        numba.set_num_threads(before)
    benchmark.extra_info["ns_each"] = best(benchmark) / made * 1e9
