"""The theory's numbers against its limits, an independent iteration, and a network."""

import math

import numpy as np
import pytest
from scipy import integrate, optimize, special

import fasthop as fh


def test_at_infinite_gain_it_is_amit_gutfreund_and_sompolinskys():
    def root(x):
        return special.erf(x) / (math.sqrt(2) * x) - math.sqrt(2 / math.pi) * math.exp(-x * x)

    best = optimize.minimize_scalar(
        lambda x: -(root(x) ** 2), bounds=(0.5, 3), method="bounded", options={"xatol": 1e-12}
    )
    assert fh.hebb_capacity(math.inf) == pytest.approx(-best.fun, abs=1e-9)
    assert -best.fun == pytest.approx(0.1379056, abs=1e-6)
    assert fh.hebb_retrieval(fh.hebb_capacity(math.inf), math.inf).overlap == pytest.approx(0.967, abs=1e-3)


def iterate(load, beta, steps=4000):
    """The equations as they stand, by damped iteration from a perfect pattern, with an integral by SciPy's quad_vec."""
    m, q, U = 1.0, 1.0, 0.0
    z = np.linspace(-8, 8, 20001)
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    for _ in range(steps):
        sigma, feedback = math.sqrt(load * q) / (1 - U), load * U / (1 - U)
        field = m + sigma * z
        Y = np.sign(field)
        for _ in range(60):
            Y = np.tanh(beta * (field + feedback * Y))
        new = [integrate.simpson(density * f, x=z) for f in (Y, Y * Y, z * Y)]
        before = m
        m, q, U = 0.5 * m + 0.5 * new[0], 0.5 * q + 0.5 * new[1], 0.5 * U + 0.5 * new[2] / sigma
        if abs(m - before) < 1e-11:
            break
    return m, sigma


@pytest.mark.parametrize(("load", "beta"), [(0.05, 3.0), (0.11, 8.0), (0.03, 2.0)])
def test_retrieval_solves_the_equations(load, beta):
    m, sigma = iterate(load, beta)
    found = fh.hebb_retrieval(load, beta)
    assert (found.overlap, found.noise) == pytest.approx((m, sigma), abs=1e-6)
    assert found.load == pytest.approx(load, abs=1e-12)
    assert found.sign_overlap == pytest.approx(special.erf(m / sigma / math.sqrt(2)), abs=1e-7)


def test_just_above_the_capacity_the_iteration_loses_the_pattern():
    capacity = fh.hebb_capacity(4.0)
    assert iterate(0.99 * capacity, 4.0)[0] > 0.9
    assert iterate(1.01 * capacity, 4.0)[0] < 0.7


def test_capacity_grows_from_nothing_at_gain_one():
    values = [fh.hebb_capacity(beta) for beta in (1.05, 1.5, 2, 4, 8, 16)]
    assert 0 < values[0] < 2e-3
    assert (np.diff(values) > 0).all()


def test_a_network_has_the_overlap_that_the_theory_says():
    patterns = fh.random_patterns(80, 1000, seed=1)  # α = .08
    memory = fh.Memory(fh.hebb(patterns), activation=fh.Tanh(4.0))
    ends = fh.settle(memory, patterns, tolerance=1e-7)
    overlap = np.mean(patterns * np.tanh(4 * ends.state), axis=1)
    theory = fh.hebb_retrieval(0.08, 4.0)
    assert np.median(overlap) == pytest.approx(theory.overlap, abs=0.004)
    signs = np.mean(patterns * np.sign(ends.state), axis=1)
    assert signs.mean() == pytest.approx(theory.sign_overlap, abs=0.003)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fh.hebb_capacity(1.0), "beta must be finite, above 1; got 1"),
        (lambda: fh.hebb_retrieval(0.2, 8.0), "load must be at most the capacity 0.134669 of beta = 8; got 0.2"),
        (lambda: fh.hebb_retrieval(0.0, 8.0), "load must be finite, above 0"),
    ],
)
def test_what_has_no_answer_is_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
