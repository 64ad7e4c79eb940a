"""The theory's numbers against its limits, an independent iteration, and a network."""

import functools
import math

import mpmath as mp
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
    assert fh.theory.hebb_capacity(math.inf) == pytest.approx(-best.fun, abs=1e-9)
    assert -best.fun == pytest.approx(0.1379056, abs=1e-6)
    assert fh.theory.hebb_retrieval(fh.theory.hebb_capacity(math.inf), math.inf).overlap == pytest.approx(
        0.967, abs=1e-3
    )


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
    found = fh.theory.hebb_retrieval(load, beta)
    assert (found.overlap, found.noise) == pytest.approx((m, sigma), abs=1e-6)
    assert found.load == pytest.approx(load, abs=1e-12)
    assert found.sign_overlap == pytest.approx(special.erf(m / sigma / math.sqrt(2)), abs=1e-7)


def test_just_above_the_capacity_the_iteration_loses_the_pattern():
    capacity = fh.theory.hebb_capacity(4.0)
    assert iterate(0.99 * capacity, 4.0)[0] > 0.9
    assert iterate(1.01 * capacity, 4.0)[0] < 0.7


def test_capacity_grows_from_nothing_at_gain_one():
    values = [fh.theory.hebb_capacity(beta) for beta in (1.05, 1.5, 2, 4, 8, 16)]
    assert 0 < values[0] < 2e-3
    assert (np.diff(values) > 0).all()


@functools.cache
def normal_nodes(count=32):
    """Nodes and weights of integrals over a normal z, polished to fifty digits."""

    def hermite(z):
        last, this = mp.mpf(0), mp.mpf(1)
        for k in range(count):
            last, this = this, z * this - k * last
        return last, this

    nodes = []
    for z in map(mp.mpf, np.polynomial.hermite_e.hermegauss(count)[0].tolist()):
        for _ in range(4):
            last, this = hermite(z)
            z -= this / (count * last)
        nodes.append(z)
    return [(z, mp.factorial(count) / (count * hermite(z)[0]) ** 2) for z in nodes]


def load_at(sigma, beta, start):
    """α of the state with this noise, from the equations as they stand, in fifty digits; β so low that Y is smooth."""

    def moments(m, feedback):
        q = first = along = mp.mpf(0)
        for z, weight in normal_nodes():
            field = m + sigma * z
            Y = field
            for _ in range(40):
                g = mp.tanh(beta * (field + feedback * Y))
                step = (g - Y) / (1 - beta * feedback * (1 - g * g))
                Y += step
                if abs(step) < mp.mpf(10) ** -45:
                    break
            first, q, along = first + weight * Y, q + weight * Y * Y, along + weight * z * Y
        return first, q, along / sigma

    def gaps(m, feedback):
        first, q, U = moments(m, feedback)
        load = sigma**2 * (1 - U) ** 2 / q
        return (first - m) / m, feedback * (1 - U) / (load * U) - 1

    m, feedback = mp.findroot(gaps, start, tol=1e-30)
    _, q, U = moments(m, feedback)
    return sigma**2 * (1 - U) ** 2 / q


@pytest.mark.parametrize("excess", [1e-12, 1e-9, 1e-6, 1e-4, 1e-3, 1e-2, 1e-1])
def test_capacity_next_to_gain_one_is_right(excess):
    beta = 1 + excess
    capacity = fh.theory.hebb_capacity(beta)
    fold = fh.theory.hebb_retrieval(capacity, beta)
    with mp.workdps(50):
        start = (mp.mpf(fold.overlap), mp.mpf(fold.feedback))
        at, *beside = (load_at(mp.mpf(fold.noise) * (1 + shift), mp.mpf(beta), start) for shift in (0, -0.01, 0.01))
        assert float(at) == pytest.approx(capacity, rel=1e-9)
        assert max(beside) < at


