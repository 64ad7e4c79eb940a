"""All steady states of a ReLU memory: one linear system for every set of alive neurons.

On the support σ the equation y = W relu(y) + b is (I − W_σσ) y_σ = b_σ, and the rest follows, y_τ = W_τσ y_σ + b_τ;
it is a steady state where y_σ > 0 and y_τ ≤ 0. Every support is eliminated afresh with partial pivoting, because
formulas that update a neighbour's factors drift. Supports of one size stand side by side, one in a lane, each with
pivots of its own; the number of a support is the bit set of its neurons.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fasthop_kernels.machine.jit import kernel
from fasthop_kernels.machine.lanes import LINE, borrow, stopped, take, wide_vectors

#: What a support holds: no steady state; one; one with a dead neuron at 0; or I − W_σσ is singular, and nothing or a
#: continuum.
NOTHING, STEADY, ON_EDGE, SINGULAR = range(4)

#: Supports side by side: one cache line of float64.
LANES = LINE // 8

#: Supports that a thread takes at a time.
CHUNK = 8192

#: A pivot at most this, where the largest entry of every row is about 1, counts as 0, and so does the y of an alive
#: neuron at most this times the sizes of the terms of its own equation: neurons of any size stand side by side.
ZERO = 1e-12

#: The same for the y of a dead neuron, wider: a state with a neuron at 0 belongs to the support without it, and must
#: not fall between two supports by rounding. The rare one that both take is found where their states are compared.
EDGE = 100 * ZERO

#: What Cholesky's method says of the symmetric I − W_σσ: positive definite, indefinite, or too near to call.
STABLE, UNSTABLE, UNDECIDED = range(3)


@kernel
def binomials(neurons: int, table: Any) -> None:
    """Fill `table[n, k]`, of shape (neurons + 1, neurons + 1), with the numbers of sets of k out of n."""
    for n in range(neurons + 1):
        table[n, 0] = 1
        for k in range(1, neurons + 1):
            table[n, k] = table[n - 1, k - 1] + table[n - 1, k] if n > 0 else 0


@kernel
def _support(rank: int, size: int, table: Any) -> int:
    """Return the set of `size` neurons with this place in ascending order of the bit sets."""
    found = 0
    neuron = table.shape[0] - 1
    for left in range(size, 0, -1):
        while table[neuron, left] > rank:
            neuron -= 1
        found |= 1 << neuron
        rank -= table[neuron, left]
    return found


@kernel
def _next_support(support: int) -> int:
    """Return the next larger bit set with as many neurons (Gosper's way)."""
    lowest = support & -support
    ripple = support + lowest
    return ripple | (((support ^ ripple) // lowest) >> 2)


@kernel
def _load(W: Any, b: Any, size: int, supports: Any, alive: Any, a: Any) -> None:
    """Write I − W_σσ and b_σ side by side for LANES supports, each row by a power of two with its largest entry near 1.

    Powers of two keep the digits of the row.
    """
    neurons, width = b.size, size + 1
    for lane in range(LANES):
        at = 0
        for i in range(neurons):
            if supports[lane] >> i & 1:
                alive[at * LANES + lane] = i
                at += 1
        for i in range(size):
            row = alive[i * LANES + lane]
            largest = 0.0
            for j in range(size):
                column = alive[j * LANES + lane]
                value = (1.0 if i == j else 0.0) - W[row, column]
                a[(i * width + j) * LANES + lane] = value
                largest = max(largest, abs(value))
            a[(i * width + size) * LANES + lane] = b[row]
            if largest > 2 or 0 < largest < 0.5:
                unit = 2.0 ** -np.floor(np.log2(largest))
                for j in range(width):
                    a[(i * width + j) * LANES + lane] *= unit


@kernel
def _eliminate(a: Any, size: int, pivot: Any, factor: Any, singular: Any) -> None:
    """Bring LANES systems to triangular form, each with its own row exchanges."""
    wide_vectors()
    width = size + 1
    for k in range(size):
        best = factor[:LANES]
        column = a[(k * width + k) * LANES : (k * width + k + 1) * LANES]
        for lane in range(LANES):
            best[lane] = abs(column[lane])
            pivot[lane] = k
        for i in range(k + 1, size):
            column = a[(i * width + k) * LANES : (i * width + k + 1) * LANES]
            for lane in range(LANES):
                bigger = abs(column[lane]) > best[lane]
                best[lane] = abs(column[lane]) if bigger else best[lane]
                pivot[lane] = i if bigger else pivot[lane]
        for lane in range(LANES):
            singular[lane] |= best[lane] <= ZERO
        for lane in range(LANES):
            if pivot[lane] != k:
                here, there = k * width * LANES + lane, pivot[lane] * width * LANES + lane
                for j in range(k, width):
                    e, f = here + j * LANES, there + j * LANES
                    a[e], a[f] = a[f], a[e]
        top = a[(k * width + k) * LANES : (k + 1) * width * LANES]
        for i in range(k + 1, size):
            row = a[(i * width + k) * LANES : (i + 1) * width * LANES]
            for lane in range(LANES):
                factor[lane] = row[lane] / top[lane]
            for j in range(LANES, row.size, LANES):
                x, y = top[j : j + LANES], row[j : j + LANES]
                for lane in range(LANES):
                    y[lane] -= factor[lane] * x[lane]


@kernel
def _substitute(a: Any, size: int, terms: Any, solution: Any, fails: Any) -> bool:
    """Solve the triangular systems from the last neuron up; stop when every lane has an entry that is not positive."""
    wide_vectors()
    width = size + 1
    for i in range(size - 1, -1, -1):
        row = a[i * width * LANES : (i + 1) * width * LANES]
        x = solution[i * LANES : (i + 1) * LANES]
        for lane in range(LANES):
            x[lane] = row[size * LANES + lane]
            terms[lane] = abs(x[lane])
        for j in range(i + 1, size):
            known, weight = solution[j * LANES : (j + 1) * LANES], row[j * LANES : (j + 1) * LANES]
            for lane in range(LANES):
                part = weight[lane] * known[lane]
                x[lane] -= part
                terms[lane] += abs(part)
        left = 0
        for lane in range(LANES):
            diagonal = row[i * LANES + lane]
            x[lane] /= diagonal
            fails[lane] |= not x[lane] * abs(diagonal) > ZERO * terms[lane]
            left += 0 if fails[lane] else 1
        if left == 0:
            return False
    return True


@kernel
def _judge(W: Any, b: Any, size: int, support: int, lane: int, alive: Any, solution: Any) -> int:
    """Return what a support holds whose y_σ is positive but for rounding, from y_σ and the dead neurons."""
    edge, at = False, 0
    for t in range(b.size):
        y = b[t]
        terms = abs(y)
        for i in range(size):
            part = W[t, alive[i * LANES + lane]] * solution[i * LANES + lane]
            y += part
            terms += abs(part)
        if support >> t & 1:
            if not solution[at * LANES + lane] > ZERO * terms:
                return NOTHING
            at += 1
        elif not y <= EDGE * terms:
            return NOTHING
        elif y >= -EDGE * terms:
            edge = True
    return ON_EDGE if edge else STEADY


@kernel
def _definite(W: Any, size: int, alive: Any, a: Any) -> int:
    """Return whether the symmetric I − W_σσ is positive definite, by Cholesky's method in `a`."""
    for i in range(size):
        for j in range(i + 1):
            weight = W[alive[i * LANES], alive[j * LANES]]
            value, terms = (1.0 if i == j else 0.0) - weight, 1.0 + abs(weight)
            for k in range(j):
                part = a[i * size + k] * a[j * size + k]
                value -= part
                terms += abs(part)
            if i > j:
                a[i * size + j] = value / a[j * size + j]
            elif value > ZERO * terms:
                a[i * size + i] = np.sqrt(value)
            else:
                return UNSTABLE if value < -ZERO * terms else UNDECIDED
    return STABLE


@kernel
def _solve(W: Any, b: Any, size: int, supports: Any, integers: Any, floats: Any, verdicts: Any) -> None:
    """Write what each of LANES supports of one size holds; their alive neurons and y_σ are left in the buffers."""
    neurons = b.size
    pivot, singular, fails = integers[:LANES], integers[LANES : 2 * LANES], integers[2 * LANES : 3 * LANES]
    alive = integers[3 * LANES :]
    terms, factor = floats[:LANES], floats[LANES : 2 * LANES]
    solution = floats[2 * LANES : (2 + neurons) * LANES]
    a = floats[(2 + neurons) * LANES :]
    singular[:] = 0
    fails[:] = 0
    _load(W, b, size, supports, alive, a)
    _eliminate(a, size, pivot, factor, singular)
    some = _substitute(a, size, terms, solution, fails)
    for lane in range(LANES):
        verdict = NOTHING
        if singular[lane]:
            verdict = SINGULAR
        elif some and not fails[lane]:
            verdict = _judge(W, b, size, supports[lane], lane, alive, solution)
        verdicts[lane] = verdict


@kernel
def enumerate_supports(
    worker: int, W: Any, b: Any, table: Any, taken: Any, integers: Any, floats: Any, verdicts: Any, stop: Any
) -> None:
    """Write what supports hold: one worker's share of them, while the others may work at the same time.

    Parameters
    ----------
    worker : int
        Which row of the buffers is its own.
    W : float64 array, shape (N, N)
    b : float64 array, shape (N,)
    table : int64 array, shape (N + 1, N + 1)
        From `binomials`.
    taken : int64 array, shape (N + 1,)
        Zeros before the first worker begins; the queues of the sizes, which all workers share.
    integers : int64 array, shape (workers, (N + 5) LANES)
        Overwritten.
    floats : float64 array, shape (workers, (N² + 2 N + 2) LANES)
        Overwritten.
    verdicts : int8 array, shape (2^N,)
        Overwritten but for the empty support, whose state is b: entry σ is what the set of neurons with bits σ holds.
    stop : int64 array, shape (1,)
        What makes every worker return after CHUNK supports (`lanes.stopped`).
    """
    W, b, table, verdicts, stop = borrow(W), borrow(b), borrow(table), borrow(verdicts), borrow(stop)
    integers, floats, taken = borrow(integers)[worker], borrow(floats)[worker], borrow(taken)
    neurons = b.size
    supports, found = integers[:LANES], integers[LANES : 2 * LANES]
    for size in range(1, neurons + 1):
        count = table[neurons, size]
        while True:
            rank = take(taken, size) * CHUNK
            if rank >= count or stopped(stop):
                break
            support = _support(rank, size, table)
            last = min(count, rank + CHUNK)
            while rank < last:
                lanes = min(LANES, last - rank)
                for lane in range(LANES):  # lanes without a support of their own repeat the last one
                    supports[lane] = support
                    if lane < lanes - 1:
                        support = _next_support(support)
                _solve(W, b, size, supports, integers[2 * LANES :], floats, found)
                for lane in range(lanes):
                    verdicts[supports[lane]] = found[lane]
                rank += lanes
                if rank < last:
                    support = _next_support(support)


@kernel
def _write(W: Any, b: Any, support: int, integers: Any, floats: Any, state: Any) -> int:
    """Write the steady state of one support; return whether I − W_σσ is positive definite."""
    neurons = b.size
    supports, found = integers[:LANES], integers[LANES : 2 * LANES]
    size = 0
    for i in range(neurons):
        size += support >> i & 1
    supports[:] = support
    state[:] = b
    if size == 0:
        return STABLE
    _solve(W, b, size, supports, integers[2 * LANES :], floats, found)
    alive, solution = integers[5 * LANES :], floats[2 * LANES : (2 + neurons) * LANES]
    for i in range(size):
        for t in range(neurons):
            if not support >> t & 1:
                state[t] += W[t, alive[i * LANES]] * solution[i * LANES]
        state[alive[i * LANES]] = solution[i * LANES]
    return _definite(W, size, alive, floats[(2 + neurons) * LANES :])


@kernel
def states_of(
    worker: int, W: Any, b: Any, supports: Any, integers: Any, floats: Any, states: Any, stable: Any, stop: Any
) -> None:
    """Write the steady states of one worker's share of supports that hold one.

    Parameters
    ----------
    worker, W, b, integers, floats, stop
        As in `enumerate_supports`.
    supports : int64 array, shape (B,)
    states : float64 array, shape (B, N)
        Overwritten.
    stable : int8 array, shape (B,)
        Overwritten: STABLE, UNSTABLE or UNDECIDED, which is an answer for symmetric W alone.
    """
    workers = integers.shape[0]
    first, last = supports.size * worker // workers, supports.size * (worker + 1) // workers
    for at in range(first, last):
        if stopped(stop):
            return
        stable[at] = _write(W, b, supports[at], integers[worker], floats[worker], states[at])
