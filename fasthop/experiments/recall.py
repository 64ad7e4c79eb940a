"""What has become of a cue: the pattern, something like it, another one, or one of many ways to fail."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

#: A state is alive where the mean of |g| is at least the first number and |g| is at least the second on the third of
#: the neurons; otherwise it has collapsed towards zero, and the signs that are left of it are no memory.
ALIVE = (0.5, 0.1, 0.99)

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
        Whether a settled living state has all signs of its pattern, at most FEW_ERRORS wrong ones, or is as near as
        CLOSE; each a criterion of its own beside the overlap that makes it `retrieved`.
    sign_overlap, overlap : float64 array
        (1/N) ξ·sign(g) and (1/N) ξ·g.
    """

    outcome: np.ndarray
    exact: np.ndarray
    few_errors: np.ndarray
    close: np.ndarray
    sign_overlap: np.ndarray
    overlap: np.ndarray


def classify(kind: np.ndarray, g: np.ndarray, xi: np.ndarray, which: np.ndarray, least: float) -> Recall:
    """Say what every cue has become.

    Parameters
    ----------
    kind : str array, shape (R, C)
        Of `Ends`.
    g : array, shape (R, C, N)
        The outputs at the ends.
    xi : float64 array, shape (R, P, N)
        The patterns, of ±1.
    which : int array, shape (C,)
        The pattern of each cue.
    least : float
        The overlap of signs from which on a pattern counts as retrieved.
    """
    target, signs = xi[:, which], np.sign(g)
    sign_overlap = np.mean(signs * target, axis=-1)
    size = np.abs(g)
    mean, floor, share = ALIVE
    settled = kind == "settled"
    alive = settled & (size.mean(axis=-1) >= mean) & ((size >= floor).mean(axis=-1) >= share)
    outcome = np.where(settled, "collapsed", kind).astype(object)
    outcome[alive] = "spurious"
    outcome[alive & (sign_overlap >= least)] = "retrieved"
    for r in range(len(xi)):
        lost = np.flatnonzero(outcome[r] == "spurious")
        if lost.size:
            outcome[r, lost] = _failures(signs[r, lost], xi[r], which[lost], least)
    return Recall(
        outcome.astype(str),
        alive & (sign_overlap == 1.0),
        alive & (sign_overlap >= 1.0 - 2.0 * FEW_ERRORS),
        alive & (np.mean((target - g) ** 2, axis=-1) <= CLOSE),
        sign_overlap,
        np.mean(g * target, axis=-1),
    )


def _failures(signs: np.ndarray, xi: np.ndarray, which: np.ndarray, least: float) -> np.ndarray:
    """Say what settled living states are that are not their pattern; signs of shape (C, N)."""
    overlaps = signs @ xi.T / xi.shape[1]  # sums of whole numbers: exact
    own = overlaps[np.arange(len(which)), which]
    others = overlaps.copy()
    others[np.arange(len(which)), which] = 0.0
    mixture = np.zeros(len(signs), bool)
    order = np.argsort(-np.abs(overlaps), axis=1, kind="stable")
    for count in MIXED:
        if count <= len(xi):
            best = order[:, :count]
            weight = np.sign(np.take_along_axis(overlaps, best, axis=1))
            mixed = np.sign(np.einsum("cp,cpi->ci", weight, xi[best]))
            mixture |= np.abs(np.mean(mixed * signs, axis=1)) >= MIXTURE_OVERLAP
    return np.select(
        [own <= -least, np.abs(others).max(axis=1) >= least, mixture],
        ["inverted", "other_memory", "mixture"],
        "spurious",
    )
