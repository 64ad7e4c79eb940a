"""The Tracy–Widom law of the largest eigenvalue of GOE matrices, TW1, and of the larger of two independent ones.

The distribution function is the Fredholm determinant F(s) = det(1 − K) with K(x, y) = Ai((x + y)/2)/2 on (s, ∞), here
by Gauss–Legendre quadrature: its error falls faster than any power of the number of nodes.

Notes
-----
Ferrari, Spohn, J. Phys. A 38:L557, 2005, for the kernel; Bornemann, Math. Comp. 79:871, 2010, doi
10.1090/S0025-5718-09-02280-7, for determinants by quadrature. The density is −F tr((1 − K)⁻¹ ∂K/∂s), with K moved to
(0, ∞), where it depends on s through Ai((x + y)/2 + s)/2.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.polynomial import chebyshev
from scipy import linalg, special

from fasthop.runtime import one_blas_thread

#: Outside of this interval F is 0 or 1 to 1e-16, and the density below 1e-16.
LOWEST, HIGHEST = -14.0, 17.0

#: The kernel is below 1e-17 where its argument exceeds this.
_NEGLIGIBLE = 17.0
_NODES = 64
_DEGREE = 140


class Moments(NamedTuple):
    """Mean, variance, skewness and excess kurtosis of a law."""

    mean: float
    variance: float
    skewness: float
    kurtosis: float


def tw1_cdf(s: Any) -> np.ndarray:
    """Return P(λ ≤ s) for λ of law TW1, to 1e-12 absolute.

    Parameters
    ----------
    s : array_like

    Returns
    -------
    float64 array of the shape of `s`
    """
    return _interpolated(s, 0)


def tw1_pdf(s: Any) -> np.ndarray:
    """Return the density of TW1, to 1e-12 absolute.

    Parameters
    ----------
    s : array_like
    """
    return _interpolated(s, 1)


def larger_cdf(s: Any) -> np.ndarray:
    """Return P(max(λ, λ′) ≤ s) for independent λ, λ′ of law TW1: that of the scaled norm of large GOE matrices.

    Parameters
    ----------
    s : array_like
    """
    return tw1_cdf(s) ** 2


def larger_pdf(s: Any) -> np.ndarray:
    """Return the density of the larger of two independent TW1 numbers.

    Parameters
    ----------
    s : array_like
    """
    return np.asarray(2.0 * tw1_cdf(s) * tw1_pdf(s))


@cache
def tw1_moments() -> Moments:
    """Return the moments of TW1: −1.2065335746, 1.6077810346, .2934645241, .1652429385."""
    return _moments(tw1_pdf)


@cache
def larger_moments() -> Moments:
    """Return the moments of the larger of two independent TW1 numbers; its mean is −.4936399332."""
    return _moments(larger_pdf)


def determinant(s: float, nodes: int = _NODES) -> tuple[float, float]:
    """Return F(s) and its derivative from the Fredholm determinant by Gauss–Legendre quadrature.

    Parameters
    ----------
    s : float
        In [LOWEST, HIGHEST].
    nodes : int
    """
    x, w = special.roots_legendre(nodes)
    half = 0.5 * max(_NEGLIGIBLE - s, 1.0)
    x, root = half * (x + 1.0), np.sqrt(half * w)
    value, slope, _, _ = special.airy(0.5 * (x[:, None] + x) + s)
    weights = 0.5 * root[:, None] * root
    factors = linalg.lu_factor(np.eye(nodes) - weights * value)
    # Every eigenvalue of K is below 1, so that the determinant is positive.
    f = float(abs(np.prod(np.diag(factors[0]))))
    return f, -f * float(np.trace(linalg.lu_solve(factors, weights * slope)))


@cache
def _coefficients() -> np.ndarray:
    """Chebyshev coefficients of F and of its density on [LOWEST, HIGHEST]."""
    t = chebyshev.chebpts1(_DEGREE + 1)
    with one_blas_thread():
        values = np.array([determinant(0.5 * (LOWEST + HIGHEST) + 0.5 * (HIGHEST - LOWEST) * u) for u in t])
    cosines = np.cos(np.arange(_DEGREE + 1)[:, None] * np.arccos(t))
    coefficients = cosines @ values * (2.0 / (_DEGREE + 1))
    coefficients[0] *= 0.5
    return np.asarray(coefficients)


def _interpolated(s: Any, column: int) -> np.ndarray:
    x = np.asarray(s, np.float64)
    t = (2.0 * x - LOWEST - HIGHEST) / (HIGHEST - LOWEST)
    inside = chebyshev.chebval(np.clip(t, -1.0, 1.0), _coefficients()[:, column])
    most = 1.0 if column == 0 else np.inf
    beyond = most if column == 0 else 0.0
    values = np.where(t > 1.0, beyond, np.where(t < -1.0, 0.0, np.clip(inside, 0.0, most)))
    return np.where(np.isnan(x), np.nan, values)


def _moments(density: Any) -> Moments:
    x, w = special.roots_legendre(_DEGREE)
    half = 0.5 * (HIGHEST - LOWEST)
    x = LOWEST + half * (x + 1.0)
    mass = half * w * density(x)
    mean = float(mass @ x)
    second, third, fourth = (float(mass @ (x - mean) ** k) for k in (2, 3, 4))
    return Moments(mean, second, third / second**1.5, fourth / second**2 - 3.0)
