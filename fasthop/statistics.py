"""Intervals: over independent trials, and over realisations whose trials share one weight matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special


def wilson(successes: Any, trials: Any, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return the Wilson score interval of a proportion, for independent trials.

    Parameters
    ----------
    successes, trials : int array_like
        `trials` is at least 1.
    level : float

    Returns
    -------
    low, high : float64 arrays

    Notes
    -----
    Wilson, JASA 22:209, 1927. Brown, Cai, DasGupta, Statistical Science 16:101, 2001 compare it with others.
    """
    k, n = np.asarray(successes, float), np.asarray(trials, float)
    z = special.ndtri((1 + level) / 2)
    centre = (k + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * np.sqrt(k * (n - k) / n + z * z / 4)
    # Rounding would leave 1e-17 where the limits are exactly 0 and 1.
    return np.where(k == 0, 0.0, centre - half), np.where(k == n, 1.0, centre + half)


def over_realisations(rates: Any, level: float = 0.95) -> tuple[float, float]:
    """Return a t-interval for the mean of per-realisation rates, cut to [0, 1].

    Cues that share a weight matrix are not independent, so the realisation is the unit. Where all rates are 0, or all
    are 1, their spread says nothing; the interval is then Clopper and Pearson's with one trial a realisation, which is
    conservative. One realisation with another rate gives (0, 1).

    Parameters
    ----------
    rates : array_like, shape (R,)
    level : float
    """
    values = np.asarray(rates, float)
    count, mean = values.size, float(values.mean())
    tail = (1 - level) / 2
    if (values == 0).all():
        return 0.0, float(1 - tail ** (1 / count))
    if (values == 1).all():
        return float(tail ** (1 / count)), 1.0
    if count == 1:
        return 0.0, 1.0
    half = float(special.stdtrit(count - 1, 1 - tail) * values.std(ddof=1) / np.sqrt(count))
    return max(mean - half, 0.0), min(mean + half, 1.0)
