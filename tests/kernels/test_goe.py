"""Dense and tridiagonal matrices, and the bisection of their extreme eigenvalues, against LAPACK."""

import math
import platform
import re

import numba
import numpy as np
import pytest
from scipy.linalg import eigvalsh_tridiagonal

from fasthop_kernels import goe
from fasthop_kernels.mathematics import random, variates

JIT = not numba.config.DISABLE_JIT
SEED = np.uint64(0xC0FFEE0123456789)
EPS = np.finfo(float).eps
STOP = np.zeros(1, np.int64)


def tile(n, rows, lanes=8, first=0, seed=SEED):
    """A sampled tile."""
    floats, words = goe.workspace(rows, 1, lanes)
    floats[:], words[:] = np.nan, 0
    made = goe.tile_of(floats[0], words[0], rows, lanes)
    goe.sample(seed, first, n, lanes, made)
    return made


def matrices(n, rows, lanes=8, first=0):
    """Diagonals and off-diagonals of a sampled tile in the units of the ensemble, shape (lanes, rows) and rows - 1."""
    made = tile(n, rows, lanes, first)
    a = made.diagonal.reshape(-1, lanes)[:rows].T * math.sqrt(n / 2)
    b = np.sqrt(made.square.reshape(-1, lanes)[1:rows].T * (n / 2))
    return a, b


def extremes(n, draws, rows=None, lanes=8, first=0, start=None, workers=1, seed=SEED):
    rows = rows or goe.edge_rows(n)
    floats, words = goe.workspace(rows, workers, lanes)
    smallest, largest = np.full(draws, np.nan), np.full(draws, np.nan)
    start = start or goe.bracket(n)
    queue = np.zeros(1, np.int64)
    for worker in range(workers):
        goe.extremes(worker, seed, first, n, rows, lanes, start, floats, words, queue, smallest, largest, STOP)
    return smallest, largest


def ends_of(a, b):
    """Extreme eigenvalues by LAPACK's bisection, because its faster methods are wrong by up to n units of rounding."""
    if a.size == 1:
        return a[0], a[0]
    return tuple(
        eigvalsh_tridiagonal(a, b, select="i", select_range=(k, k), lapack_driver="stebz", tol=1e-300)[0]
        for k in (0, a.size - 1)
    )


def lapack(n, draws, rows):
    """Extreme eigenvalues of the same matrices."""
    found = []
    for first in range(0, draws, 8):
        for a, b in zip(*matrices(n, rows, first=first), strict=True):
            found.append(ends_of(a, b))
    return np.array(found[:draws]).T


def dense(shape, first=0, scale=1.0, seed=SEED):
    out = np.full(shape, np.nan)
    goe.dense(seed, first, scale, out, np.zeros(1, np.int64), STOP)
    return out


# --- dense ----------------------------------------------------------------------------------------------------------


def test_dense_entries_are_the_normal_numbers_of_their_places():
    n, count = (70, 3) if JIT else (7, 2)
    numbers = np.empty((1, count, n * (n + 1) // 2))
    variates.normals(SEED, random.WEIGHT, np.array([0]), 0, numbers)
    w = dense((count, n, n), scale=2.0)
    i, j = np.tril_indices(n)
    np.testing.assert_array_equal(w[:, i, j], numbers[0] * np.where(i == j, 2.0, 2.0 * math.sqrt(0.5)))
    np.testing.assert_array_equal(w, np.swapaxes(w, 1, 2))


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 33, 64] if JIT else [1, 3])
def test_fewer_rows_are_the_leading_block(n):
    most = 70 if JIT else 5
    np.testing.assert_array_equal(dense((2, n, n), first=1), dense((3, most, most))[1:, :n, :n])


# --- tridiagonal ----------------------------------------------------------------------------------------------------


def test_rows_are_the_numbers_of_their_places():
    n, rows, lanes = 1000, 20 if JIT else 4, 8
    a, b = matrices(n, rows, lanes, first=5)
    normal, gamma = np.empty((1, 5 + lanes, rows)), np.empty((1, 5 + lanes, rows))
    variates.normals(SEED, random.DIAGONAL, np.array([0]), 0, normal)
    degrees = n - np.arange(float(rows))
    variates.gammas(SEED, random.OFFDIAGONAL, np.array([0]), degrees / 2, gamma)
    np.testing.assert_allclose(a, normal[0, 5:], rtol=4 * EPS)
    # A chi variate over sqrt(2) is the root of a gamma variate of half its degrees.
    np.testing.assert_allclose(b, np.sqrt(gamma[0, 5:, 1:]), rtol=4 * EPS)


