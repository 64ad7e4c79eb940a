"""Normal and gamma variates: the transforms against mpmath, the counters against Philox in Python integers."""

import math

import mpmath
import numba
import numpy as np
import pytest
from scipy import special, stats

from fasthop_kernels.mathematics import random, variates

JIT = not numba.config.DISABLE_JIT
SEED = np.uint64(0x9E3779B97F4A7C15)
IDS = np.array([0, 2**32 - 1])


@pytest.fixture(autouse=True)
def digits():
    with mpmath.workdps(40):
        yield


def normals_of(words):
    words = np.array(words, np.uint64)
    out = np.empty(words.size)
    variates.normals_of(words, out)
    return out


def probability(word):
    """The probability of a larger number that a word stands for, and its sign."""
    return mpmath.mpf(word >> 1 | 1) / 2**64, -1 if word & 1 else 1


def inverse(p):
    """x with P(X > x) = p for 0 < p <= 1/2, by Newton's method in 40 digits."""
    x = mpmath.mpf(-special.ndtri(float(p)))
    for _ in range(3):
        x += (mpmath.erfc(x / mpmath.sqrt(2)) / 2 - p) / mpmath.npdf(x)
    return x


def worst_normal(words, shift=0):
    """Largest relative error of normal numbers; the words of the reference are shifted to see that it would show."""
    got = normals_of(words)
    return max(
        float(abs(sign * mpmath.mpf(x) / inverse(p) - 1))
        for x, (p, sign) in zip(got, map(probability, (word + shift for word in words)), strict=True)
    )


def special_words():
    """Every binade of p, both sides of the switch at p = 1/10, and every size of a word."""
    rng = np.random.default_rng(1)
    switch = int(2**64 / 10) << 1
    words = [int(word) for word in rng.integers(0, 2**64, 200 if JIT else 20, np.uint64)]
    words += [(2**k + 2 * int(rng.integers(0, 2**k))) * 2 % 2**64 | k % 2 for k in range(1, 61)]
    words += [switch + 2**k for k in range(2, 60, 8)] + [switch - 2**k for k in range(2, 60, 8)]
    return words


def test_normal_is_the_inverse_of_the_distribution_function():
    assert worst_normal(special_words()) < 1e-15


def test_a_wrong_probability_is_seen():
    words = [int(word) & ~1 for word in np.random.default_rng(2).integers(2**60, 2**61, 20, np.uint64)]
    assert worst_normal(words) < 1e-15 < worst_normal(words, shift=2**16)


def test_normal_agrees_with_scipy():
    words = np.random.default_rng(3).integers(0, 2**64, 100_000 if JIT else 200, np.uint64)
    p = (words >> np.uint64(1) | np.uint64(1)) * 2.0**-64
    expected = special.ndtri(p) * np.where(words & np.uint64(1), 1, -1)
    np.testing.assert_allclose(normals_of(words), expected, rtol=2e-15, atol=4e-16)  # p has lost what x near 0 needs


def test_normal_is_odd_and_finite():
    words = np.array([*special_words(), 0, 2**64 - 2, 2**63 - 2, 2**63], np.uint64)
    x = normals_of(words)
    np.testing.assert_array_equal(normals_of(words ^ np.uint64(1)), -x)
    assert abs(normals_of([0])[0] - float(inverse(mpmath.mpf(2) ** -64))) < 1e-14
    assert abs(x).max() < 9.1
    assert 0 < normals_of([2**64 - 2])[0] < 2e-19


@pytest.mark.parametrize("sigmas", [1, 2, 4, 6, 8])
def test_tails_are_fine_and_right(sigmas):
    # Word 4 k stands for p = (2 k + 1) / 2**64, and so the words below 4 k for a share 2 k / 2**64 of all.
    p = mpmath.erfc(sigmas / mpmath.sqrt(2)) / 2
    k = int(p * 2**63)
    step = max(1, k >> 40)  # where p is large, x is too coarse in float64 for single steps
    x = normals_of([(k + i * step) << 2 for i in range(-20, 21)])
    assert (np.diff(x) < 0).all()
    assert abs(x[20] - sigmas) < 1e-4
    assert x[0] - x[-1] < 0.01
    assert abs(2 * k / mpmath.mpf(2) ** 64 / p - 1) < 2.0**-12


# --- counters -------------------------------------------------------------------------------------------------------