def test_capacity_next_to_gain_one_has_its_limit():
    """With m² = (β − 1) μ² and σ² = r m²: 1 = μ²(1/3 + r − 2r/(3 + 3r)) and α/(β − 1)² = (4/9) μ⁴ r/(1 + r)."""

    def load(r):
        return 4 / 9 * r / (1 + r) / (1 / 3 + r - 2 * r / (3 + 3 * r)) ** 2

    best = optimize.minimize_scalar(lambda r: -load(r), bounds=(0.1, 0.6), method="bounded", options={"xatol": 1e-9})
    for beta in (1 + 1e-12, 1.00001):
        assert fh.theory.hebb_capacity(beta) / (beta - 1) ** 2 == pytest.approx(-best.fun, rel=1e-4)
    assert fh.theory.hebb_capacity(1.0001) == pytest.approx(4.46e-9, rel=1e-3)
    for worn in (fh.theory.wear(levels=2), fh.theory.wear(asymmetry=0.9), fh.theory.wear(dilution=0.5, levels=3)):
        assert fh.theory.hebb_capacity(1 + 1e-9, worn) / fh.theory.hebb_capacity(1 + 1e-9) == pytest.approx(1, rel=1e-6)


def test_couplings_that_are_mostly_cut_one_way_have_the_capacity_of_a_closed_form():
    """At infinite gain, with x = m/(σ√2): m = erf x, U = √(2/π) e^{−x²}/σ and α = σ²/(1/(1 − U)² + η)."""
    for cut in (0.5, 0.9, 0.99):
        noise = 1 / (1 - cut) - 1

        def load(x, noise=noise):
            sigma = special.erf(x) / (math.sqrt(2) * x)
            return sigma**2 / ((1 - math.sqrt(2 / math.pi) / sigma * math.exp(-x * x)) ** -2 + noise)

        best = optimize.minimize_scalar(lambda x: -load(x), bounds=(0.2, 3), method="bounded", options={"xatol": 1e-10})
        assert fh.theory.hebb_capacity(math.inf, fh.theory.wear(asymmetry=cut)) == pytest.approx(-best.fun, rel=1e-9)


def test_large_gains_tend_to_the_sign_function():
    for worn in (fh.theory.wear(), fh.theory.wear(levels=2), fh.theory.wear(asymmetry=0.99)):
        limit = fh.theory.hebb_capacity(math.inf, worn)
        for beta in (1e6, 1e12, 1e300):
            assert fh.theory.hebb_capacity(beta, worn) == pytest.approx(limit, rel=2e-6)


@pytest.mark.parametrize("beta", [1 + 1e-12, 1.0001, 1.5, 8.0, 1e6, math.inf])
def test_retrieval_is_that_of_the_load_however_small(beta):
    capacity = fh.theory.hebb_capacity(beta)
    for share in (1e-20, 1e-9, 1e-3, 0.5, 1.0):
        found = fh.theory.hebb_retrieval(share * capacity, beta)
        assert found.load == pytest.approx(share * capacity, rel=1e-11)
        assert 0 < found.sign_overlap <= 1
    faint = fh.theory.hebb_retrieval(1e-20 * capacity, beta)
    if beta < math.inf:
        assert math.tanh(beta * faint.overlap) == pytest.approx(faint.overlap, rel=1e-15 / min(beta - 1, 1) + 1e-12)


def test_a_network_has_the_overlap_that_the_theory_says():
    patterns = fh.random_patterns(80, 1000, seed=1)  # α = .08
    memory = fh.Memory(fh.hebb(patterns), activation=fh.Tanh(4.0))
    ends = fh.settle(memory, patterns, tolerance=1e-7)
    overlap = np.mean(patterns * np.tanh(4 * ends.state), axis=1)
    theory = fh.theory.hebb_retrieval(0.08, 4.0)
    assert np.median(overlap) == pytest.approx(theory.overlap, abs=0.004)
    signs = np.mean(patterns * np.sign(ends.state), axis=1)
    assert signs.mean() == pytest.approx(theory.sign_overlap, abs=0.003)


