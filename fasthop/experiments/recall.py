"""What has become of a cue: the pattern, something like it, another one, or one of many ways to fail."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

#: A state is alive where the mean of |g| is at least the first number and |g| is below the second on at most one neuron
#: in so many as the third, or on one; otherwise it has collapsed towards zero, and the signs that are left of it are no
#: memory.
ALIVE = (0.5, 0.1, 100)

#: Share of wrong signs up to which there are few.
FEW_ERRORS = 0.02

#: Mean of (ξ − g)² up to which a state is close to its pattern.
CLOSE = 0.05

#: A settled living state is a mixture where its signs are those of a sum of so many patterns (or their negatives), up
#: to this overlap.
MIXED, MIXTURE_OVERLAP = (3, 5), 0.9

#: Every cue ends as exactly one of these. The first ones are settled and alive, and `inverted`, `other_memory`,
#: `mixture` and `spurious` are tried in this order.
OUTCOMES = (
    *("retrieved", "inverted", "other_memory", "mixture", "spurious", "collapsed"),
    *("unsettled", "diverged", "not_finite", "false_memory", "kink"),
)


class Recall(NamedTuple):
    """What has become of cues, arrays of shape (R, C).

    Attributes
    ----------
    outcome : str array
        One of OUTCOMES.
    exact, few_errors, close : bool array
        Whether a settled living state has all signs of its pattern, at most a share FEW_ERRORS of wrong ones, or is as
        near as CLOSE; each a criterion of its own beside the overlap that makes it `retrieved`.
    sign_overlap, overlap : float64 array
        (1/N) ξ·sign(g) and (1/N) ξ·g, neither centred nor scaled, whatever the criterion compares.
    """

    outcome: np.ndarray
    exact: np.ndarray
    few_errors: np.ndarray
    close: np.ndarray
    sign_overlap: np.ndarray
    overlap: np.ndarray


def overlap_of(states: np.ndarray, patterns: np.ndarray, biased: bool) -> np.ndarray:
    """Return the overlap of states with patterns, over the last axis: 1 where they agree, −1 where they are opposite.

    The plain (1/N) ξ·s, and for biased patterns [(1/N) ξ·s − ξ̄ s̄]/(1 − ξ̄²), of which a state that is the same
    everywhere has none.
    """
    return _centred(np.mean(states * patterns, axis=-1), states.mean(axis=-1), patterns.mean(axis=-1), biased)


def _centred(plain: np.ndarray, state_mean: np.ndarray, pattern_mean: np.ndarray, biased: bool) -> np.ndarray:
    if not biased:
        return plain
    square = 1 - pattern_mean**2  # 0 where few neurons have drawn a constant pattern, with which nothing overlaps
    return np.asarray(np.where(square > 0, plain - pattern_mean * state_mean, 0.0) / np.where(square > 0, square, 1.0))


def direction_of(g: np.ndarray, patterns: np.ndarray) -> np.ndarray:
    """Return what is compared with patterns: the signs of g where these are of ±1, otherwise g of the length √N."""
    if (np.abs(patterns) == 1).all():
        return np.asarray(np.sign(g))
    length = np.sqrt(np.mean(g * g, axis=-1, keepdims=True))
    return np.asarray(g / np.where(length > 0, length, 1.0))


def overlaps_of(direction: np.ndarray, patterns: np.ndarray, biased: bool) -> np.ndarray:
    """Return `overlap_of` each of the directions, (C, N), with each of the patterns, (P, N), shape (C, P)."""
    plain = direction @ patterns.T / patterns.shape[1]  # for signs sums of whole numbers: exact
    return _centred(plain, direction.mean(axis=1)[:, None], patterns.mean(axis=1), biased)


def classify(
    kind: np.ndarray, g: np.ndarray, xi: np.ndarray, which: np.ndarray, least: float, biased: bool = False
) -> Recall:
    """Say what every cue has become.

    Parameters
    ----------
    kind : str array, shape (R, C)
        Of `Ends`.
    g : array, shape (R, C, N)
        The outputs at the ends.
    xi : float64 array, shape (R, P, N)
        The patterns. Those of ±1 are compared with the signs of g, others with g scaled to the length √N.
    which : int array, shape (C,)
        The pattern of each cue.
    least : float
        The overlap from which on a pattern counts as retrieved.
    biased : bool
        Whether a state is no memory for having the mean of the patterns, too.
    """
    target, direction = xi[:, which], direction_of(g, xi)
    size = np.abs(g)
    mean, floor, one_in = ALIVE
    settled = kind == "settled"
    alive = settled & (size.mean(axis=-1) >= mean)
    if (np.abs(xi) == 1).all():
        alive &= (size < floor).sum(axis=-1) <= max(1, size.shape[-1] // one_in)
    own = overlap_of(direction, target, biased)
    wrong = np.mean(np.sign(g) != np.sign(target), axis=-1)
    outcome = np.where(settled, "collapsed", kind).astype(object)
    outcome[alive] = "spurious"
    outcome[alive & (own >= least)] = "retrieved"
    for r in range(len(xi)):
        lost = np.flatnonzero(outcome[r] == "spurious")
        if lost.size:
            outcome[r, lost] = _failures(direction[r, lost], xi[r], which[lost], least, biased)
    return Recall(
        outcome.astype(str),
        alive & (wrong == 0),
        alive & (wrong <= FEW_ERRORS),
        alive & (np.mean((target - g) ** 2, axis=-1) <= CLOSE),
        np.mean(np.sign(g) * target, axis=-1),
        np.mean(g * target, axis=-1),
    )


def _failures(direction: np.ndarray, xi: np.ndarray, which: np.ndarray, least: float, biased: bool) -> np.ndarray:
    """Say what settled living states are that are not their pattern; directions of shape (C, N)."""
    overlaps = overlaps_of(direction, xi, biased)
    own = overlaps[np.arange(len(which)), which]
    others = overlaps.copy()
    others[np.arange(len(which)), which] = 0.0
    mixture = np.zeros(len(direction), bool)
    order = np.argsort(-np.abs(overlaps), axis=1, kind="stable")
    for count in MIXED:
        if count <= len(xi):
            best = order[:, :count]
            weight = np.sign(np.take_along_axis(overlaps, best, axis=1))
            mixed = np.sign(np.einsum("cp,cpi->ci", weight, xi[best]))
            mixture |= np.abs(overlap_of(direction, mixed, biased)) >= MIXTURE_OVERLAP
    return np.select(
        [own <= -least, np.abs(others).max(axis=1) >= least, mixture],
        ["inverted", "other_memory", "mixture"],
        "spurious",
    )
