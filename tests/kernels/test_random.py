"""Philox and the numbers made of it, against a reference in Python integers."""

import numba
import numpy as np
import pytest

from fasthop_kernels.mathematics import random

JIT = not numba.config.DISABLE_JIT
SEED = np.uint64(0x9E3779B97F4A7C15)
REALISATIONS = np.array([0, 3, 2**32 - 1])
SHAPE = (3, 5, 37) if JIT else (3, 2, 6)
DTYPES = (np.float64, np.float32)

# The vectors for philox4x32-10 in the file kat_vectors of Random123: counter, key, words.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text):
    return [int(word, 16) for word in text.split()]


def reference_philox(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [q >> 32 ^ c[1] ^ k[0], q % 2**32, p >> 32 ^ c[3] ^ k[1], p % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


def reference_word(seed, tag, realisation, item, index):
    key = int(seed) % 2**32, int(seed) >> 32
    return reference_philox((index >> 2, item, int(realisation), tag << 24), key)[index & 3]


def reference(function, shape, seed, tag, realisations):
    """Array of function(word, r, item, i) with word(index) the draws of realisation r and item."""
    out = np.empty(shape)
    for r, item, i in np.ndindex(shape):
        out[r, item, i] = function(
            lambda index, r=r, item=item: reference_word(seed, tag, realisations[r], item, index), r, item, i
        )
    return out


def signs(shape=SHAPE, dtype=np.float64, seed=SEED, tag=random.PATTERN, realisations=REALISATIONS):
    out = np.zeros(shape, dtype)
    random.signs(seed, tag, realisations[: shape[0]], 0, 0.5, out)
    return out


def flips(probability, patterns, which, seed=SEED, realisations=REALISATIONS):
    out = np.zeros((patterns.shape[0], which.size, patterns.shape[2]), patterns.dtype)
    random.flips(seed, random.CUE, realisations, patterns, 0, which, probability, out)
    return out


def uniforms(shape=SHAPE, seed=SEED, tag=random.START, realisations=REALISATIONS):
    out = np.zeros(shape)
    random.uniforms(seed, tag, realisations[: shape[0]], 0, out)
    return out


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_gives_the_published_words(counter, key, expected):
    got = random.philox(*(np.uint64(word) for word in words(counter) + words(key)))
    assert [int(word) for word in got] == words(expected)
    assert reference_philox(words(counter), words(key)) == words(expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", [np.uint64(0), SEED, np.uint64(2**64 - 1)])
def test_signs_are_the_top_bits(seed, dtype):
    expected = reference(lambda word, r, p, i: 1 - 2 * (word(i) >> 31), SHAPE, seed, random.PATTERN, REALISATIONS)
    got = signs(dtype=dtype, seed=seed)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("probability", [0.0, 2.0**-32, 0.1, 0.5, 1 - 2.0**-32, 1.0])
def test_flips_are_the_words_below_the_threshold(probability, dtype):
    patterns = signs(dtype=dtype)
    which = np.array([1, 0, 1, SHAPE[1] - 1])
    threshold = int(probability * 2**32)
    expected = reference(
        lambda word, r, c, i: patterns[r, which[c], i] * (-1 if word(i) < threshold else 1),
        (SHAPE[0], which.size, SHAPE[2]),
        SEED,
        random.CUE,
        REALISATIONS,
    )
    np.testing.assert_array_equal(flips(probability, patterns, which), expected)


def test_uniforms_hold_53_bits_of_two_words():
    expected = reference(
        lambda word, r, c, i: ((word(2 * i) >> 5) * 2**26 + (word(2 * i + 1) >> 6)) / 2**53,
        SHAPE,
        SEED,
        random.START,
        REALISATIONS,
    )
    np.testing.assert_array_equal(uniforms(), expected)


@pytest.mark.parametrize("make", [signs, uniforms])
def test_more_items_or_neurons_extend_the_fewer(make):
    large = make((3, 7, 83) if JIT else (3, 3, 9))
    for neurons in range(large.shape[2] + 1):
        np.testing.assert_array_equal(make((3, 2, neurons)), large[:, :2, :neurons])


@pytest.mark.parametrize("make", [signs, uniforms])
def test_a_realisation_does_not_depend_on_its_place(make):
    np.testing.assert_array_equal(make(realisations=REALISATIONS[::-1].copy()), make()[::-1])


def test_no_flips_at_0_and_all_at_1():
    patterns, which = signs(), np.arange(SHAPE[1])
    np.testing.assert_array_equal(flips(0.0, patterns, which), patterns)
    np.testing.assert_array_equal(flips(1.0, patterns, which), -patterns)


def test_a_word_at_the_threshold_does_not_flip():
    patterns, which = np.ones((1, 1, 8)), np.zeros(1, np.int64)
    word = reference_word(SEED, random.CUE, REALISATIONS[1], 0, 5)
    for threshold, expected in ((word, 1), (word + 1, -1)):
        assert flips(threshold / 2**32, patterns, which, realisations=REALISATIONS[1:2])[0, 0, 5] == expected


def test_noise_levels_are_nested():
    patterns, which = signs(), np.arange(SHAPE[1])
    levels = np.linspace(0, 1, 41 if JIT else 5)
    flipped = np.array([flips(level, patterns, which) != patterns for level in levels])
    assert (flipped[1:] >= flipped[:-1]).all()
    assert (flipped.sum(axis=(1, 2, 3))[[0, -1]] == [0, patterns.size]).all()


def test_seeds_tags_realisations_and_items_differ():
    shape = (3, 4, 64) if JIT else (3, 2, 32)
    rows = [
        row.tobytes()
        for seed in (SEED, SEED ^ np.uint64(1), SEED ^ np.uint64(1 << 32))
        for tag in (random.PATTERN, random.CUE, random.START)
        for row in signs(shape, seed=seed, tag=tag).reshape(-1, shape[2])
    ]
    assert len(set(rows)) == len(rows) == 9 * shape[0] * shape[1]


if JIT:

    def test_signs_are_balanced_and_independent_of_their_neighbours():
        # Each statistic is a sum of n independent signs: standard deviation sqrt(n), and 5 of them allowed.
        s = signs((3, 100, 1000))
        for product in (s, s[..., 1:] * s[..., :-1], s[:, 1:] * s[:, :-1], s[1:] * s[:-1], s[..., 4:] * s[..., :-4]):
            assert abs(product.sum()) < 5 * np.sqrt(product.size)

    @pytest.mark.parametrize("probability", [0.01, 0.2, 0.5, 0.9])
    def test_the_flip_rate_is_the_probability(probability):
        patterns = signs((3, 100, 1000))
        flipped = flips(probability, patterns, np.arange(100)) != patterns
        # Chi-square over the cues: mean 300, standard deviation sqrt(600).
        variance = probability * (1 - probability)
        deviation = flipped.sum(axis=2) - 1000 * probability
        chi_square = (deviation**2 / (1000 * variance)).sum()
        assert abs(flipped.mean() - probability) < 5 * np.sqrt(variance / flipped.size)
        assert abs(chi_square - 300) < 5 * np.sqrt(600)

    def test_uniforms_fill_the_unit_interval_evenly():
        u = uniforms((3, 100, 1000))
        assert 0 <= u.min() < 1e-4
        assert 1 - 1e-4 < u.max() < 1
        count, _ = np.histogram(u, bins=100, range=(0, 1))
        expected = u.size / 100
        assert abs(((count - expected) ** 2 / expected).sum() - 99) < 5 * np.sqrt(198)
