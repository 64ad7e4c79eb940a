import platform
from fractions import Fraction

import numba
import numpy as np
import pytest

from fasthop_kernels.machine import lanes
from fasthop_kernels.machine.lanes import add_product, lane_line, take

DTYPES = [np.float64, np.float32]
LINES = range(1, lanes.MAX_LINES + 1)


# --- the product ----------------------------------------------------------------------------------------------------


@numba.njit
def multiply(w, w_at, row_step, column_step, rows, inner, g, g_at, out, out_at, count):
    add_product(w, w_at, row_step, column_step, rows, inner, g, g_at, out, out_at, count)


def surrounded(array, offset):
    """The array, flat, in a sea of NaN that no product may read or write."""
    flat = np.full(array.size + 2 * offset, np.nan, array.dtype)
    flat[offset : offset + array.size] = array.reshape(-1)
    return flat


def product(W, G, start, *, transposed=False, offset=0):
    (rows, inner), count = W.shape, G.shape[1]
    w = surrounded(np.ascontiguousarray(W.T) if transposed else W, offset)
    g, out = surrounded(G, offset + 1), surrounded(start, offset + 2)
    steps = (1, rows) if transposed else (inner, 1)
    multiply(w, offset, *steps, rows, inner, g, offset + 1, out, offset + 2, count)
    assert np.isnan(out[: offset + 2]).all()
    assert np.isnan(out[offset + 2 + rows * count :]).all()
    return out[offset + 2 : offset + 2 + rows * count].reshape(rows, count)


def draw(rows, inner, count, dtype, seed=0):
    rng = np.random.default_rng([rows, inner, count, seed])
    return [rng.normal(size=shape).astype(dtype) for shape in ((rows, inner), (inner, count), (rows, count))]


def assert_product(out, W, G, start):
    size = np.abs(start).astype(float) + np.abs(W).astype(float) @ np.abs(G).astype(float)
    bound = 2 * np.finfo(out.dtype).eps * (W.shape[1] + 1) * size
    assert (np.abs(out - (start.astype(float) + W.astype(float) @ G.astype(float))) <= bound).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lines", LINES)
def test_product_is_numpys_for_every_remainder(lines, dtype):
    shapes = {(rows, inner) for rows in range(1, 71) for inner in (1, 7, 64, 65)}
    shapes |= {(rows, inner) for rows in (1, 3, 4, 9) for inner in range(1, 71)}
    shapes |= {(rows, inner) for rows in (63, 64, 65, 130) for inner in (63, 64, 65, 130)}
    for rows, inner in shapes:
        W, G, start = draw(rows, inner, lines * lane_line(dtype), dtype)
        assert_product(product(W, G, start), W, G, start)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0, 1, 5, 64])
def test_product_keeps_to_its_part_of_an_array_and_to_its_strides(offset, dtype):
    for rows, inner in [(1, 1), (4, 3), (6, 67), (70, 9), (130, 65)]:
        W, G, start = draw(rows, inner, 3 * lane_line(dtype), dtype)
        straight = product(W, G, start, offset=offset)
        assert_product(straight, W, G, start)
        np.testing.assert_array_equal(product(W, G, start, offset=offset, transposed=True), straight)


@pytest.mark.parametrize("dtype", DTYPES)
def test_product_without_columns_changes_nothing(dtype):
    W, G, start = draw(5, 0, 2 * lane_line(dtype), dtype)
    np.testing.assert_array_equal(product(W, G, start), start)


def test_a_product_that_lacks_one_term_is_noticed():
    W, G, start = draw(4, 65, 8, np.float64)
    with pytest.raises(AssertionError):
        assert_product(product(W[:, :-1], G[:-1], start), W, G, start)


def test_python_twin_of_the_product():
    W, G, start = draw(3, 5, 8, np.float64)
    out = start.copy().reshape(-1)
    add_product(W.reshape(-1), 0, 5, 1, 3, 5, G.reshape(-1), 0, out, 0, 8)
    assert_product(out.reshape(3, 8), W, G, start)


