"""One binary for each dtype: whatever arrays a memory and its starts are given as, the kernels see the same types."""

import numba
import numpy as np
import pytest

import fasthop as fh
from fasthop_kernels.dynamics import energies as energy_kernels
from fasthop_kernels.dynamics import ensemble
from fasthop_kernels.linear import adjoint

N, K, B = 6, 3, 4


def laid_out(array, how):
    """The same numbers in another order in memory, or read-only."""
    array = np.array(array, order="F" if how == "F" else "C")
    array.flags.writeable = how != "read-only"
    return np.repeat(array, 2, axis=-1)[..., ::2] if how == "strided" and array.ndim else array


def memories(how, dtype):
    """One memory and several, with b and τ for each neuron, for each neuron of each memory, for all, and none."""
    rng = np.random.default_rng(1)
    for k in ((), (1,), (K,)):
        W = rng.normal(size=(*k, N, N)) / 9
        for shape in {(), (N,), (*k, N)}:
            b, tau = rng.normal(size=shape), np.exp(rng.normal(size=shape))
            for extra in ({}, {"tau": laid_out(tau, how)}, {"variable": "u"}, {"R": "weights"}, {"R": "gradient"}):
                yield fh.Memory(laid_out(W, how), laid_out(b, how), "tanh", dtype=dtype, **extra)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # some are unstable, or have no energy that falls
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("how", ["C", "F", "strided", "read-only"])
def test_the_kernels_see_the_same_types(monkeypatch, how, dtype):
    seen = {}

    def spy(module, name):
        kernel = getattr(module, name)

        def see(*arguments):
            seen.setdefault(f"{module.__name__}.{name}", set()).add(tuple(map(numba.typeof, arguments)))
            return kernel(*arguments)

        monkeypatch.setattr(module, name, see)

    for module, name in (
        (ensemble, "work"),
        (adjoint, "work"),
        (energy_kernels, "energies"),
        (energy_kernels, "residuals"),
    ):
        spy(module, name)
    given = np.random.default_rng(2).normal(size=(B, N)).astype(dtype)
    for memory in (*memories("C", dtype), *memories(how, dtype)):
        starts = given if memory.count is None else np.stack([given] * memory.count)
        starts = laid_out(starts, how)
        ends = fh.settle(memory, starts, t_max=0.2)
        fh.residual(memory, starts)
        if memory.system.factor.is_identity:
            fh.energy(memory, starts)
        if memory.count is None:
            fh.gradient(memory, ends.state, starts)
    assert seen.keys() >= {"fasthop_kernels.dynamics.ensemble.work", "fasthop_kernels.dynamics.energies.residuals"}
    assert {name: len(types) for name, types in seen.items()} == dict.fromkeys(seen, 1)
