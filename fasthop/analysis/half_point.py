"""Where the rate of a capacity table falls through one half, along one of its parameters, with its error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import optimize, special

from fasthop import checks, fill
from fasthop.experiments.capacity import PARAMETERS
from fasthop_kernels.mathematics import random

#: Places count from the last whose rate is above the first number to the first whose rate is below the second. Where
#: none lies between them the rate jumps.
_WINDOW = (0.95, 0.05)

#: Standard errors from the middle to an end of a 95 % interval.
_NORMAL = 1.96


class Crossing(NamedTuple):
    """Where a rate falls through one half; all NaN where it does not.

    Attributes
    ----------
    half : float
        x½ of the logistic curve; the middle of the bracket where there is none.
    error : float
        Its standard error, NaN where it is not known.
    low, high : float
        A 95 % interval, or the bracket.
    width : float
        w of the curve, NaN where there is none.
    """

    half: float = np.nan
    error: float = np.nan
    low: float = np.nan
    high: float = np.nan
    width: float = np.nan


def half_of(frame: pd.DataFrame, column: str, axis: str, along: Sequence[str], draws: int, seed: int) -> pd.DataFrame:
    """Return the value of `axis` at which a rate is one half, for every combination of the other parameters.

    A logistic curve 1/(1 + exp((x − x½)/w)) is fitted by maximum likelihood to the places around the drop. The error is
    that of a bootstrap over realisations, which keeps the realisations that places share together. Where the rate
    jumps, from above 0.95 to below 0.05 or so that a step is the likeliest curve, the places say no more than between
    which of them it does: that bracket is the interval, and its middle x½, without an error.

    Parameters
    ----------
    frame : DataFrame
        Rows of a capacity sweep.
    column : str
        The criterion whose counts are the successes.
    axis : str
        The parameter.
    along : sequence of str
        The columns that change with it, itself among them.
    draws, seed : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        The other parameters, `half`, `half_se`, `half_low`, `half_high`, `width` (w), `places` and `realisations`; NaN
        where the rate does not cross one half, and the error also where realisations are one or all alike.
    """
    draws, seed = checks.whole("draws", draws, least=2), checks.seed("seed", seed)
    found = []
    for values, places, successes, trials in curves(frame, column, axis, along):
        found_there = _cross_with_error(places, successes, trials, draws, seed)
        row = values | dict(zip(("half", "half_se", "half_low", "half_high", "width"), found_there, strict=True))
        found.append(row | {"places": len(places), "realisations": len(successes)})
    return pd.DataFrame(found)


def curves(
    frame: pd.DataFrame, column: str, axis: str, along: Sequence[str]
) -> Iterator[tuple[dict[str, Any], np.ndarray, np.ndarray, np.ndarray]]:
    """Yield, for each combination of the other parameters, it, the places, and successes and trials.

    Places ascend; counts have shape (realisations, places), 0 trials where a realisation was not at a place.

    Raises
    ------
    ValueError
        Where the frame has not the columns of a capacity sweep.
    """
    missing = [name for name in (*PARAMETERS, "realisation", "cues", column) if name not in frame]
    if missing:
        raise ValueError(f"frame must hold rows of a capacity sweep; it has no column {missing[0]!r}.")
    by = [name for name in PARAMETERS if name not in along]
    owner = ["seed", "realisation"] if "seed" in frame else ["realisation"]
    for key, group in frame.groupby(by, sort=False):
        # Two loads that come to the same patterns are the same rows.
        different = group.drop_duplicates([*owner, axis])
        successes, trials = (
            different.pivot_table(index=owner, columns=axis, values=name, aggfunc="sum", fill_value=0)
            for name in (column, "cues")
        )
        places = successes.columns.to_numpy(float)
        yield dict(zip(by, key, strict=True)), places, successes.to_numpy(float), trials.to_numpy(float)


def resampled(realisations: int, draws: int, seed: int) -> np.ndarray:
    """Return which realisations each of `draws` bootstrap samples has, shape (draws, realisations)."""
    uniform = np.empty((1, draws, realisations))
    # The tag's other numbers draw starts of basins; nothing here starts anything.
    fill.uniforms(seed, random.START, np.array([0]), 0, uniform)
    return np.asarray((uniform[0] * realisations).astype(np.int64))


def _cross_with_error(places: np.ndarray, successes: np.ndarray, trials: np.ndarray, draws: int, seed: int) -> Crossing:
    """Return the crossing of counts of shape (realisations, places)."""
    rate = successes.sum(axis=0) / trials.sum(axis=0)
    if not (rate[0] > 0.5 > rate[-1]):
        return Crossing()
    high = int(np.flatnonzero(rate > min(_WINDOW[0], rate.max() - 1e-9))[-1]) if (rate > _WINDOW[0]).any() else 0
    low = int(np.flatnonzero(rate < _WINDOW[1])[0]) if (rate < _WINDOW[1]).any() else len(rate) - 1
    window = slice(min(high, low - 1), low + 1)
    x, k, n = places[window], successes[:, window], trials[:, window]
    whole = _cross(x, k.sum(axis=0), n.sum(axis=0))
    if np.isnan(whole.width):
        return whole
    again = [_cross(x, k[rows].sum(axis=0), n[rows].sum(axis=0)) for rows in resampled(len(k), draws, seed)]
    halves, gaps = np.array([one.half for one in again]), np.array([one.high - one.low for one in again])
    # A resample that jumps may have its half anywhere in the bracket.
    error = float(np.sqrt(np.var(halves, ddof=1) + np.mean(gaps**2) / 12))
    error = error if np.ptp(halves) > 0 or gaps.any() else np.nan
    return whole._replace(error=error, low=whole.half - _NORMAL * error, high=whole.half + _NORMAL * error)


def _cross(places: np.ndarray, successes: np.ndarray, trials: np.ndarray) -> Crossing:
    """Return the crossing of pooled counts without an error: a curve, whose interval is a point, or a bracket."""
    places, successes, trials = (each[trials > 0] for each in (places, successes, trials))
    if not len(places):
        return Crossing()
    # A curve has a width where some trial fails at a place below another one at which one succeeds.
    fails, succeeds = np.flatnonzero(successes < trials), np.flatnonzero(successes > 0)
    rate = successes / trials
    between = ((rate <= _WINDOW[0]) & (rate >= _WINDOW[1])).any()
    if between and fails.size and succeeds.size and fails[0] < succeeds[-1]:
        half, width = _logistic(places, successes, trials)
        if width > 0 and places[0] <= half <= places[-1]:
            return Crossing(half, low=half, high=half, width=width)
    above, below = np.flatnonzero(rate > 0.5), np.flatnonzero(rate < 0.5)
    if not above.size or not below.size or not (rate[0] > 0.5 > rate[-1]):
        return Crossing()
    low, high = places[above[above < below[0]][-1]], places[below[below > above[-1]][0]]
    return Crossing(float(low + high) / 2, low=float(low), high=float(high))


def _logistic(places: np.ndarray, successes: np.ndarray, trials: np.ndarray) -> tuple[float, float]:
    """Return x½ and w of greatest likelihood."""
    middle, scale = float(places.mean()), max(float(np.ptp(places)), 1e-12)
    x, rate = (places - middle) / scale, successes / trials
    weight = trials / trials.sum()

    def loss(point: np.ndarray) -> float:
        slope, offset = point
        # −ln p and −ln(1 − p) of the logistic curve, without overflow.
        z = slope * x + offset
        return float(weight @ (rate * np.logaddexp(0, -z) + (1 - rate) * np.logaddexp(0, z)))

    def gradient(point: np.ndarray) -> np.ndarray:
        off = weight * (special.expit(point[0] * x + point[1]) - rate)
        return np.array([off @ x, off.sum()])

    start = np.array([-8.0, 8.0 * float(x[np.argmin(np.abs(rate - 0.5))])])
    slope, offset = optimize.minimize(loss, start, jac=gradient, method="BFGS", options={"gtol": 1e-9}).x
    return middle - scale * offset / slope, -scale / slope
