"""Capacity and overlaps of graded Hebb networks at N → ∞, from the self-consistent signal-to-noise equations.

With W = ξᵀξ/N without its diagonal, P = αN patterns of fair signs and g(y) = tanh(βy), the output of a neuron at a
retrieved pattern (times its sign there) is Y(z) = g(m + ΓY + σz) with a normal z: a signal m, Gaussian noise σ from the
other patterns, and a share Γ of its own output that they hand back. With the overlap m = ⟨Y⟩, q = ⟨Y²⟩ and the
susceptibility U = ⟨zY⟩/σ the equations close by σ² = αq/(1 − U)² and Γ = αU/(1 − U). Couplings that are cut or coarse
(`dilute`, `quantise`) keep the signal and add a noise of variance ηα/N to each W_ij, with the correlation κ between
W_ij and W_ji: σ² gains ηαq, and Γ gains κηαU. Where Y has several values, that of least energy counts (Maxwell's rule).
Everything is dimensionless.

Near β = 1 all of it is small: m and σ as √(β − 1), Γ and 1 − U as β − 1. What is computed is therefore Y less its
field, D = Y − m − σz, of which ⟨D⟩ = 0 and 1 − U = −⟨zD⟩/σ, in units of the state without load.

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

#: Up to which σ the end of the branch is sought, in units of the m without load: it is near 0.45 for whole couplings,
#: and up to √(2/π) where wear is all of the noise.
_WIDEST = 1.5

#: Noise, in the same units, that changes m, q and U by less than rounding does.
_FAINT = 1e-7

#: A gain that is as good as infinite.
_SHARP = 1e12


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
        0.446 (β − 1)² for β → 1.

    Raises
    ------
    ValueError
        Where β is at most 1, or wear is such (noise beyond some hundred) that the end of the branch is not found.
    """
    return _fold(_gain(beta), wear).load


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
        Where no pattern is retrieved at this load, or wear is such (noise beyond some hundred) that it is not known.
    """
    gain, alpha = _gain(beta), checks.real("load", load, above=0)
    fold = _fold(gain, wear)
    if alpha > fold.load:
        raise ValueError(f"load must be at most the capacity {fold.load:.6g} of beta = {beta:g}; got {load:g}.")
    at_rest, slack = _unloaded(gain)
    # σ at small loads, where m, q and U are still those without load.
    least = min(0.5 * at_rest * math.sqrt(alpha * (1 / slack**2 + wear.noise)), 0.5 * fold.noise)

    def at(sigma: float) -> Retrieval:
        return _at(sigma, gain, wear, fold if sigma > 0.5 * fold.noise else None)

    if alpha >= at(fold.noise).load:  # up to rounding
        return fold
    found = at(optimize.brentq(lambda s: at(s).load / alpha - 1, least, fold.noise, xtol=1e-14 * least, rtol=1e-14))
    if not abs(found.load / alpha - 1) < 1e-9:
        raise ValueError(f"wear must leave the branch in one piece; got noise {wear.noise:g}, of which it does not.")
    return found


def _gain(beta: float) -> float:
    # Beyond _SHARP tanh(βy) is the sign function, up to rounding.
    gain = math.inf if beta == math.inf else checks.real("beta", beta, above=1)
    return gain if gain < _SHARP else math.inf


@functools.cache
def _fold(gain: float, wear: Wear) -> Retrieval:
    """Return the end of the branch, where the load is largest."""
    grid = np.linspace(0.02, _WIDEST, 60) * _unloaded(gain)[0]
    branch: list[Retrieval] = []
    for sigma in grid.tolist():  # each from the last one, up to where there is none
        state = _at(sigma, gain, wear, branch[-1] if branch else None)
        if state.load == -math.inf:
            break
        branch.append(state)
    best = int(np.argmax([state.load for state in branch]))
    if best == len(grid) - 1:
        raise ValueError(f"wear must leave an end of retrieval; got noise {wear.noise:g}, of which none is found.")
    near, least, most = branch[best], grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    if best + 1 == len(branch):
        # Much wear: m falls to 0 before the load does, and the branch ends there.
        lost = near.noise
        while most - lost > 1e-11 * most:
            middle = (lost + most) / 2
            state = _at(middle, gain, wear, near)
            lost, most, near = (lost, middle, near) if state.load == -math.inf else (middle, most, state)
        most = lost
    found = optimize.minimize_scalar(
        lambda s: -max(_at(s, gain, wear, near).load / near.load, 0.0),
        bounds=(least, most),
        method="bounded",
        options={"xatol": 1e-9 * most},
    )
    return max(near, _at(float(found.x), gain, wear, near), key=lambda state: state.load)


@functools.cache
def _unloaded(gain: float) -> tuple[float, float]:
    """Return m = tanh(βm) > 0, and 1 − U = 1 − β(1 − m²), both to relative accuracy."""
    if gain == math.inf:
        return 1.0, 1.0
    excess = gain - 1
    # With x = βm: (x − tanh x)/x = (β − 1)/β, whose left-hand side is about x²/3.
    low, high = math.sqrt(excess / gain), 1.01 * gain
    x = optimize.brentq(lambda x: float(-_less_itself(np.array(x)) / x) * gain / excess - 1, low, high, rtol=1e-14)
    m, q = x / gain if gain < 2 else math.tanh(x), math.exp(-2 * x)
    return m, gain * m * m - excess if gain < 2 else 1 - gain * (4 * q / (1 + q) ** 2)


def _at(sigma: float, gain: float, wear: Wear, near: Retrieval | None = None) -> Retrieval:
    """Return the state whose noise is σ: parametrised by it, the branch has no fold and α follows.

    It is sought from a state of the branch, or from that without load.
    """
    at_rest, slack = _unloaded(gain)
    unit = slack * (sigma / at_rest) ** 2
    if sigma < _FAINT * at_rest:
        rest = slack**2 * wear.noise
        feedback = unit * (1 - slack) * (1 + wear.symmetry * slack * wear.noise) / (1 + rest)
        return Retrieval((sigma / at_rest) ** 2 / (1 / slack**2 + wear.noise), at_rest, 1.0, sigma, feedback)

    def gaps(point: np.ndarray) -> tuple[float, float]:
        m, feedback = point[0] * at_rest, point[1] * unit
        off, q, V = _moments(m, sigma, feedback, gain)
        # σ² : Γ = q (1 + ηV²) : U (V + κηV²) with V = 1 − U, in which α does not appear.
        rest = V * V * wear.noise
        gap = feedback * q / sigma**2 - (1 - V) * (V + wear.symmetry * rest) / (1 + rest)
        return off / (at_rest * slack), gap / slack

    scale = unit if near is None else slack * (near.noise / at_rest) ** 2
    start = (1.0, 0.1) if near is None else (near.overlap / at_rest, near.feedback / scale)
    found = optimize.root(gaps, start, method="hybr", options={"xtol": 1e-13})
    m, feedback = found.x[0] * at_rest, found.x[1] * unit
    _, q, V = _moments(m, sigma, feedback, gain)
    # Where rounding stops it, it is there all the same.
    if not (found.success or np.abs(found.fun).max() < 1e-11) or found.x[0] < 1e-3:
        return Retrieval(-math.inf, math.nan, math.nan, sigma, math.nan)
    load = sigma**2 / q / (1 / V**2 + wear.noise)
    return Retrieval(load, float(m), float(special.erf(m / (sigma * math.sqrt(2)))), sigma, float(feedback))


def _moments(m: float, sigma: float, feedback: float, gain: float) -> tuple[float, float, float]:
    """Return ⟨D⟩, ⟨Y²⟩ and 1 − U = −⟨zD⟩/σ over a normal z, with D = Y − m − σz."""
    turn = float(np.clip(-m / sigma, -_REACH, _REACH))
    # Beside the turn Y may be as steep as β; nodes of their own for where it is.
    steep = 20 / (gain * sigma)
    ends = np.unique((-_REACH, max(turn - steep, -_REACH), turn, min(turn + steep, _REACH), _REACH))
    half = np.diff(ends)[:, None] / 2
    z = (ends[:-1, None] + half * (_NODES + 1)).ravel()
    density = (half * _WEIGHTS).ravel() * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    field = m + sigma * z
    D = _beside_the_field(field, feedback, gain)
    return float(density @ D), float(density @ (field + D) ** 2), float(-(density @ (z * D)) / sigma)


def _beside_the_field(field: np.ndarray, feedback: float, gain: float) -> np.ndarray:
    """Return Y − A for the Y = tanh(β(A + ΓY)) of least energy: that of the sign of A, the largest in size."""
    if gain == math.inf:
        return np.asarray(np.sign(field) - field)
    size, own = np.abs(field), gain * feedback
    D = 1 - size
    for _ in range(200):  # Newton's method from above, where the curve is concave: monotone
        x = gain * (size + feedback * (size + D))
        g = np.tanh(x)
        off = np.where(x < 1, _less_itself(x) + (gain - 1 + own) * size + own * D, g - size) - D
        step = off / (1 - own * (1 - g * g))
        D = D + step
        if np.abs(step).max() <= 1e-13 * np.abs(D).max():  # the next step would be its square
            break
    return np.asarray(np.sign(field) * D)


def _less_itself(x: np.ndarray) -> np.ndarray:
    """Return tanh(x) − x to relative accuracy; near 0 from (sinh x − x cosh x)/cosh x, whose series has one sign."""
    near = np.clip(x, -1.0, 1.0)
    square = near * near
    series = np.zeros_like(near)
    for k in range(9, 0, -1):
        series = series * square + 2 * k / math.factorial(2 * k + 1)
    return np.asarray(np.where(np.abs(x) < 1, -near * square * series / np.cosh(near), np.tanh(x) - x))
