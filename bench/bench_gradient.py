"""Gradients through the equilibrium beside the forward runs that reached it, and beside optimistix under JAX's vmap.

`pytest bench/bench_gradient.py`; `python bench/bench_gradient.py` prints one table of ratios, everything in turns.
"""

import importlib.util
import time

import numpy as np
import pytest

import fasthop as fh

BATCH = 1000


def problem(neurons, symmetric, seed=0):
    """A memory with settled states and cotangents."""
    rng = np.random.default_rng(seed)
    W = 0.9 * rng.normal(size=(neurons, neurons)) / np.sqrt(neurons)
    memory = fh.Memory((W + W.T) / 2 if symmetric else W, 0.3 * rng.normal(size=neurons))
    starts, cotangent = rng.normal(size=(2, BATCH, neurons))
    return memory, starts, fh.settle(memory, starts).state, cotangent


def optimistix_gradient(memory):
    """(states, cotangent) → (db, dW) by optimistix's implicit adjoint, one sample under vmap; None without it."""
    if any(importlib.util.find_spec(name) is None for name in ("jax", "optimistix")):
        return None
    import jax
    import optimistix

    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy
    # At its end from the first, so that the gradient alone counts.
    solver = optimistix.FixedPointIteration(rtol=1e-8, atol=1e-8)

    def loss(parameters, start, e):
        def map_of(y, parameters):
            W, b = parameters
            return W @ jnp.tanh(y) + b

        return optimistix.fixed_point(map_of, solver, start, parameters, max_steps=256).value @ e

    def total(parameters, states, cotangent):
        return jax.vmap(loss, in_axes=(None, 0, 0))(parameters, states, cotangent).sum()

    slope = jax.jit(jax.grad(total))
    parameters = (jnp.asarray(memory.W), jnp.asarray(memory.b))
    return lambda states, cotangent: [np.asarray(part) for part in slope(parameters, states, cotangent)]


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("neurons", [20, 64, 200])
@pytest.mark.parametrize("what", ["forward", "gradient"])
def test_gradient(benchmark, what, neurons, symmetric):
    memory, starts, states, cotangent = problem(neurons, symmetric)
    benchmark.group = f"N = {neurons}, {'symmetric' if symmetric else 'free'}"
    call = {
        "forward": lambda: fh.settle(memory, starts),
        "gradient": lambda: fh.gradient(memory, states, cotangent),
    }[what]
    benchmark.pedantic(call, rounds=3, warmup_rounds=1)


def main(neurons=200, rounds=2):
    for symmetric in (False, True):
        memory, starts, states, cotangent = problem(neurons, symmetric)
        calls = {
            "forward runs": lambda memory=memory, starts=starts: fh.settle(memory, starts),
            "gradient": lambda memory=memory, states=states, e=cotangent: fh.gradient(memory, states, e),
        }
        peer = optimistix_gradient(memory)
        if peer is not None:
            dW, db = peer(states, cotangent)
            mine = fh.gradient(memory, states, cotangent)
            for name, found, due in (("dW", mine.dW, dW), ("db", mine.db, db)):
                print(
                    f"{name}: relative difference from optimistix {np.abs(found - due).max() / np.abs(due).max():.1e}"
                )
            calls["optimistix"] = lambda peer=peer, states=states, e=cotangent: peer(states, e)
        best = dict.fromkeys(calls, np.inf)
        for _ in range(rounds):
            for name, call in calls.items():
                begun = time.perf_counter()
                call()
                best[name] = min(best[name], time.perf_counter() - begun)
        for name, seconds in best.items():
            ratio = seconds / best["gradient"]
            print(
                f"N = {neurons}, {'symmetric' if symmetric else 'free'}, {name}: {1e3 * seconds:.0f} ms, {ratio:.1f} ×"
            )


if __name__ == "__main__":
    main()
