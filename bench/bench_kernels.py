"""The parts of a step, on one thread, and energies: `pytest bench/bench_kernels.py`."""

import numpy as np
import pytest

import fasthop as fh
from fasthop.model.activations import ACTIVATIONS
from fasthop_kernels.dynamics.activations import activate
from fasthop_kernels.dynamics.products import PLAIN, add_weights
from fasthop_kernels.machine.lanes import MAX_LINES, lane_line

DTYPES = ["float64", "float32"]


def aligned(count, dtype, rng):
    """Numbers that begin at a cache line, as those of the engine do."""
    raw = np.empty(count * np.dtype(dtype).itemsize + 64, np.uint8)
    start = -raw.ctypes.data % 64
    numbers = raw[start : start + count * np.dtype(dtype).itemsize].view(dtype)
    numbers[:] = rng.normal(size=count)
    return numbers


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("neurons", [16, 64, 256, 1024])
@pytest.mark.parametrize("lines", [1, MAX_LINES])
def test_product(benchmark, lines, neurons, dtype):
    rng, lanes = np.random.default_rng(0), lines * lane_line(dtype)
    blocks = np.array([[0, 0, neurons, neurons, 0, PLAIN, 0]])
    weights, g = aligned(neurons**2, dtype, rng), aligned(neurons * lanes, dtype, rng)
    out = np.zeros_like(g)
    benchmark.group = f"product, N = {neurons}"
    benchmark.extra_info["flops"] = 2 * neurons**2 * lanes
    benchmark.pedantic(add_weights, (blocks, weights, g, np.empty(0, dtype), out, lanes), rounds=50, warmup_rounds=2)
    assert np.isfinite(out).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(benchmark, name, dtype):
    kind, rng, neurons, lanes = ACTIVATIONS[name](), np.random.default_rng(0), 256, MAX_LINES * lane_line(dtype)
    layers, parameters = np.array([[0, neurons, kind.code]]), np.array([kind.parameters], dtype)
    state = aligned(neurons * lanes, dtype, rng)
    out = aligned(neurons * lanes, dtype, rng)
    benchmark.group = f"activation, {dtype}"
    benchmark.extra_info["elements"] = state.size
    benchmark.pedantic(activate, (layers, parameters, state, out, lanes), rounds=50, warmup_rounds=2)
    due = kind.g(state.reshape(neurons, lanes).T).T if kind.blockwise else kind.g(state).reshape(neurons, lanes)
    np.testing.assert_array_equal(out.reshape(neurons, lanes), due)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("neurons", [16, 128])
def test_energy(benchmark, neurons, dtype):
    rng = np.random.default_rng(0)
    memory = fh.Memory(fh.hebb(rng.choice([-1.0, 1.0], (4, neurons))), dtype=dtype)
    states = rng.normal(size=(4096, neurons))
    benchmark.group = f"energy, N = {neurons}"
    benchmark.extra_info["states"] = len(states)
    E = benchmark.pedantic(fh.energy, (memory, states), rounds=20, warmup_rounds=1)
    assert E.shape == (4096,)
