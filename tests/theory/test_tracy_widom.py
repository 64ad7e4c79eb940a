"""The Tracy–Widom law against its definition by the Hastings–McLeod solution of Painlevé II, and published tables."""

import math

import numpy as np
import pytest
from scipy import integrate, special

from fasthop.theory import tracy_widom as tw


@pytest.fixture(scope="module")
def painleve():
    """F₁ at points from −5 to 5 from q″ = s q + 2 q³ with q ~ Ai: F₁ = exp(−½ ∫ₛ (q + (x − s) q²) dx)."""
    at = np.linspace(5, -5, 41)

    def slope(s, y):
        # q, q′, ∫q, ∫q² and ∫(x − s) q², all from s to infinity.
        q, dq, _, square, _ = y
        return [dq, s * q + 2 * q**3, -q, -(q**2), -square]

    start = 8.0
    q, dq, _, _ = special.airy(start)
    tails = [
        integrate.quad(f, start, 20, epsabs=1e-25, epsrel=1e-12)[0]
        for f in (
            lambda x: special.airy(x)[0],
            lambda x: special.airy(x)[0] ** 2,
            lambda x: (x - start) * special.airy(x)[0] ** 2,
        )
    ]
    found = integrate.solve_ivp(slope, (start, -5), [q, dq, *tails], method="DOP853", t_eval=at, rtol=1e-13, atol=1e-25)
    return at, np.exp(-0.5 * (found.y[2] + found.y[4]))


def test_cdf_is_that_of_painleve_ii(painleve):
    at, expected = painleve
    np.testing.assert_allclose(tw.tw1_cdf(at), expected, rtol=0, atol=1e-9)
    # Where the law of unitary matrices would pass, this would test nothing.
    assert abs(tw.tw1_cdf(at + 1e-7) - expected).max() > 1e-9


def test_moments_are_the_published_ones():
    # Bornemann 2010, table of moments for β = 1.
    got = tw.tw1_moments()
    np.testing.assert_allclose(got[:3], [-1.2065335745820, 1.6077810345810, 0.29346452408], rtol=1e-9)
    assert abs(got.kurtosis - 0.1652429384) < 1e-9


def test_quantiles_are_the_tabulated_ones():
    # Johnstone, Ann. Statist. 29:295, 2001, table 1, to two decimals.
    quantiles = {0.01: -3.90, 0.05: -3.18, 0.1: -2.78, 0.3: -1.91, 0.5: -1.27, 0.7: -0.59}
    quantiles |= {0.9: 0.45, 0.95: 0.98, 0.99: 2.02}
    for p, s in quantiles.items():
        assert tw.tw1_cdf(s - 0.005) < p < tw.tw1_cdf(s + 0.005)


def test_pdf_is_the_derivative_of_the_cdf():
    s, h = np.linspace(-9, 6, 61), 1e-3
    rise = tw.tw1_cdf(np.add.outer([2 * h, h, -h, -2 * h], s))
    np.testing.assert_allclose((-rise[0] + 8 * rise[1] - 8 * rise[2] + rise[3]) / (12 * h), tw.tw1_pdf(s), atol=1e-9)


def test_interpolation_is_the_determinant_with_more_nodes():
    for s in np.linspace(tw.LOWEST, tw.HIGHEST, 24):
        f, density = tw.determinant(s, nodes=120)
        assert abs(f - tw.tw1_cdf(s)) < 1e-12
        assert abs(density - tw.tw1_pdf(s)) < 1e-12


def test_too_few_nodes_are_seen():
    assert abs(tw.determinant(-8.0, nodes=12)[0] - float(tw.tw1_cdf(-8.0))) > 1e-12


def test_the_larger_of_two():
    s = np.linspace(-8, 6, 57)
    np.testing.assert_array_equal(tw.larger_cdf(s), tw.tw1_cdf(s) ** 2)
    assert abs(tw.larger_moments().mean + 0.4936399332) < 1e-9
    # Mean from the distribution function alone: E = b − ∫ F over (−∞, b).
    integral = integrate.quad(lambda x: float(tw.larger_cdf(x)), -12, 12, epsabs=1e-11, limit=200)[0]
    assert abs(12 - integral - tw.larger_moments().mean) < 1e-9
    mass = integrate.quad(lambda x: float(tw.larger_pdf(x)), -12, 12, epsabs=1e-11, limit=200)[0]
    assert abs(mass - 1) < 1e-9


def test_constants_of_the_predictions_are_the_moments():
    from fasthop.random_matrices import goe

    assert abs(goe.TW1_MEAN - tw.tw1_moments().mean) < 1e-11
    assert abs(goe.LARGER_MEAN - tw.larger_moments().mean) < 1e-11


def test_outside_and_nan():
    s = [-math.inf, -30, 30, math.inf, math.nan]
    np.testing.assert_array_equal(tw.tw1_cdf(s), [0, 0, 1, 1, math.nan])
    np.testing.assert_array_equal(tw.tw1_pdf(s), [0, 0, 0, 0, math.nan])
    assert tw.tw1_cdf(-1.0).shape == ()
    assert tw.larger_pdf(np.zeros((2, 3))).shape == (2, 3)
