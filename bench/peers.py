"""The same trajectories by other means: RK4 for ẏ = W tanh(y) − y + b, float64, starts in rows.

Each function takes (W, b, starts, h, steps) and returns the final states, shape (B, N).
"""

import importlib.util
import math

import numba
import numpy as np


@numba.njit(error_model="numpy")
def _slope(W, b, y, g, out):
    n = y.size
    for i in range(n):
        g[i] = math.tanh(y[i])
    for i in range(n):
        total = b[i] - y[i]
        for j in range(n):
            total += W[i, j] * g[j]
        out[i] = total


@numba.njit(error_model="numpy", parallel=True, cache=True)
def naive(W, b, starts, h, steps):
    """One trajectory after another on every thread, as one would write it down."""
    batch, n = starts.shape
    ends = np.empty_like(starts)
    for trajectory in numba.prange(batch):
        y = starts[trajectory].copy()
        g, z = np.empty(n), np.empty(n)
        k1, k2, k3, k4 = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
        for _ in range(steps):
            _slope(W, b, y, g, k1)
            for i in range(n):
                z[i] = y[i] + h / 2 * k1[i]
            _slope(W, b, z, g, k2)
            for i in range(n):
                z[i] = y[i] + h / 2 * k2[i]
            _slope(W, b, z, g, k3)
            for i in range(n):
                z[i] = y[i] + h * k3[i]
            _slope(W, b, z, g, k4)
            for i in range(n):
                y[i] += h / 6 * (k1[i] + 2 * k2[i] + 2 * k3[i] + k4[i])
        ends[trajectory] = y
    return ends


def with_numpy(W, b, starts, h, steps):
    """The whole batch in every operation; the products are BLAS's."""
    W = np.ascontiguousarray(W.T)

    def slope(y):
        k = np.tanh(y) @ W
        k -= y
        k += b
        return k

    y = starts
    for _ in range(steps):
        k1 = slope(y)
        k2 = slope(y + h / 2 * k1)
        k3 = slope(y + h / 2 * k2)
        k4 = slope(y + h * k3)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y


def jax_solver():
    """The same for XLA, compiled once for every shape; None where jax is not installed."""
    if importlib.util.find_spec("jax") is None:
        return None
    import jax

    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy

    @jax.jit
    def solve(W, b, starts, h, steps):
        def slope(y):
            return jnp.tanh(y) @ W.T - y + b

        def step(_, y):
            k1 = slope(y)
            k2 = slope(y + h / 2 * k1)
            k3 = slope(y + h / 2 * k2)
            k4 = slope(y + h * k3)
            return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

        return jax.lax.fori_loop(0, steps, step, starts)

    return lambda *arguments: np.asarray(solve(*arguments))


def solvers():
    """Name and function of every peer on this machine."""
    found = {"naive": naive, "NumPy": with_numpy, "JAX": jax_solver()}
    return {name: solve for name, solve in found.items() if solve is not None}
