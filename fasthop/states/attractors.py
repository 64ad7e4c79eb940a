"""Which of many steady states are one: ends are moved onto the steady states beside them and told apart by g."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fasthop.dynamics.evaluate import activate, arguments
from fasthop.model.memory import Memory
from fasthop.model.norms import generic_direction
from fasthop.states.newton import polish

#: Two steady states are one where every g_i differs by at most this, relative to max(1, |g_i|). Steady states are known
#: far better than that; ends that are not yet are moved onto theirs first, whatever the tolerance they settled to.
MATCH = 1e-6

#: How far from its steady state an end may be: so many times its residual, which is 1/rate of the slowest mode; what
#: Newton's method may move it, and from where on an end that matches nothing is looked at more closely.
_SLOWEST = 1e4

#: Least and largest share of max(1, |y_i|) that Newton's method may move an end: beyond lie other basins.
_REACH = (1e-3, 0.1)

#: Rows taken at a time: new memory for whole batches costs more than what is computed in it.
_PIECE = 4096


class Attractors(NamedTuple):
    """What settled ends have come to.

    Attributes
    ----------
    labels : int64 array, shape (B,)
        The attractor of each end, numbered in the order of their first ends; −1 where not settled.
    firsts : int64 array, shape (A,)
        The first end of each.
    state : float64 array, shape (A, N)
        The steady states, as far as Newton's method could find them, in float64 whatever the memory's dtype.
    """

    labels: np.ndarray
    firsts: np.ndarray
    state: np.ndarray


def identify(memory: Memory, states: np.ndarray, residual: np.ndarray, settled: np.ndarray) -> Attractors:
    """Group settled ends into attractors.

    Ends that match are one; one end of each group is moved onto its steady state, and groups whose steady states match
    are one.

    Parameters
    ----------
    memory : Memory
        One memory.
    states : float array, shape (B, N)
    residual : float array, shape (B,)
        Of every end, relative as `settle` reports it: the larger, the further may the steady state be.
    settled : bool array, shape (B,)
    """
    labels, firsts = label(g_of(memory, states), settled)
    polished = onto_steady(memory, states[firsts], residual[firsts])
    if not firsts.size:
        return Attractors(labels, firsts, polished)
    merged, kept = label(g_of(without_R(memory), polished), np.ones(len(firsts), bool))
    return Attractors(np.where(settled, merged[labels], -1), firsts[kept], np.ascontiguousarray(polished[kept]))


def are_at(
    memory: Memory, states: np.ndarray, residual: np.ndarray, centres: np.ndarray, owners: np.ndarray
) -> np.ndarray:
    """Whether settled ends are at the attractors beside them, shape (B,).

    Parameters
    ----------
    memory : Memory
        One memory, or K.
    states : float array, shape (B, N)
    residual : float array, shape (B,)
    centres : float array, shape (B, N) or (1, N)
        Steady states.
    owners : int array, shape (B,)
        The memory of each.
    """
    wide = memory if memory.dtype == np.float64 else without_R(memory)
    states, outputs = states.astype(np.float64), g_of(wide, centres.astype(np.float64))
    found = same(g_of(wide, states), outputs)
    apart = np.abs(states - centres).max(axis=1)
    unsure = np.flatnonzero(~found & (apart <= _SLOWEST * residual * np.maximum(1, np.abs(states).max(axis=1))))
    for number in np.unique(owners[unsure]).tolist():
        rows = unsure[owners[unsure] == number]
        steady = onto_steady(memory, states[rows], residual[rows], number)
        there = outputs if len(outputs) == 1 else outputs[rows]
        found[rows] = same(g_of(without_R(memory, number), steady), there)
    return found


def allowed(residual: np.ndarray) -> np.ndarray:
    """Return how far ends with these residuals may be from their steady states, as a share of max(1, |y_i|)."""
    return np.asarray(np.clip(_SLOWEST * residual.astype(np.float64), MATCH, _REACH[1]))


def onto_steady(memory: Memory, states: np.ndarray, residual: np.ndarray, number: int = 0) -> np.ndarray:
    """Return the steady states beside ends of one memory, or of number `number` of K, float64, shape (B, N)."""
    reach = np.clip(_SLOWEST * residual.astype(np.float64), *_REACH)
    return polish(without_R(memory, number), states.astype(np.float64), reach=reach).state


def without_R(memory: Memory, number: int = 0) -> Memory:
    """Return one memory in float64 with the same numbers and steady states, without R and time constants."""
    stored = memory.weights.stored.astype(memory.dtype).astype(np.float64)
    b = memory.b if memory.count is None else memory.b[number]
    weights = memory.weights.replaced(stored if memory.count is None else stored[number : number + 1], None)
    return Memory(weights, b, layers=memory.layers, variable=memory.variable)


def g_of(memory: Memory, states: np.ndarray) -> np.ndarray:
    """Return g at each of many states, shape (B, N): what tells attractors apart."""
    out = np.empty_like(states)
    for rows in _pieces(np.arange(len(states))):
        out[rows[0] : rows[-1] + 1] = activate(memory, arguments(memory, states[rows[0] : rows[-1] + 1]))
    return out


def same(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Whether each point is its centre, neuron by neuron; g of states of shape (B, N), and (B, N) or (1, N)."""
    return np.asarray((np.abs(points - centres) <= MATCH * np.maximum(1, np.abs(centres))).all(axis=1))