def test_clipped_synapses_have_sompolinskys_capacity():
    """α_c = .102 for signs of Hebb's couplings, and for normal ones that are cut it falls slower than the cuts grow."""
    assert fh.theory.wear(levels=2) == pytest.approx((math.pi / 2 - 1, 1))
    assert fh.theory.hebb_capacity(math.inf, fh.theory.wear(levels=2)) == pytest.approx(0.102, abs=5e-4)
    half = fh.theory.hebb_capacity(math.inf, fh.theory.wear(dilution=0.5)) / fh.theory.hebb_capacity(math.inf)
    assert 0.5 < half < 0.75
    assert fh.theory.wear(levels=256).noise < 1e-3
    assert fh.theory.wear() == (0, 1)


@pytest.mark.parametrize(
    ("dilution", "asymmetry", "levels"),
    [(0.4, 0, 0), (0, 0.4, 0), (0.3, 0.2, 0), (0, 0, 2), (0, 0, 3), (0, 0, 8), (0.25, 0, 5)],
)
def test_wear_is_that_of_matrices(dilution, asymmetry, levels):
    rng = np.random.default_rng(4)
    W = rng.normal(size=(1500, 1500))
    W = np.tril(W, -1)
    W += W.T
    worn = fh.storage.dilute_one_way(fh.storage.dilute(W, dilution, seed=1), asymmetry, seed=2)
    worn = fh.storage.quantise(worn, levels) if levels else worn
    noise = (worn - W)[~np.eye(1500, dtype=bool)]
    due = fh.theory.wear(dilution=dilution, asymmetry=asymmetry, levels=levels)
    assert noise.var() == pytest.approx(due.noise, rel=0.02)
    both = np.mean((worn - W) * (worn - W).T) * 1500 / 1499 / noise.var()
    assert both == pytest.approx(due.symmetry, abs=0.02)


def test_a_worn_network_has_the_overlap_that_the_theory_says():
    patterns = fh.random_patterns(70, 1400, seed=1)  # α = .05
    W = fh.storage.quantise(fh.storage.dilute(fh.hebb(patterns), 0.4, seed=3), 3)
    ends = fh.settle(fh.Memory(W, activation=fh.Tanh(4.0)), patterns, tolerance=1e-7)
    overlap = np.mean(patterns * np.tanh(4 * ends.state), axis=1)
    theory = fh.theory.hebb_retrieval(0.05, 4.0, fh.theory.wear(dilution=0.4, levels=3))
    assert np.median(overlap) == pytest.approx(theory.overlap, abs=0.004)
    assert theory.overlap < fh.theory.hebb_retrieval(0.05, 4.0).overlap - 0.01


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fh.theory.wear(dilution=1.0), "dilution and asymmetry must be below 1; got 1"),
        (lambda: fh.theory.wear(levels=1), "levels must be at least 2 and at most 256; got 1"),
        (lambda: fh.theory.hebb_capacity(1.0), "beta must be finite, above 1; got 1"),
        (lambda: fh.theory.hebb_capacity(0.5), "beta must be finite, above 1; got 0.5"),
        (lambda: fh.theory.hebb_capacity(math.nan), "beta must be finite, above 1; got nan"),
        (
            lambda: fh.theory.hebb_capacity(1.01, fh.theory.wear(dilution=0.999)),
            "wear must leave an end of retrieval; got noise 999",
        ),
        (
            lambda: fh.theory.hebb_retrieval(3.46e-4, 2.0, fh.theory.wear(dilution=0.999)),
            "wear must leave the branch in one piece",
        ),
        (lambda: fh.theory.hebb_retrieval(0.2, 8.0), "load must be at most the capacity 0.134669 of beta = 8; got 0.2"),
        (lambda: fh.theory.hebb_retrieval(0.0, 8.0), "load must be finite, above 0"),
    ],
)
def test_what_has_no_answer_is_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
