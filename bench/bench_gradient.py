"""Gradients through the equilibrium beside the forward runs that reached it, and beside optimistix under JAX's vmap.

`pytest bench/bench_gradient.py`; `python bench/bench_gradient.py` prints one table of ratios, everything in turns.
"""

import importlib.util
import time

import numpy as np
import pytest

import fasthop as fh

BATCH = 1000

#: Random W: free, symmetric, or free with as many inputs as a fifth of the neurons, so that every state is another one.
KINDS = ("free", "symmetric", "held")


def problem(neurons, kind, seed=0):
    """A memory with starts, the states that these settle in, and cotangents."""
    rng = np.random.default_rng(seed)
    inputs = neurons // 5 if kind == "held" else 0
    whole = inputs + neurons
    W = 0.9 * rng.normal(size=(whole, whole)) / np.sqrt(neurons)
    b = 0.3 * rng.normal(size=whole)
    starts, cotangent = rng.normal(size=(2, BATCH, whole))
    if inputs:
        layers = [fh.Layer(inputs, "identity"), fh.Layer(neurons, "tanh")]
        memory = fh.clamp(fh.Memory(W, b, layers=layers), [0])
        cotangent[:, :inputs] = 0
    else:
        memory = fh.Memory((W + W.T) / 2 if kind == "symmetric" else W, b)
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
    held = memory.layers[0].neurons if len(memory.layers) > 1 else 0

    def loss(parameters, start, e):
        inputs = start[:held]

        def map_of(y, parameters):
            W, b = parameters
            return W[held:, :held] @ inputs + W[held:, held:] @ jnp.tanh(y) + b[held:]

        return optimistix.fixed_point(map_of, solver, start[held:], parameters, max_steps=256).value @ e[held:]

    def total(parameters, states, cotangent):
        return jax.vmap(loss, in_axes=(None, 0, 0))(parameters, states, cotangent).sum()

    slope = jax.jit(jax.grad(total))
    parameters = (jnp.asarray(memory.W), jnp.asarray(memory.b))
    return lambda states, cotangent: [np.asarray(part) for part in slope(parameters, states, cotangent)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("neurons", [20, 64, 200])
@pytest.mark.parametrize("what", ["forward", "gradient"])
def test_gradient(benchmark, what, neurons, kind):
    memory, starts, states, cotangent = problem(neurons, kind)
    benchmark.group = f"N = {neurons}, {kind}"
    call = {
        "forward": lambda: fh.settle(memory, starts),
        "gradient": lambda: fh.gradient(memory, states, cotangent),
    }[what]
    benchmark.pedantic(call, rounds=3, warmup_rounds=1)


def main(neurons=200, rounds=3):
    for kind in KINDS:
        memory, starts, states, cotangent = problem(neurons, kind)
        mine = fh.gradient(memory, states, cotangent)
        print(f"N = {neurons}, {kind}: {'/'.join(np.unique(mine.solver))}, {mine.products.mean():.0f} products")
        calls = {
            "forward runs": lambda memory=memory, starts=starts: fh.settle(memory, starts),
            "gradient": lambda memory=memory, states=states, e=cotangent: fh.gradient(memory, states, e),
        }
        peer = optimistix_gradient(memory)
        if peer is not None:
            dW, db = peer(states, cotangent)
            for name, found, due in (("dW", mine.dW, dW), ("db", mine.db, db)):
                print(
                    f"  {name}: relative difference from optimistix {np.abs(found - due).max() / np.abs(due).max():.1e}"
                )
            calls["optimistix"] = lambda peer=peer, states=states, e=cotangent: peer(states, e)
        best = dict.fromkeys(calls, np.inf)
        for _ in range(rounds):
            for name, call in calls.items():
                begun = time.perf_counter()
                call()
                best[name] = min(best[name], time.perf_counter() - begun)
        for name, seconds in best.items():
            print(f"  {name}: {1e3 * seconds:.0f} ms, {seconds / best['gradient']:.1f} ×")


if __name__ == "__main__":
    main()
