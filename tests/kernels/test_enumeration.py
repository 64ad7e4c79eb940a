"""The enumeration of supports: sets in order, lanes, threads, and the sources as plain Python."""

import itertools

import numpy as np
import pytest

from fasthop_kernels import enumeration as kernels

STOP = np.zeros(1, np.int64)


def table_of(n):
    table = np.full((n + 1, n + 1), -1, np.int64)
    kernels.binomials(n, table)
    return table


def run(W, b, workers=2):
    n = len(b)
    integers = np.zeros((workers, (n + 5) * kernels.LANES), np.int64)
    floats = np.full((workers, (n * n + 2 * n + 2) * kernels.LANES), np.nan)
    verdicts = np.full(1 << n, -1, np.int8)
    taken = np.zeros(n + 1, np.int64)
    for worker in range(workers):
        kernels.enumerate_supports(worker, W, b, table_of(n), taken, integers, floats, verdicts, STOP)
    supports = np.flatnonzero(verdicts == kernels.STEADY)
    states, definite = np.empty((len(supports), n)), np.empty(len(supports), np.int8)
    for worker in range(workers):
        kernels.states_of(worker, W, b, supports, integers, floats, states, definite, STOP)
    return verdicts, supports, states, definite


def draw(n, seed):
    rng = np.random.default_rng([n, seed])
    M = rng.standard_normal((n, n)) - 1
    return (M + M.T) / 2, 1 + 0.5 * rng.standard_normal(n)


def test_sets_come_in_ascending_order():
    for n in (1, 5, 9):
        table = table_of(n)
        for size in range(1, n + 1):
            due = sorted(sum(1 << i for i in chosen) for chosen in itertools.combinations(range(n), size))
            assert table[n, size] == len(due)
            assert [kernels._support(rank, size, table) for rank in range(len(due))] == due
            following = [kernels._next_support(support) for support in due[:-1]]
            assert following == due[1:]


@pytest.mark.parametrize("n", [1, 2, 6, 13])
def test_every_support_is_visited_and_threads_cannot_be_seen(n):
    W, b = draw(n, 0)
    one, two, four = (run(W, b, workers) for workers in (1, 2, 4))
    assert (one[0][1:] >= 0).all()
    assert one[0][0] == -1  # the empty support is the caller's
    for other in (two, four):
        for a, c in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, c)


def test_pivots_are_chosen_lane_by_lane():
    # A zero on the diagonal of I − W needs a row exchange: without one the elimination divides by 0.
    W, b = np.array([[1.0, -2.0, 0.1], [-3.0, 1.0, 0.3], [0.2, -0.4, -1.0]]), np.array([2.0, 1.5, 1.0])
    verdicts, supports, states, _ = run(W, b)
    assert verdicts[0b001] == verdicts[0b010] == kernels.SINGULAR
    assert supports.tolist().count(0b111) == 1
    np.testing.assert_allclose(states[supports == 0b111][0], np.linalg.solve(np.eye(3) - W, b), rtol=1e-14)


def test_a_badly_conditioned_system_keeps_its_digits():
    # Supports differ by one neuron only, where formulas that update factors lose digits from one to the next.
    rng = np.random.default_rng(5)
    q = np.linalg.qr(rng.standard_normal((10, 10)))[0]
    A = q @ np.diag(np.geomspace(1e-6, 1, 10)) @ q.T
    A = (A + A.T) / 2
    y = rng.uniform(1, 2, 10)
    verdicts, supports, states, definite = run(np.eye(10) - A, A @ y)
    assert verdicts[-1] == kernels.STEADY
    np.testing.assert_allclose(states[supports == 1023][0], y, rtol=1e-9)
    assert definite[supports == 1023] == kernels.STABLE


def test_cholesky_says_what_eigenvalues_say():
    seen = []
    for seed in range(12):
        W, b = draw(10, seed)
        _, supports, _, definite = run(W, b)
        for support, verdict in zip(supports, definite, strict=True):
            alive = np.flatnonzero(support >> np.arange(10) & 1)
            lowest = np.linalg.eigvalsh(np.eye(len(alive)) - W[np.ix_(alive, alive)])[0]
            assert verdict == (kernels.STABLE if lowest > 0 else kernels.UNSTABLE)
            seen.append(verdict)
    assert {kernels.STABLE, kernels.UNSTABLE} == set(seen)


def test_a_neuron_at_zero_is_on_the_edge():
    verdicts, *_ = run(np.array([[0.0, 0.3], [-1.0, 0.2]]), np.array([1.0, 1.0]))
    assert verdicts[1:].tolist() == [kernels.ON_EDGE, kernels.NOTHING, kernels.NOTHING]


PLAIN = """
import numpy as np
from fasthop_kernels import enumeration as kernels
n = 4
W, b = np.full((n, n), -1.5) + 1.5 * np.eye(n), np.ones(n)
table = np.zeros((n + 1, n + 1), np.int64)
kernels.binomials(n, table)
integers, floats = np.zeros((1, 9 * kernels.LANES), np.int64), np.zeros((1, 26 * kernels.LANES))
verdicts = np.zeros(16, np.int8)
kernels.enumerate_supports(0, W, b, table, np.zeros(n + 1, np.int64), integers, floats, verdicts, np.zeros(1, np.int64))
states, stable = np.zeros((15, n)), np.zeros(15, np.int8)
kernels.states_of(0, W, b, np.arange(1, 16), integers, floats, states, stable, np.zeros(1, np.int64))
print(verdicts.tolist(), stable.tolist(), states[14].tolist())
"""


def test_without_compilation_the_numbers_are_the_same(run_python):
    # Every set of winners is steady, one winner is stable: y = 1/(1 + 1.5 (k − 1)).
    words = run_python(PLAIN, NUMBA_DISABLE_JIT=1)
    stable = [0 if bits.bit_count() == 1 else 1 for bits in range(1, 16)]
    assert words.startswith(f"{[0] + [1] * 15} {stable} ")
    assert run_python(PLAIN).startswith(f"{[0] + [1] * 15} {stable} ")