def reference_philox(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [q >> 32 ^ c[1] ^ k[0], q % 2**32, p >> 32 ^ c[3] ^ k[1], p % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


def halves(tag, realisation, item, block, attempt=0):
    """The block of a counter as two 64-bit words."""
    w = reference_philox((block, item, int(realisation), tag << 24 | attempt), (int(SEED) % 2**32, int(SEED) >> 32))
    return w[0] << 32 | w[1], w[2] << 32 | w[3]


def reference_gamma(shape, tag, realisation, item, block):
    """Marsaglia and Tsang as they wrote it, with math's logarithm; also the number of attempts."""
    lifted = shape if shape >= 1 else shape + 1
    d = lifted - 1 / 3
    for attempt in range(1000):
        high, low = halves(tag, realisation, item, block, attempt)
        x, u = normals_of([high])[0], (low >> 11) / 2**53
        v = (1 + x / math.sqrt(9 * d)) ** 3
        if v > 0 and math.log(1 - u) < float(mpmath.mpf(x) ** 2 / 2 + d * (1 - mpmath.mpf(v) + mpmath.log(v))):
            power = 1.0
            if shape < 1:
                power = (1 - (halves(tag, realisation, item, block, 2**24 - 1)[1] >> 11) / 2**53) ** (1 / shape)
            return d * v * power, attempt + 1
    raise AssertionError("no attempt was accepted")


def normals(shape, tag=random.START, realisations=IDS, seed=SEED):
    out = np.full(shape, np.nan)
    variates.normals(seed, tag, realisations[: shape[0]], 0, out)
    return out


def gammas(shapes, items, tag=random.OFFDIAGONAL, realisations=IDS, seed=SEED):
    out = np.full((realisations.size, items, len(shapes)), np.nan)
    variates.gammas(seed, tag, realisations, np.array(shapes, float), out)
    return out


def test_normals_take_two_words_each():
    got = normals((2, 2, 7))
    for r, item, i in np.ndindex(got.shape):
        word = halves(random.START, IDS[r], item, i // 2)[i % 2]
        assert got[r, item, i] == normals_of([word])[0]


def test_gammas_are_marsaglia_and_tsang():
    shapes = [0.05, 0.5, 0.999, 1.0, 1.5, 4.0, 50.0, 1e4, 5e8] * (12 if JIT else 1)
    got, attempts = gammas(shapes, 2), set()
    for r, item, i in np.ndindex(got.shape):
        expected, tries = reference_gamma(shapes[i], random.OFFDIAGONAL, IDS[r], item, i)
        attempts.add(tries)
        assert abs(got[r, item, i] / expected - 1) < 1e-12
    assert len(attempts) > 1 or not JIT  # some were rejected


def test_lanes_accept_only_what_the_exact_test_accepts():
    # -h <= 3/2 d y⁴ for |y| <= 1/2; beyond, the bound would not hold for long, and lanes leave it to the exact test.
    def rejected(y):
        return (1 + y) ** 3 - 1 - 3 * mpmath.log(1 + y) - mpmath.mpf(9) / 2 * y**2  # -h / d

    for y in mpmath.linspace(-0.5, 0.5, 201):
        assert rejected(y) <= mpmath.mpf(3) / 2 * y**4
    assert rejected(mpmath.mpf(-0.9)) > mpmath.mpf(3) / 2 * mpmath.mpf(-0.9) ** 4


@pytest.mark.parametrize("make", [lambda n, items: normals((2, items, n)), lambda n, items: gammas([2.0] * n, items)])
def test_more_items_or_numbers_extend_the_fewer(make):
    large = make(40, 3)
    for n in (1, 2, 5, 17, 39):
        np.testing.assert_array_equal(make(n, 2), large[:, :2, :n])


def test_seeds_tags_realisations_and_items_differ():
    rows = [
        row.tobytes()
        for seed in (SEED, SEED ^ np.uint64(1), SEED ^ np.uint64(1 << 40))
        for tag in (random.WEIGHT, random.DIAGONAL, random.OFFDIAGONAL, random.DIRECTION, random.BIAS)
        for row in normals((2, 3, 8), tag=tag, seed=seed).reshape(-1, 8)
    ]
    assert len(set(rows)) == 90


if JIT:

    def distance(sample, law):
        """Kolmogorov–Smirnov distance times sqrt(n): above 2.2 once in 10⁴ samples that follow the law."""
        return stats.kstest(sample, law).statistic * math.sqrt(sample.size)

    @pytest.mark.parametrize("shape", [0.05, 0.5, 1.0, 1.5, 3.0, 50.0, 500.0])
    def test_gammas_follow_their_law(shape):
        sample = gammas([shape] * 1000, 200, realisations=IDS[:1]).ravel()
        assert distance(sample, stats.gamma(shape).cdf) < 2.2
        assert distance(sample, stats.gamma(shape * (1.03 if shape < 100 else 1.003)).cdf) > 2.2

    @pytest.mark.parametrize("degrees", [1, 2, 3, 1000, 10**9])
    def test_chi_variates_have_their_moments(degrees):
        chi = np.sqrt(2 * gammas([degrees / 2] * 1000, 200, realisations=IDS[:1]).ravel())
        # At 10⁹ degrees scipy's own moments lose their digits: mean² = d - 1/2 + O(1/d), variance 1/2.
        mean, variance = stats.chi(degrees).stats("mv") if degrees < 10**6 else (math.sqrt(degrees - 0.5), 0.5)
        assert abs(chi.mean() - mean) < 5 * math.sqrt(variance / chi.size)
        assert abs(chi.var() / variance - 1) < 5 * math.sqrt(3 / chi.size)

    def test_normals_follow_their_law():
        sample = normals((1, 400, 1000)).ravel()
        assert distance(sample, stats.norm.cdf) < 2.2
        assert distance(sample, stats.norm(0, 1.02).cdf) > 2.2
