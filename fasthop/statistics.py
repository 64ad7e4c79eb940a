"""Intervals: over independent trials, and over realisations whose trials share one weight matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from fasthop import checks, fill
from fasthop_kernels.mathematics import random

__all__ = [
    "bootstrap",
    "clopper_pearson",
    "over_realisations",
    "over_rows",
    "ratio_interval",
    "ratio_rows",
    "t_interval",
    "wilson",
    "with_undecided",
    "with_undecided_rows",
]


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


def clopper_pearson(successes: Any, trials: Any, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return the Clopper–Pearson interval of a proportion, for independent trials; arguments as in `wilson`.

    It covers with at least the stated probability whatever the proportion, which is what a claim of retrieval without
    errors needs; it is wider than Wilson's.

    Notes
    -----
    Clopper, Pearson, Biometrika 26:404, 1934.
    """
    k, n = np.asarray(successes, float), np.asarray(trials, float)
    # Also for a k between two whole numbers, as `over_realisations` asks.
    tail = (1 - level) / 2
    low = special.betaincinv(np.where(k == 0, 1, k), n - k + 1, tail)
    high = special.betaincinv(k + 1, np.where(k == n, 1, n - k), 1 - tail)
    return np.where(k == 0, 0.0, low), np.where(k == n, 1.0, high)


def over_realisations(successes: Any, trials: Any = 1.0, level: float = 0.95) -> tuple[float, float]:
    """Return the t-interval of a rate over realisations, cut to [0, 1].

    Cues that share a weight matrix are not independent, so the realisation is the unit. The rate is that of pooled
    counts, Σk/Σn; its variance is that of a ratio of means (linearised), the usual one where all trials are equal in
    number. Where all rates are the same, 0, 1 or another one, their spread says nothing; the interval is then Clopper
    and Pearson's with one trial a realisation, which is conservative. One realisation with a rate between 0 and 1 gives
    (0, 1), and realisations without a trial count for nothing: NaN where there are no others.

    Parameters
    ----------
    successes : array_like, shape (R,)
        k of each realisation; rates where `trials` is left out.
    trials : array_like, shape (R,), or number
        n of each realisation.
    level : float

    Notes
    -----
    W. G. Cochran, Sampling Techniques, 3rd ed., 1977, section 6.3 (ratio estimates) and 9A (clusters).
    """
    k = np.asarray(successes, float)
    low, high = over_rows(k[None], np.broadcast_to(np.asarray(trials, float), k.shape)[None], level)
    return float(low[0]), float(high[0])


