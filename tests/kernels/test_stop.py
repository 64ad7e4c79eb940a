"""Kernels that are told to stop before they begin write nothing, and what they would have written otherwise."""

import numpy as np
import pytest

from fasthop_kernels import adatron, discrete, enumeration, goe
from fasthop_kernels.linear import hessenberg
from fasthop_kernels.machine.lanes import stopped

RNG = np.random.default_rng(4)
SEED = np.uint64(9)


def nan(*shape):
    return np.full(shape, np.nan)


def supports(n):
    table = np.zeros((n + 1, n + 1), np.int64)
    enumeration.binomials(n, table)
    room = np.zeros((1, (n + 5) * enumeration.LANES), np.int64), nan(1, (n * n + 2 * n + 2) * enumeration.LANES)
    return RNG.standard_normal((n, n)), np.ones(n), table, *room


def enumerated(n, stop):
    W, b, table, integers, floats = supports(n)
    verdicts = np.full(2**n, -1, np.int8)
    enumeration.enumerate_supports(0, W, b, table, np.zeros(n + 1, np.int64), integers, floats, verdicts, stop)
    return np.where(verdicts[1:] < 0, np.nan, verdicts[1:])


def states(n, stop):
    W, b, _, integers, floats = supports(n)
    y, stable = nan(3, n), np.zeros(3, np.int8)
    enumeration.states_of(0, W, b, np.array([1, 2, 3]) % 2**n, integers, floats, y, stable, stop)
    return y


def ends(n, stop):
    rows, smallest, largest = goe.edge_rows(n), nan(5), nan(5)
    queue, room = np.zeros(1, np.int64), goe.workspace(rows, 1, 8)
    goe.extremes(0, SEED, 0, n, rows, 8, goe.bracket(n), *room, queue, smallest, largest, stop)
    return largest


def dense(n, stop):
    out = nan(2, n, n)
    goe.dense(SEED, 0, 1.0, out, np.zeros(1, np.int64), stop)
    return out


def eigenvalues(n, stop):
    matrices, values = np.triu(RNG.standard_normal((3, n, n)), -1), nan(3, n, 2)
    room = nan(1, hessenberg.room_size(n), 8), np.zeros((1, 3, 8), np.int64)
    hessenberg.eigenvalues(matrices, np.zeros(1, np.int64), 0, *room, values, stop)
    return values


def last_entries(n, stop):
    matrices, last = np.triu(RNG.standard_normal((3, n, n)), -1), nan(3)
    hessenberg.last_entries(matrices, np.ones(3, complex), 0, 1, np.zeros((1, n + 3, n), complex), last, stop)
    return last


def stability(n, stop):
    patterns = np.where(RNG.standard_normal((3, n)) < 0, -1.0, 1.0)
    room = nan(n, 3), nan(n, 3), nan(2, n)
    adatron.maximise_stability(patterns, patterns @ patterns.T / n, 0.0, 0.01, 9, *room, np.zeros(1, np.int64), stop)
    return room[2]


def fields(n, stop):
    found, done = nan(4, n), np.zeros(4, bool)
    state, queue = np.ones((4, n), np.int64), np.zeros(1, np.int64)
    discrete.settle_signs(RNG.standard_normal((n, n)), np.zeros(n), 0.0, 9, state, found, done, queue, stop)
    return found


def overlaps(n, stop):
    state, found, done = np.ones((4, n), np.int64), np.full((4, 2), -1), np.zeros(4, bool)
    signs, gain = np.ones((n, 2), np.int64), np.linspace(-1, 1, 2 * n + 3)
    discrete.settle_energies(signs, gain, 0.0, 9, state, found, done, np.zeros(1, np.int64), stop)
    return np.where(found < 0, np.nan, found)


KERNELS = [enumerated, states, ends, dense, eigenvalues, last_entries, stability, fields, overlaps]


@pytest.mark.parametrize("n", [2, 6, 11])
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.__name__)
def test_a_kernel_that_is_told_to_stop_writes_nothing(kernel, n):
    assert np.isnan(kernel(n, np.ones(1, np.int64))).all()
    assert not np.isnan(kernel(n, np.zeros(1, np.int64))).any()


def test_any_number_but_0_stops():
    assert [stopped(np.array([value])) for value in (0, 1, -1, 2**62)] == [False, True, True, True]