def label(points: np.ndarray, settled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Group points that are the same.

    Stateless: a point belongs to the first one that it lies near, whatever came between.

    Parameters
    ----------
    points : float array, shape (B, N)
        g of the states: at a steady state y = W g(y) + b, so g tells steady states apart, and it does not feel where
        in a dead cone a state lies.
    settled : bool array, shape (B,)

    Returns
    -------
    labels : int64 array, shape (B,)
        −1 where not settled; groups are numbered in the order of their first point.
    representatives : int64 array, shape (A,)
        The first point of each.
    """
    firsts = np.full(len(points), -1, np.int64)
    for bundle in _bundles(points, np.flatnonzero(settled)):
        left = bundle
        while left.size:
            first = left[0]
            alike = np.concatenate([same(points[piece], points[first : first + 1]) for piece in _pieces(left)])
            alike[0] = True  # also where it is not finite
            firsts[left[alike]] = first
            left = left[~alike]
    representatives, labels = np.unique(firsts[settled], return_inverse=True)
    out = np.full(len(points), -1, np.int64)
    out[settled] = labels
    return out, representatives


def distances(points: np.ndarray, rows: np.ndarray, centres: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Return max|point − centre| of the chosen rows; the centre of row r is `centres[nearest[r]]`."""
    parts = [np.abs(points[piece] - centres[nearest[piece]]).max(axis=1) for piece in _pieces(rows)]
    return np.concatenate(parts) if parts else np.empty(0, points.dtype)


def _pieces(rows: np.ndarray) -> Iterator[np.ndarray]:
    for at in range(0, len(rows), _PIECE):
        yield rows[at : at + _PIECE]


def _bundles(points: np.ndarray, chosen: np.ndarray) -> list[np.ndarray]:
    """Split points where their projections onto one line leave a gap that no two of one group span.

    Comparing every point with every group would cost their product; within a bundle there are few.
    """
    if not chosen.size:
        return []
    # A neuron that is large anywhere counts as much less, so that it does not hide the others.
    size = np.max([np.abs(points[rows]).max(axis=0) for rows in _pieces(chosen)], axis=0)
    direction = generic_direction(points.shape[1]) / np.maximum(1.0, size)
    places = np.concatenate([points[rows] @ direction for rows in _pieces(chosen)])
    # Twice the widest spread, because the projections are rounded.
    widest = 2 * MATCH * float((np.abs(direction) * np.maximum(1.0, size)).sum())
    order = np.argsort(places, kind="stable")
    cuts = np.flatnonzero(np.diff(places[order]) > widest) + 1
    return [np.sort(part) for part in np.split(chosen[order], cuts)]
