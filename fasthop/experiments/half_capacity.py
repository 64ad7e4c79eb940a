"""From capacity tables to one number: the load at which half of the cues are retrieved, and its limit for large N."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, special

from fasthop import checks
from fasthop.experiments.capacity import PARAMETERS
from fasthop.runtime import all_threads
from fasthop_kernels import random

#: Loads count from the last whose rate is above the first number to the first whose rate is below the second.
_WINDOW = (0.95, 0.05)

#: Exponents ν of finite-size corrections c N^{−ν} that are fitted beside a free one.
EXPONENTS = (1.0, 2 / 3, 0.5)


def half_capacity(frame: pd.DataFrame, column: str = "retrieved", *, draws: int = 400, seed: int = 0) -> pd.DataFrame:
    """Return the load P½/N at which half of the cues are retrieved, for every other combination of parameters.

    A logistic curve 1/(1 + exp((α − α½)/w)) is fitted by maximum likelihood to the loads around the drop. The error is
    that of a bootstrap over realisations, which keeps the realisations that loads share together.

    Parameters
    ----------
    frame : DataFrame
        Rows of a capacity sweep, as `read` gives them.
    column : str
        The criterion: "retrieved", "exact", "few_errors" or "close".
    draws : int
        Resamples.
    seed : int
        The same seed gives the same errors.

    Returns
    -------
    DataFrame
        The parameters but for load and patterns, and `half` (P½/N), `half_se`, `width` (w), `loads` and `realisations`;
        NaN where the rate does not cross one half.

    Raises
    ------
    ValueError
        Where the frame has no such columns.
    """
    missing = [name for name in (*PARAMETERS, "realisation", "cues", column) if name not in frame]
    if missing:
        raise ValueError(f"frame must hold rows of a capacity sweep; it has no column {missing[0]!r}.")
    draws, seed = checks.whole("draws", draws, least=2), checks.seed("seed", seed)
    by = [name for name in PARAMETERS if name not in ("load", "patterns")]
    found = []
    for key, group in frame.groupby(by, sort=False):
        successes, trials = (
            group.pivot_table(index="realisation", columns="load", values=name, aggfunc="sum", fill_value=0)
            for name in (column, "cues")
        )
        loads = successes.columns.to_numpy(float)
        half, error, width = _fit_with_error(loads, successes.to_numpy(float), trials.to_numpy(float), draws, seed)
        row = dict(zip(by, key, strict=True))
        row |= {"half": half, "half_se": error, "width": width}
        found.append(row | {"loads": len(loads), "realisations": len(successes)})
    return pd.DataFrame(found)


def _fit_with_error(
    loads: np.ndarray, successes: np.ndarray, trials: np.ndarray, draws: int, seed: int
) -> tuple[float, float, float]:
    """Return α½, its bootstrap error and w; counts of shape (realisations, loads)."""
    rate = successes.sum(axis=0) / trials.sum(axis=0)
    if not (rate[0] > 0.5 > rate[-1]):
        return np.nan, np.nan, np.nan
    high = int(np.flatnonzero(rate > min(_WINDOW[0], rate.max() - 1e-9))[-1]) if (rate > _WINDOW[0]).any() else 0
    low = int(np.flatnonzero(rate < _WINDOW[1])[0]) if (rate < _WINDOW[1]).any() else len(rate) - 1
    window = slice(min(high, low - 1), low + 1)
    half, width = _logistic(loads[window], successes[:, window].sum(axis=0), trials[:, window].sum(axis=0))
    uniform = np.empty((1, draws, len(successes)))
    with all_threads():
        # The tag's other numbers draw starts of basins; nothing here starts anything.
        random.uniforms(np.uint64(seed), random.START, np.array([0]), 0, uniform)
    chosen = (uniform[0] * len(successes)).astype(np.int64)
    again = [
        _logistic(loads[window], successes[rows][:, window].sum(axis=0), trials[rows][:, window].sum(axis=0))[0]
        for rows in chosen
    ]
    return half, float(np.std(again, ddof=1)), width


def _logistic(loads: np.ndarray, successes: np.ndarray, trials: np.ndarray) -> tuple[float, float]:
    """Return α½ and w of greatest likelihood."""
    middle, scale = float(loads.mean()), max(float(np.ptp(loads)), 1e-12)
    x, rate = (loads - middle) / scale, successes / trials
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


def finite_size(neurons: Any, half: Any, error: Any) -> pd.DataFrame:
    """Return limits of P½/N for N → ∞ under α½(N) = α∞ + c N^{−ν}, for fixed exponents ν and for a fitted one.

    How far the limits of the fits that describe the data lie apart is what is not known about them.

    Parameters
    ----------
    neurons, half, error : array_like, shape (S,)
        N, P½/N and its standard error; at least 3 sizes, 4 to fit the exponent.

    Returns
    -------
    DataFrame
        `exponent`, whether it is `fitted`, `limit` (α∞), `limit_se`, `chi2` and `dof`.

    Raises
    ------
    ValueError
        Where there are fewer sizes, or errors are not positive.
    """
    n, value, se = (
        checks.real_array(name, each, np.float64, shape=("S",))
        for name, each in (("neurons", neurons), ("half", half), ("error", error))
    )
    if not len(n) == len(value) == len(se) >= 3:
        sizes = f"{len(n)}, {len(value)}, {len(se)}"
        raise ValueError(f"neurons, half and error must have one length, at least 3; got {sizes}.")
    if (se <= 0).any() or (n <= 0).any():
        raise ValueError("neurons and error must be positive.")

    def fit(exponent: float) -> tuple[float, float, float]:
        design = np.stack([np.ones_like(n), n**-exponent], axis=1) / se[:, None]
        covariance = np.linalg.inv(design.T @ design)
        best = covariance @ design.T @ (value / se)
        return float(best[0]), float(np.sqrt(covariance[0, 0])), float(((design @ best - value / se) ** 2).sum())

    rows = [(exponent, False, *fit(exponent), len(n) - 2) for exponent in EXPONENTS]
    if len(n) >= 4:
        options = {"xatol": 1e-9}
        best = optimize.minimize_scalar(lambda nu: fit(nu)[2], bounds=(0.1, 3), method="bounded", options=options)
        exponent = float(best.x)
        limit, _, chi2 = fit(exponent)
        # All three parameters together: the exponent's own error widens the limit's.
        amplitude = (value - limit) @ n**-exponent / (n ** (-2 * exponent)).sum()
        power = n**-exponent
        jacobian = np.stack([np.ones_like(n), power, -amplitude * np.log(n) * power], axis=1) / se[:, None]
        spread = float(np.sqrt(np.linalg.pinv(jacobian.T @ jacobian)[0, 0]))
        rows.append((exponent, True, limit, spread, chi2, len(n) - 3))
    return pd.DataFrame(rows, columns=["exponent", "fitted", "limit", "limit_se", "chi2", "dof"])