def over_rows(successes: np.ndarray, trials: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return the intervals of `over_realisations` for each row of (G, R) numbers: those of many tasks at once."""
    k, n = np.asarray(successes, float), np.asarray(trials, float)
    tried = n > 0
    count = tried.sum(axis=1)
    least, most = np.full(k.shape, np.inf), np.full(k.shape, -np.inf)
    least, most = np.divide(k, n, out=least, where=tried), np.divide(k, n, out=most, where=tried)
    least, most = least.min(axis=1, initial=np.inf), most.max(axis=1, initial=-np.inf)
    low, high = np.full(len(k), np.nan), np.full(len(k), np.nan)
    alone = (count == 1) & (least > 0) & (least < 1)
    low[alone], high[alone] = 0.0, 1.0
    same = (least == most) & ~alone
    low[same], high[same] = clopper_pearson(least[same] * count[same], count[same], level)
    differ = (count > 0) & ~alone & ~same
    lower, upper = ratio_rows(k[differ], n[differ], level)
    low[differ], high[differ] = np.maximum(lower, 0.0), np.minimum(upper, 1.0)
    return low, high


def ratio_interval(sums: Any, sizes: Any, level: float = 0.95) -> tuple[float, float]:
    """Return the t-interval of Σs/Σn over realisations; NaN where one alone has any, whose spread nobody knows.

    Its variance is that of a ratio of means, linearised. Where all s/n are the same it has no width: then nothing is
    known but that realisations do not differ much.

    Parameters
    ----------
    sums, sizes : array_like, shape (R,)
        s, of any numbers, and of how many of them, n. For rates `over_realisations` knows more.
    level : float

    Notes
    -----
    W. G. Cochran, Sampling Techniques, 3rd ed., 1977, section 6.3.
    """
    low, high = ratio_rows(np.asarray(sums, float)[None], np.asarray(sizes, float)[None], level)
    return float(low[0]), float(high[0])


def ratio_rows(sums: np.ndarray, sizes: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return the intervals of `ratio_interval` for each row of (G, R) numbers: those of many tasks at once."""
    count, several = sums.shape[1], np.count_nonzero(sizes, axis=1) > 1
    low, high = np.full(len(sums), np.nan), np.full(len(sums), np.nan)
    if several.any():
        s, n = np.asarray(sums[several], float), np.asarray(sizes[several], float)
        total = n.sum(axis=1)
        ratio = s.sum(axis=1) / total
        error = np.sqrt(count / (count - 1) * np.square(s - ratio[:, None] * n).sum(axis=1)) / total
        half = special.stdtrit(count - 1, (1 + level) / 2) * error
        low[several], high[several] = ratio - half, ratio + half
    return low, high


def t_interval(values: Any, level: float = 0.95) -> tuple[float, float]:
    """Return the t-interval of a mean over realisations; NaN where there is one alone, whose spread nobody knows.

    Where all values are the same it has no width: then nothing is known but that realisations do not differ much.

    Parameters
    ----------
    values : array_like, shape (R,)
        Any numbers; for rates `over_realisations` knows more.
    level : float
    """
    array = np.asarray(values, float)
    if array.size < 2:
        return np.nan, np.nan
    half = special.stdtrit(array.size - 1, (1 + level) / 2) * array.std(ddof=1) / np.sqrt(array.size)
    return float(array.mean() - half), float(array.mean() + half)


def with_undecided(successes: Any, undecided: Any, trials: Any, level: float = 0.95) -> tuple[float, float]:
    """Return an interval over realisations that holds however the undecided trials would have ended.

    It spans those of `over_realisations` with all of them failures and with all of them successes.

    Parameters
    ----------
    successes, undecided, trials : array_like, shape (R,)
    level : float
    """
    k, open_, n = np.broadcast_arrays(successes, undecided, trials)
    low, high = with_undecided_rows(k[None], open_[None], n[None], level)
    return float(low[0]), float(high[0])


def with_undecided_rows(
    successes: np.ndarray, undecided: np.ndarray, trials: np.ndarray, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Return the intervals of `with_undecided` for each row of (G, R) counts: those of many tasks at once."""
    k, open_, n = (np.asarray(part, float) for part in (successes, undecided, trials))
    low, high = over_rows(k, n, level)
    some = open_.any(axis=1)  # elsewhere the best is the worst
    lower, upper = over_rows((k + open_)[some], n[some], level)
    low[some], high[some] = np.minimum(low[some], lower), np.maximum(high[some], upper)
    return low, high


def bootstrap(
    successes: Any, trials: Any = 1.0, level: float = 0.95, *, draws: int = 4000, seed: int = 0
) -> tuple[float, float]:
    """Return the bootstrap interval of a rate over realisations: bias-corrected and accelerated (BCa).

    Whole realisations are drawn with replacement. It follows a skew that the t-interval ignores, and needs some twenty
    realisations. Where all rates are equal it says nothing, and `over_realisations` answers instead.

    Parameters
    ----------
    successes, trials : as in `over_realisations`
    level : float
    draws : int
        Resamples.
    seed : int
        The same seed gives the same interval.

    Notes
    -----
    B. Efron, JASA 82:171, 1987.
    """
    k = np.asarray(successes, float)
    n = np.broadcast_to(np.asarray(trials, float), k.shape)
    k, n = k[n > 0], n[n > 0]
    if k.size < 2 or np.ptp(k / n) == 0:
        return over_realisations(k, n, level)
    rate = k.sum() / n.sum()
    resampled = np.sort(_resampled(k, n, checks.whole("draws", draws, least=100), checks.seed("seed", seed)))
    left_out = (k.sum() - k) / (n.sum() - n)
    skew = left_out.mean() - left_out
    acceleration = (skew**3).sum() / (6 * np.square(skew).sum() ** 1.5)
    below = (np.count_nonzero(resampled < rate) + np.count_nonzero(resampled == rate) / 2) / draws
    bias = special.ndtri(np.clip(below, 0.5 / draws, 1 - 0.5 / draws))
    z = bias + special.ndtri([(1 - level) / 2, (1 + level) / 2])
    low, high = np.quantile(resampled, special.ndtr(bias + z / (1 - acceleration * z)))
    return float(low), float(high)


def _resampled(k: np.ndarray, n: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Rates of `draws` samples of the realisations; blocks, so that memory stays small."""
    rates = np.empty(draws)
    block = max(1, 2**22 // k.size)
    for start in range(0, draws, block):
        uniform = np.empty((1, min(block, draws - start), k.size))
        # The block takes the place of a realisation. These numbers meet no others of the tag: they draw no starts.
        fill.uniforms(seed, random.START, np.array([start]), 0, uniform)
        chosen = (uniform[0] * k.size).astype(np.int64)
        rates[start : start + block] = k[chosen].sum(axis=1) / n[chosen].sum(axis=1)
    return rates
