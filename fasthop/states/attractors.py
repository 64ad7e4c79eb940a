"""Which of many steady states are one: ends that lie together are one attractor."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fasthop.fields import activate, arguments
from fasthop.memory import Memory

#: Two settled states are one attractor where g differs by at most this, relative to max(1, max|g|). A settled state
#: lies within residual/rate of its attractor, so this allows rates down to a ten-thousandth at the default tolerance.
MATCH = 1e-6

#: Rows taken at a time: new memory for whole batches costs more than what is computed in it.
_PIECE = 4096


def g_of(memory: Memory, states: np.ndarray) -> np.ndarray:
    """Return g at each of many states, shape (B, N): what tells attractors apart."""
    out = np.empty_like(states)
    for rows in _pieces(np.arange(len(states))):
        out[rows[0] : rows[-1] + 1] = activate(memory, arguments(memory, states[rows[0] : rows[-1] + 1]))
    return out


def label(points: np.ndarray, settled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Group settled states into attractors.

    Stateless: a state belongs to the first start that it lies near, whatever came between.

    Parameters
    ----------
    points : float array, shape (B, N)
        g of the states: at a steady state y = W g(y) + b, so g tells steady states apart, and it does not feel where
        in a dead cone a state lies.
    settled : bool array, shape (B,)

    Returns
    -------
    labels : int64 array, shape (B,)
        −1 where not settled; attractors are numbered in the order of their first start.
    representatives : int64 array, shape (A,)
        The first start of each.
    """
    firsts = np.full(len(points), -1, np.int64)
    for bundle in _bundles(points, np.flatnonzero(settled)):
        left = bundle
        while left.size:
            first = left[0]
            scale = MATCH * max(1.0, float(np.abs(points[first]).max()))
            far = [np.abs(points[piece] - points[first]).max(axis=1) for piece in _pieces(left)]
            same = np.concatenate(far) <= scale
            firsts[left[same]] = first
            left = left[~same]
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
    """Split points where their projections onto one line leave a gap that no two points of one attractor span.

    Comparing every point with every attractor would cost their product; within a bundle there are few.
    """
    if not chosen.size:
        return []
    # Any fixed direction without structure; an irrational rotation gives one.
    direction = np.modf((np.arange(points.shape[1]) + 1) * 0.6180339887498949)[0] - 0.5
    places = np.concatenate([points[rows] @ direction for rows in _pieces(chosen)])
    size = max(1.0, *(float(np.abs(points[rows]).max()) for rows in _pieces(chosen)))
    # Twice the widest spread, because the projections are rounded.
    widest = 2 * MATCH * size * float(np.abs(direction).sum())
    order = np.argsort(places, kind="stable")
    cuts = np.flatnonzero(np.diff(places[order]) > widest) + 1
    return [np.sort(part) for part in np.split(chosen[order], cuts)]
