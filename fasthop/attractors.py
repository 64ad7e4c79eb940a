"""Which of many steady states are one: ends that lie together are one attractor."""

from __future__ import annotations

import numpy as np

#: Two settled states are one attractor where g differs by at most this, relative to max(1, max|g|). A settled state
#: lies within residual/rate of its attractor, so this allows rates down to a ten-thousandth at the default tolerance.
MATCH = 1e-6


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
            same = np.abs(points[left] - points[first]).max(axis=1) <= scale
            firsts[left[same]] = first
            left = left[~same]
    representatives, labels = np.unique(firsts[settled], return_inverse=True)
    out = np.full(len(points), -1, np.int64)
    out[settled] = labels
    return out, representatives


def _bundles(points: np.ndarray, chosen: np.ndarray) -> list[np.ndarray]:
    """Split points where their projections onto one line leave a gap that no two points of one attractor span.

    Comparing every point with every attractor would cost their product; within a bundle there are few.
    """
    if not chosen.size:
        return []
    # Any fixed direction without structure; an irrational rotation gives one.
    direction = np.modf((np.arange(points.shape[1]) + 1) * 0.6180339887498949)[0] - 0.5
    places = (points[chosen] * direction).sum(axis=1, dtype=np.float64)
    size = max(1.0, float(np.abs(points[chosen]).max()))
    # Twice the widest spread, because the projections are rounded.
    widest = 2 * MATCH * size * float(np.abs(direction).sum())
    order = np.argsort(places, kind="stable")
    cuts = np.flatnonzero(np.diff(places[order]) > widest) + 1
    return [np.sort(part) for part in np.split(chosen[order], cuts)]
