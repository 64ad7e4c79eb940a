"""Energies and their gradients over the product of the registries, activation, energy and size, against plain NumPy.

The Lagrangian is the integral of g along the way from 0, by Gauss and Legendre; gradients are complex steps.
"""

import warnings

import numpy as np
import pytest
from scipy import special

import fasthop as fh
from complex_g import EXAMPLES, STEP, example, g_of
from fasthop.model.activations import ACTIVATIONS, as_activation
from fasthop.model.systems import RESIDUALS

SIZES = (6, 40, 60)
CASES = [
    (name, variable, kind)
    for name in ACTIVATIONS
    for variable, residual in RESIDUALS.items()
    for kind in residual.energies
    if kind != "3" or as_activation(example(name)[0]).strictly_monotone
]

#: L(0) of n neurons together, where that is not 0, by the parameters of `EXAMPLES`.
AT_ZERO = {
    "sigmoid": lambda n, beta: n * np.log(2) / beta,
    "softplus": lambda n, beta: n * np.pi**2 / 12 / beta**2,
    "exp": lambda n: n,
    "gelu": lambda n: -n / 4,
    "silu": lambda n: -n * np.pi**2 / 12,
    "softmax": lambda n, beta: np.log(n) / beta,
    "layer_norm": lambda n, gamma, epsilon: n * gamma * np.sqrt(epsilon),
    "sphere": lambda n, epsilon: np.sqrt(epsilon),
}
NODES, SHARES = (array for array in special.roots_legendre(60))


def lagrangian(memory, x):
    """L(0) + ∫ x·g(t x) dt from 0 to 1, in two pieces where a kink lies on the way of a neuron."""
    kind = memory.activation
    n, name = x.shape[1], kind.name
    total = AT_ZERO[name](n, **EXAMPLES.get(name, {})) if name in AT_ZERO else 0.0
    kink = max(kind.kinks, default=0.0)
    middle = x if kind.blockwise else np.clip(x, -kink, kink)
    for low, high in ((0 * x, middle), (middle, x)):
        for node, share in zip(NODES, SHARES, strict=True):
            at = low + (high - low) * (node + 1) / 2
            total = total + share / 2 * ((high - low) * g_of(memory, at).real).sum(axis=1)
    return total


def parts(memory, y):
    """x, g and the residual at states that may be complex."""
    W, b = memory.W.astype(float), memory.b.astype(float)
    x = y if memory.variable == "y" else y @ W.T + b
    g = g_of(memory, x)
    return x, g, {"y": lambda: g @ W.T + b, "u": lambda: g, "v": lambda: g @ W}[memory.variable]() - y


def due(memory, y, kind):
    W, b = memory.W.astype(float), memory.b.astype(float)
    x, g, f = parts(memory, y)
    if kind in ("2", "3", "E1"):
        return ((x - b) * g).sum(axis=1) - lagrangian(memory, x) - ((g @ W.T) * g).sum(axis=1) / 2
    if kind in ("10", "E3"):
        return (f * f).sum(axis=1) / 2
    return ((y if kind == "simplest" else y @ W.T) * y).sum(axis=1) / 2 - lagrangian(memory, x)


def slopes(memory, y, kind):
    """The gradient by complex steps, in which the Lagrangian has the slope g."""
    W, b = memory.W.astype(float), memory.b.astype(float)
    _, still, _ = parts(memory, y)
    found = np.empty_like(y)
    for i, unit in enumerate(np.eye(y.shape[1])):
        z = y + 1j * STEP * unit
        x, g, f = parts(memory, z)
        along = 1j * (still * x.imag).sum(axis=1)
        if kind in ("2", "3", "E1"):
            value = ((x - b) * g).sum(axis=1) - along - ((g @ W.T) * g).sum(axis=1) / 2
        elif kind in ("10", "E3"):
            value = (f * f).sum(axis=1) / 2
        else:
            value = ((z if kind == "simplest" else z @ W.T) * z).sum(axis=1) / 2 - along
        found[:, i] = value.imag / STEP
    return found


@pytest.mark.parametrize(("name", "variable", "kind"), CASES)
def test_every_energy_and_gradient_is_the_printed_one(name, variable, kind):
    for n in SIZES:
        rng = np.random.default_rng([n, *name.encode()])
        A = rng.standard_normal((n, n))
        W, b = 0.7 * (A + A.T) / np.linalg.norm(A + A.T, 2), 0.3 * rng.standard_normal(n)
        y = rng.standard_normal((3, n))
        for dtype, tolerance in ((np.float64, 1e-11), (np.float32, 2e-5)):
            memory = fh.Memory(W, b, example(name)[0], variable=variable, dtype=dtype)
            states = y.astype(dtype)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # that it need not decrease
                found = fh.energy(memory, states, kind)
            exact = due(memory, states.astype(float), kind)
            assert np.abs(found - exact).max() <= tolerance * n * max(1.0, np.abs(exact).max())
            gradient, slope = fh.energy_gradient(memory, states, kind), slopes(memory, states.astype(float), kind)
            assert np.abs(gradient - slope).max() <= tolerance * max(1.0, np.abs(slope).max())
