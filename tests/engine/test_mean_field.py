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


def test_clipped_synapses_have_sompolinskys_capacity():
    """α_c = .102 for signs of Hebb's couplings, and for normal ones that are cut it falls slower than the cuts grow."""
    assert fh.wear(levels=2) == pytest.approx((math.pi / 2 - 1, 1))
    assert fh.hebb_capacity(math.inf, fh.wear(levels=2)) == pytest.approx(0.102, abs=5e-4)
    half = fh.hebb_capacity(math.inf, fh.wear(dilution=0.5)) / fh.hebb_capacity(math.inf)
    assert 0.5 < half < 0.75
    assert fh.wear(levels=256).noise < 1e-3
    assert fh.wear() == (0, 1)


@pytest.mark.parametrize(
    ("dilution", "asymmetry", "levels"),
    [(0.4, 0, 0), (0, 0.4, 0), (0.3, 0.2, 0), (0, 0, 2), (0, 0, 3), (0, 0, 8), (0.25, 0, 5)],
)
def test_wear_is_that_of_matrices(dilution, asymmetry, levels):
    rng = np.random.default_rng(4)
    W = rng.normal(size=(1500, 1500))
    W = np.tril(W, -1)
    W += W.T
    worn = fh.dilute_one_way(fh.dilute(W, dilution, seed=1), asymmetry, seed=2)
    worn = fh.quantise(worn, levels) if levels else worn
    noise = (worn - W)[~np.eye(1500, dtype=bool)]
    due = fh.wear(dilution=dilution, asymmetry=asymmetry, levels=levels)
    assert noise.var() == pytest.approx(due.noise, rel=0.02)
    both = np.mean((worn - W) * (worn - W).T) * 1500 / 1499 / noise.var()
    assert both == pytest.approx(due.symmetry, abs=0.02)


def test_a_worn_network_has_the_overlap_that_the_theory_says():
    patterns = fh.random_patterns(70, 1400, seed=1)  # α = .05
    W = fh.quantise(fh.dilute(fh.hebb(patterns), 0.4, seed=3), 3)
    ends = fh.settle(fh.Memory(W, activation=fh.Tanh(4.0)), patterns, tolerance=1e-7)
    overlap = np.mean(patterns * np.tanh(4 * ends.state), axis=1)
    theory = fh.hebb_retrieval(0.05, 4.0, fh.wear(dilution=0.4, levels=3))
    assert np.median(overlap) == pytest.approx(theory.overlap, abs=0.004)
    assert theory.overlap < fh.hebb_retrieval(0.05, 4.0).overlap - 0.01


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fh.wear(dilution=1.0), "dilution and asymmetry must be below 1; got 1"),
        (lambda: fh.wear(levels=1), "levels must be at least 2 and at most 256; got 1"),
        (lambda: fh.hebb_capacity(1.0), "beta must be finite, above 1; got 1"),
        (lambda: fh.hebb_retrieval(0.2, 8.0), "load must be at most the capacity 0.134669 of beta = 8; got 0.2"),
        (lambda: fh.hebb_retrieval(0.0, 8.0), "load must be finite, above 0"),
    ],
)
def test_what_has_no_answer_is_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
