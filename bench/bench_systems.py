"""Every system and structure on the same number of neurons: `pytest bench/bench_systems.py`.

For the ratios in one table: `python bench/compare_systems.py`.
"""

import compare_systems
import numpy as np
import pytest


@pytest.mark.parametrize("shape", [(16, 4096, 50), (64, 2048, 25), (256, 768, 10)], ids=lambda shape: f"N={shape[0]}")
@pytest.mark.parametrize("name", compare_systems.SYSTEMS)
def test_system(benchmark, name, shape):
    benchmark.group = f"systems, N, B, steps = {shape}"
    states = benchmark.pedantic(compare_systems.systems(*shape)[name], rounds=5, warmup_rounds=1)
    assert np.isfinite(states).all()


@pytest.mark.parametrize("name", ["dense", "layered"])
def test_layers(benchmark, name):
    calls, share = compare_systems.layered()
    benchmark.group = "784-256-64 beside 1104 dense"
    benchmark.extra_info["share_of_entries"] = round(share, 4)
    assert np.isfinite(benchmark.pedantic(calls[name], rounds=5, warmup_rounds=1)).all()


@pytest.mark.parametrize("name", ["dense", "low rank"])
def test_low_rank(benchmark, name):
    benchmark.group = "Hebb, N = 1000, load .1"
    assert np.isfinite(benchmark.pedantic(compare_systems.low_rank()[name], rounds=5, warmup_rounds=1)).all()
