"""Capacity and overlaps of graded Hebb networks at N → ∞, from the self-consistent signal-to-noise equations.

With W = ξᵀξ/N without its diagonal, P = αN patterns of fair signs and g(y) = tanh(βy), the output of a neuron at a
retrieved pattern (times its sign there) is Y(z) = g(m + ΓY + σz) with a normal z: a signal m, Gaussian noise σ from the
other patterns, and a share Γ of its own output that they hand back. With the overlap m = ⟨Y⟩, q = ⟨Y²⟩ and the
susceptibility U = ⟨zY⟩/σ the equations close by σ² = αq/(1 − U)² and Γ = αU/(1 − U). Where Y has several values, that
of least energy counts (Maxwell's rule). Everything is dimensionless.

References
----------
Shiino and Fukai, J. Phys. A 25:L375, 1992; Kühn, Bös and van Hemmen, Phys. Rev. A 43:2084, 1991; for g = sign the same
equations are those of Amit, Gutfreund and Sompolinsky, Phys. Rev. Lett. 55:1530, 1985.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from scipy import optimize, special

from fasthop import checks

#: Gauss–Legendre nodes on each side of the z at which Y changes its sign, and how far they reach.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(160)
_REACH = 10.0


class Retrieval(NamedTuple):
    """A retrieved pattern at N → ∞.

    Attributes
    ----------
    load : float
        α = P/N.
    overlap : float
        m, the mean of ξ·g/N.
    sign_overlap : float
        The mean of ξ·sign(g)/N, erf(m/(σ√2)).
    noise : float
        σ.
    feedback : float
        Γ.
    """

    load: float
    overlap: float
    sign_overlap: float
    noise: float
    feedback: float


def hebb_capacity(beta: float) -> float:
    """Return α_c, the largest load at which patterns of ±1 are retrieved by tanh(βy) and Hebb's rule without diagonal.

    Parameters
    ----------
    beta : float
        Gain, above 1 (at 1 the capacity is 0); infinite for the sign function, where α_c = 0.1379.

    Returns
    -------
    float
    """
    return _capacity(_gain(beta))


@functools.cache
def _capacity(gain: float) -> float:
    return _fold(gain).load


def hebb_retrieval(load: float, beta: float) -> Retrieval:
    """Return the retrieval state at a load.

    Parameters
    ----------
    load : float
        α, positive and at most `hebb_capacity(beta)`.
    beta : float
        Gain, above 1; may be infinite.

    Raises
    ------
    ValueError
        Where no pattern is retrieved at this load.
    """
    gain, alpha = _gain(beta), checks.real("load", load, above=0)
    fold = _fold(gain)
    if alpha > fold.load:
        raise ValueError(f"load must be at most the capacity {fold.load:.6f} of beta = {beta:g}; got {load:g}.")
    return _at(float(optimize.brentq(lambda s: _at(s, gain).load - alpha, 1e-6, fold.noise, xtol=1e-14)), gain)


def _gain(beta: float) -> float:
    if beta == math.inf:
        return math.inf
    return checks.real("beta", beta, above=1)


def _fold(gain: float) -> Retrieval:
    """Return the end of the branch, where the load is largest."""
    widest = 0.6
    grid = np.linspace(0.01, widest, 60)
    loads = [_at(s, gain).load for s in grid]
    best = int(np.argmax(loads))
    span = (grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
    found = optimize.minimize_scalar(
        lambda s: -_at(s, gain).load, bounds=span, method="bounded", options={"xatol": 1e-9}
    )
    return _at(float(found.x), gain)


def _at(sigma: float, gain: float) -> Retrieval:
    """Return the state whose noise is σ: parametrised by it, the branch has no fold and α follows."""

    def gaps(point: np.ndarray) -> tuple[float, float]:
        m, feedback = point
        overlap, q, U = _moments(m, sigma, feedback, gain)
        # σ²/Γ = q/(U(1 − U)), in which α does not appear.
        return overlap - m, feedback * q - sigma**2 * U * (1 - U)

    found = optimize.root(gaps, (1.0, sigma**2 * 0.1), method="hybr", options={"xtol": 1e-13})
    m, feedback = found.x
    _, q, U = _moments(m, sigma, feedback, gain)
    if not found.success or m < 1e-3:
        return Retrieval(-math.inf, math.nan, math.nan, sigma, math.nan)
    return Retrieval(
        sigma**2 * (1 - U) ** 2 / q, float(m), float(special.erf(m / (sigma * math.sqrt(2)))), sigma, float(feedback)
    )


def _moments(m: float, sigma: float, feedback: float, gain: float) -> tuple[float, float, float]:
    """Return ⟨Y⟩, ⟨Y²⟩ and ⟨zY⟩/σ over a normal z."""
    turn = float(np.clip(-m / sigma, -_REACH, _REACH))
    total = np.zeros(3)
    for low, high in ((-_REACH, turn), (turn, _REACH)):
        z = low + (high - low) * (_NODES + 1) / 2
        density = _WEIGHTS * (high - low) / 2 * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        Y = _output(m + sigma * z, feedback, gain)
        total += [density @ Y, density @ Y**2, density @ (z * Y)]
    return float(total[0]), float(total[1]), float(total[2] / sigma)


def _output(field: np.ndarray, feedback: float, gain: float) -> np.ndarray:
    """Return the Y = tanh(β(A + ΓY)) of least energy: that of the sign of A, the largest in size."""
    if gain == math.inf:
        return np.asarray(np.sign(field))
    size = np.abs(field)
    Y = np.ones_like(size)
    for _ in range(200):  # Newton's method from above, where the curve is concave: monotone
        g = np.tanh(gain * (size + feedback * Y))
        step = (g - Y) / (1 - gain * feedback * (1 - g * g))
        Y = Y + step
        if np.abs(step).max() < 1e-15:
            break
    return np.asarray(np.sign(field) * Y)