def multiply_add(x, y, z):
    if lanes.TILE.fma:
        return float(Fraction(x) * Fraction(y) + Fraction(z))  # rounded once
    return x * y + z


def test_every_term_is_one_multiply_add_in_the_order_of_columns():
    W, G, start = draw(5, 70, 8, np.float64)
    expected = start.tolist()
    for i in range(5):
        for lane in range(8):
            for j in range(70):
                expected[i][lane] = multiply_add(float(W[i, j]), float(G[j, lane]), expected[i][lane])
    np.testing.assert_array_equal(product(W, G, start), expected)
    assert not np.array_equal(product(W[:, ::-1].copy(), G[::-1].copy(), start), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [3, 8])
def test_bits_of_a_lane_do_not_depend_on_count_place_or_neighbours(rows, dtype):
    inner, widest = 70, lanes.MAX_LINES * lane_line(dtype)
    W, G, start = draw(rows, inner, widest, dtype)
    expected = product(W, G, start)
    rng = np.random.default_rng(0)
    for lines in LINES:
        for _ in range(20):
            chosen = rng.choice(widest, lines * lane_line(dtype), replace=False)
            g, before = G[:, chosen], start[:, chosen]
            strange = rng.random(chosen.size) < 0.2
            g[:, strange] = rng.choice([np.nan, np.inf, np.finfo(dtype).max], strange.sum())
            out = product(W, g, before)
            np.testing.assert_array_equal(out[:, ~strange], expected[:, chosen[~strange]])


def test_a_line_is_64_bytes():
    assert (lane_line(np.float64), lane_line("float32")) == (8, 16)


# --- the queue ------------------------------------------------------------------------------------------------------


@numba.njit(parallel=True)
def drain(counters, times, turns):
    for worker in numba.prange(turns.size):
        item = take(counters, 1)
        while item < times.size:
            times[item] += 1
            turns[worker] += 1
            item = take(counters, 1)


def test_threads_take_every_number_exactly_once():
    counters, times, turns = np.array([-7, 0, -7]), np.zeros(200_000, np.int64), np.zeros(8, np.int64)
    drain(counters, times, turns)
    assert (times == 1).all()
    assert turns.sum() == times.size
    assert counters.tolist() == [-7, times.size + turns.size, -7]


def test_python_twin_of_the_queue():
    counters = np.array([3, 5])
    assert [take(counters, 1), take(counters, 1)] == [5, 6]
    assert counters.tolist() == [3, 7]


# --- instruction sets -----------------------------------------------------------------------------------------------

X86 = platform.machine().lower() in ("x86_64", "amd64")
SAY = "from fasthop_kernels.machine.lanes import instruction_set; print(instruction_set())"
SETTLE = """
import sys
import numpy as np
import fasthop as fh
rng = np.random.default_rng(3)
W = rng.normal(size=(21, 21)) / 5
ends = fh.settle(fh.Memory(W + W.T, rng.normal(size=21)), rng.normal(size=(150, 21)), tolerance=1e-9)
assert ends.settled.all()
np.save(sys.argv[1], ends.state)
"""


@pytest.mark.parametrize(("cpu", "name"), [("haswell", "avx2"), ("generic", "generic")])
def test_instruction_set_follows_numbas_target(run_python, cpu, name):
    environment = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": ""} if X86 else {}
    said = run_python(SAY, **environment).strip()
    assert said in lanes._TILES
    assert said == name or not X86


@pytest.mark.slow  # compiles everything once more
def test_haswell_and_this_machine_give_the_same_bits(run_python, numba_cache, tmp_path):
    environment = {}
    if run_python(SAY).strip() in ("avx512", "avx2"):
        cache = numba_cache("haswell")
        environment = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": cache}
    run_python(SETTLE, tmp_path / "here.npy")
    run_python(SETTLE, tmp_path / "there.npy", **environment)
    here, there = np.load(tmp_path / "here.npy"), np.load(tmp_path / "there.npy")
    assert here.shape == (150, 21)
    np.testing.assert_array_equal(here, there)