@pytest.mark.parametrize("n", [1, 2, 3, 52, 53, 10**6, 10**9])
def test_a_longer_block_extends_a_shorter_one(n):
    rows = min(n, 40 if JIT else 3)
    a, b = matrices(n, rows)
    for fewer in {1, rows // 2, rows - 1} - {0}:
        short, beside = matrices(n, fewer)
        np.testing.assert_array_equal(short, a[:, :fewer])
        np.testing.assert_array_equal(beside, b[:, : fewer - 1])
    assert np.isfinite(a).all()
    assert (b > 0).all()


def test_edge_rows_are_never_more_than_all():
    assert [goe.edge_rows(n) for n in (1, 2, 52)] == [1, 2, 52]
    assert goe.edge_rows(53) == 53
    assert goe.edge_rows(1000) == 140
    assert goe.edge_rows(10**9) == 14_000


@pytest.mark.parametrize("n", [1, 2, 10, 1000, 10**6, 10**9])
def test_the_bracket_is_whole_grains_around_the_edge(n):
    start = goe.bracket(n)
    width = start.outside - start.inside
    assert width == 2.0**start.halvings * start.grain
    assert math.frexp(start.grain)[0] == 0.5
    assert start.inside % start.grain == 0
    assert start.grain == np.spacing(2 + 8 * n ** (-2 / 3))
    assert start.inside < 2 - 7.9 * n ** (-2 / 3)
    assert start.outside > 2 + 7.9 * n ** (-2 / 3)


# --- Sturm sequences ------------------------------------------------------------------------------------------------


def least(n, rows, upper, lower, plain=False):
    """Whether all terms are positive at so many norms beyond both ends of 8 matrices."""
    made = tile(n, rows)
    a, b = made.diagonal.reshape(-1, 8)[:rows].T, np.sqrt(made.square.reshape(-1, 8)[1:rows].T)
    smallest, largest = np.array([ends_of(*matrix) for matrix in zip(a, b, strict=True)]).T
    size = np.maximum(largest, -smallest)
    at = np.concatenate([largest + size * upper, size * lower - smallest])
    out = np.empty(16)
    call = goe.least_terms if plain or not JIT else through_numba
    call(made.diagonal, made.square, rows, 8, at, out)
    return out > 0


if JIT:

    @numba.njit
    def through_numba(diagonal, square, rows, lanes, at, out):
        goe.least_terms(diagonal, square, rows, lanes, at, out)


SMALL = [(2, 2), (10, 10), (10**6, 33), (40, 40)]
# The plain twin is a loop in Python: the largest size is for compiled code alone.
CASES = [(n, rows, plain) for n, rows in SMALL for plain in (False, True)] + [(3000, 3000, False)] * JIT


@pytest.mark.parametrize(("n", "rows", "plain"), CASES)
def test_terms_are_positive_exactly_beyond_all_eigenvalues(n, rows, plain):
    assert least(n, rows, 1e-14, 1e-14, plain).all()
    assert not least(n, rows, -1e-14, -1e-14, plain).any()
    one = least(n, rows, 1e-14, -1e-14, plain)
    assert one[:8].all()
    assert not one[8:].any()
    # Far outside terms grow without bound, far inside they change sign at once.
    assert least(n, rows, 3.0, 3.0, plain).all()


# --- extreme eigenvalues --------------------------------------------------------------------------------------------

CASES = [(1, 1), (2, 2), (3, 3), (5, 5), (10, 10), (40, 40), (200, 200), (1000, 1000), (1000, 140), (10**9, 300)]


def error(n, rows, draws=24, start=None):
    """Largest error of both ends in units of the rounding of sqrt(2 n), about the norm."""
    got, expected = extremes(n, draws, rows, start=start), lapack(n, draws, rows)
    return float(np.abs(np.array(got) - expected).max() / math.sqrt(2 * n) / EPS)


@pytest.mark.parametrize(("n", "rows"), CASES if JIT else [(1, 1), (3, 3)])
def test_ends_agree_with_lapack_to_the_last_ulps(n, rows):
    assert error(n, rows, 24 if JIT else 8) < 6


if JIT:

    def test_too_coarse_a_grain_is_seen():
        start = goe.bracket(1000)
        coarse = start._replace(halvings=start.halvings - 6, grain=start.grain * 64)
        assert error(1000, 1000) < 6 < error(1000, 1000, start=coarse)

    @pytest.mark.parametrize("n", [60, 1000, 10**5, 10**9])
    def test_the_edge_block_has_the_ends_of_the_whole(n):
        draws, rows = 64 if n < 10**6 else 16, goe.edge_rows(n)
        edge = np.array(extremes(n, draws))
        longer = np.array(extremes(n, draws, min(2 * rows, n)))
        np.testing.assert_allclose(edge, longer, rtol=8 * EPS)
        if n <= 10**5:
            np.testing.assert_allclose(edge, extremes(n, draws, n), rtol=8 * EPS)
        # A block that is too short is seen.
        short = np.array(extremes(n, draws, math.ceil(5 * n ** (1 / 3))))
        assert (np.abs(short / longer - 1) > 8 * EPS).any()
        assert (np.abs(short) <= np.abs(longer) * (1 + 8 * EPS)).all()

    @pytest.mark.parametrize("n", [1, 2, 10, 1000, 10**9])
    @pytest.mark.parametrize("away", [-50, -1, 1, 50])
    def test_a_wrong_bracket_is_widened_and_not_seen(n, away):
        start = goe.bracket(n)
        width = (start.outside - start.inside) / 16
        moved = start._replace(
            inside=start.inside + away * width, outside=start.inside + (away + 1) * width, halvings=start.halvings - 4
        )
        expected = extremes(n, 40)
        got = extremes(n, 40, start=moved)
        if abs(away) == 1 or n >= 10:
            np.testing.assert_array_equal(got, expected)
        else:  # so wide a bracket has coarser floats than grains
            np.testing.assert_allclose(got, expected, atol=64 * EPS)

    @pytest.mark.parametrize("n", [1, 7, 100, 10**6])
    def test_lanes_threads_and_places_change_nothing(n):
        expected = np.array(extremes(n, 100))
        for lanes in (8, 16, 24, 40, 48):
            np.testing.assert_array_equal(extremes(n, 100, lanes=lanes), expected)
        np.testing.assert_array_equal(extremes(n, 100, workers=2), expected)
        np.testing.assert_array_equal(extremes(n, 100, lanes=16, workers=5), expected)
        np.testing.assert_array_equal(extremes(n, 37), expected[:, :37])
        np.testing.assert_array_equal(extremes(n, 60, first=13), expected[:, 13:73])
        assert (np.array(extremes(n, 100, seed=SEED + np.uint64(1))) != expected).all()

    def test_memory_follows_the_block():
        def of(n):
            rows = goe.edge_rows(n)
            lanes = goe.most_lanes(rows)
            return sum(part.nbytes for part in goe.workspace(rows, 1, lanes)) / lanes

        assert of(10**9) < 16 * 14_000 * 1.05 + 8192
        assert of(10**6) < 16 * 1_400 * 1.05 + 8192

    @pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names of x86 instructions")
    def test_random_numbers_are_made_in_vectors():
        def assembly(kernel, *arguments):
            fresh = numba.njit(fastmath=variates.normals_of.targetoptions["fastmath"], error_model="numpy")
            compiled = fresh(kernel.py_func)
            compiled(*arguments)
            return next(iter(compiled.inspect_asm().values()))

        words, numbers = np.zeros((4, 64), np.uint64), np.ones((4, 64))
        panel, out = variates.Panel(*words, *numbers), np.zeros(64)
        source = variates.Stream(*map(np.uint64, (1, 2, 3, 4)))
        assert re.search(r"v?divpd", assembly(variates.normals_of, words[0], out))
        assert re.search(r"v?pmuludq", assembly(variates.blocks, source, panel))
        assert re.search(r"v?cmp\w*pd", assembly(variates._accept, panel, out))
        assert not re.search(r"v?divpd", assembly(variates.gamma_slope, 2.0))
