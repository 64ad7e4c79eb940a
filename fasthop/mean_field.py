"""Capacity and overlaps of graded Hebb networks at N → ∞, from the self-consistent signal-to-noise equations.

With W = ξᵀξ/N without its diagonal, P = αN patterns of fair signs and g(y) = tanh(βy), the output of a neuron at a
retrieved pattern (times its sign there) is Y(z) = g(m + ΓY + σz) with a normal z: a signal m, Gaussian noise σ from the
other patterns, and a share Γ of its own output that they hand back. With the overlap m = ⟨Y⟩, q = ⟨Y²⟩ and the
susceptibility U = ⟨zY⟩/σ the equations close by σ² = αq/(1 − U)² and Γ = αU/(1 − U). Couplings that are cut or coarse
(`dilute`, `quantise`) keep the signal and add a noise of variance ηα/N to each W_ij, with the correlation κ between
W_ij and W_ji: σ² gains ηαq, and Γ gains κηαU. Where Y has several values, that of least energy counts (Maxwell's rule).
Everything is dimensionless.

References
----------
Shiino and Fukai, J. Phys. A 25:L375, 1992; Kühn, Bös and van Hemmen, Phys. Rev. A 43:2084, 1991; for g = sign the same
equations are those of Amit, Gutfreund and Sompolinsky, Phys. Rev. Lett. 55:1530, 1985. Cut and coarse couplings:
Sompolinsky, Phys. Rev. A 34:2571, 1986.
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


class Wear(NamedTuple):
    """What cutting and coarsening make of Hebb's couplings at N, P → ∞.

    Attributes
    ----------
    noise : float
        η, the variance of their noise in units of that of the couplings, α/N.
    symmetry : float
        κ, the correlation of the noise of W_ij and W_ji.
    """

    noise: float = 0.0
    symmetry: float = 1.0


#: Couplings as Hebb's rule makes them.
WHOLE = Wear()


def wear(*, dilution: float = 0.0, asymmetry: float = 0.0, levels: int = 0) -> Wear:
    """Return what becomes of Hebb's couplings that are cut in pairs, cut one way, and rounded.

    Parameters
    ----------
    dilution, asymmetry : float
        Shares that `dilute` and `dilute_one_way` cut, 0 … 1, below 1.
    levels : int
        Values that `quantise` leaves, 2 … 256; 0 where it is not used.

    Returns
    -------
    Wear
    """
    cut = checks.real("dilution", dilution, least=0, most=1)
    one_way = checks.real("asymmetry", asymmetry, least=0, most=1)
    if cut == 1 or one_way == 1:
        raise ValueError("dilution and asymmetry must be below 1; got 1: nothing would be left.")
    both = _coarseness(checks.whole("levels", levels, least=2, most=256) if levels else 0) / (1 - cut) - 1
    noise = (both + 1) / (1 - one_way) - 1
    return Wear(noise, both / noise if noise > 0 else 1.0)


def _coarseness(levels: int) -> float:
    """Return ⟨f²⟩/⟨xf⟩² of the rounding f of a normal x that `quantise` makes."""
    if levels == 0:
        return 1.0
    spacing = 2 * (1.3 + math.log2(levels) / 3) / levels
    # Up the steps of f: one at 0 for even numbers of levels, and the others on both sides.
    k = np.arange(1, (levels + 1) // 2)
    even = levels % 2 == 0
    places = (k if even else k - 0.5) * spacing
    density, tail = np.exp(-(places**2) / 2) / math.sqrt(2 * math.pi), special.erfc(places / math.sqrt(2))
    along = 2 * density.sum() + even / math.sqrt(2 * math.pi)
    square = ((2 * k if even else 2 * k - 1) * tail).sum() + even / 4
    return float(square / along**2)


def hebb_capacity(beta: float, wear: Wear = WHOLE) -> float:
    """Return α_c, the largest load at which patterns of ±1 are retrieved by tanh(βy) and Hebb's rule without diagonal.

    Parameters
    ----------
    beta : float
        Gain, above 1 (at 1 the capacity is 0); infinite for the sign function, where α_c = 0.1379.
    wear : Wear
        Of the couplings; by default they are whole. Clipped to signs α_c = 0.102 at infinite gain.

    Returns
    -------
    float
    """
    return _capacity(_gain(beta), wear)


@functools.cache
def _capacity(gain: float, wear: Wear) -> float:
    return _fold(gain, wear).load


def hebb_retrieval(load: float, beta: float, wear: Wear = WHOLE) -> Retrieval:
    """Return the retrieval state at a load.

    Parameters
    ----------
    load : float
        α, positive and at most `hebb_capacity(beta, wear)`.
    beta : float
        Gain, above 1; may be infinite.
    wear : Wear
        Of the couplings; by default they are whole.

    Raises
    ------
    ValueError
        Where no pattern is retrieved at this load.
    """
    gain, alpha = _gain(beta), checks.real("load", load, above=0)
    fold = _fold(gain, wear)
    if alpha > fold.load:
        raise ValueError(f"load must be at most the capacity {fold.load:.6f} of beta = {beta:g}; got {load:g}.")
    return _at(
        float(optimize.brentq(lambda s: _at(s, gain, wear).load - alpha, 1e-6, fold.noise, xtol=1e-14)), gain, wear
    )


def _gain(beta: float) -> float:
    if beta == math.inf:
        return math.inf
    return checks.real("beta", beta, above=1)


def _fold(gain: float, wear: Wear) -> Retrieval:
    """Return the end of the branch, where the load is largest."""
    widest = 0.6
    grid = np.linspace(0.01, widest, 60)
    loads = [_at(s, gain, wear).load for s in grid]
    best = int(np.argmax(loads))
    span = (grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
    found = optimize.minimize_scalar(
        lambda s: -_at(s, gain, wear).load, bounds=span, method="bounded", options={"xatol": 1e-9}
    )
    return _at(float(found.x), gain, wear)


def _at(sigma: float, gain: float, wear: Wear) -> Retrieval:
    """Return the state whose noise is σ: parametrised by it, the branch has no fold and α follows."""

    def gaps(point: np.ndarray) -> tuple[float, float]:
        m, feedback = point
        overlap, q, U = _moments(m, sigma, feedback, gain)
        # σ² : Γ = q (1 + η(1 − U)²) : U (1 − U + κη(1 − U)²), in which α does not appear.
        rest = (1 - U) ** 2 * wear.noise
        return overlap - m, feedback * q * (1 + rest) - sigma**2 * U * (1 - U + wear.symmetry * rest)

    found = optimize.root(gaps, (1.0, sigma**2 * 0.1), method="hybr", options={"xtol": 1e-13})
    m, feedback = found.x
    _, q, U = _moments(m, sigma, feedback, gain)
    if not found.success or m < 1e-3:
        return Retrieval(-math.inf, math.nan, math.nan, sigma, math.nan)
    load = sigma**2 / q / (1 / (1 - U) ** 2 + wear.noise)
    return Retrieval(load, float(m), float(special.erf(m / (sigma * math.sqrt(2)))), sigma, float(feedback))


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
