"""From capacity tables to one number: the load at which half of the cues are retrieved, and its limit for large N."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize

from fasthop import checks
from fasthop.analysis.half_point import half_of

#: Exponents ν of finite-size corrections c N^{−ν} that are fitted beside a free one.
EXPONENTS = (1.0, 2 / 3, 0.5)

#: Where a free one is sought.
_EXPONENT = (0.1, 3.0)


def half_capacity(frame: pd.DataFrame, column: str = "retrieved", *, draws: int = 400, seed: int = 0) -> pd.DataFrame:
    """Return the load P½/N at which half of the cues are retrieved, for every other combination of parameters.

    A logistic curve 1/(1 + exp((α − α½)/w)) is fitted by maximum likelihood to the loads around the drop. The error is
    that of a bootstrap over realisations, which keeps the realisations that loads share together. Where the drop is as
    wide as the load at its middle it is steeper on the left than on the right, and loads far from the middle shift the
    fit: give it loads near P½ alone. Where the rate jumps from one load to the next, these two are all that is known.

    Parameters
    ----------
    frame : DataFrame
        Rows of a capacity sweep, as `read` gives them.
    column : str
        The criterion: "retrieved", "exact", "few_errors" or "close"; or "discrete", by the discrete rule.
    draws : int
        Resamples.
    seed : int
        The same seed gives the same errors.

    Returns
    -------
    DataFrame
        The parameters but for load and patterns, and `half` (P½/N), its standard error `half_se` and 95 % interval,
        `half_low` to `half_high`, `width` (w), `loads` and `realisations`; NaN where the rate does not cross one half.
        Where it jumps, from above 0.95 to below 0.05 or so that a step is the likeliest curve, `half_low` and
        `half_high` are the loads before and after, `half` is their middle, and `half_se` and `width` are NaN. The error
        and its interval are NaN, too, where there is one realisation, all are alike, or some resample has no half.

    Raises
    ------
    ValueError
        Where the frame has no such columns.
    """
    return half_of(frame, column, "load", ("load", "patterns"), draws, seed).rename(columns={"places": "loads"})


def finite_size(neurons: Any, half: Any, error: Any) -> pd.DataFrame:
    """Return limits of P½/N for N → ∞ under α½(N) = α∞ + c N^{−ν}, for fixed exponents ν and for a fitted one.

    How far the limits of the fits that describe the data lie apart is what is not known about them.

    Parameters
    ----------
    neurons, half, error : array_like, shape (S,)
        N, P½/N and its standard error; at least 3 different sizes, 4 to fit the exponent.

    Returns
    -------
    DataFrame
        `exponent`, whether it is `fitted`, `limit` (α∞), `limit_se`, `chi2` and `dof`. The fitted exponent, its limit
        and error are NaN where the data do not bound it, between 0.1 and 3.

    Raises
    ------
    ValueError
        Where there are fewer sizes, or errors are not positive: one of 0 would count for infinitely much.
    """
    n, value, se = (
        checks.real_array(name, each, np.float64, shape=("S",))
        for name, each in (("neurons", neurons), ("half", half), ("error", error))
    )
    if not len(n) == len(value) == len(se) or len(np.unique(n)) < 3:
        sizes = f"{len(n)}, {len(value)}, {len(se)}"
        different = len(np.unique(n))
        due = "one length, and neurons at least 3 different sizes"
        raise ValueError(f"neurons, half and error must have {due}; got {sizes}, and {different} different.")
    if (se <= 0).any() or (n <= 0).any():
        raise ValueError("neurons and error must be positive.")

    def fit(exponent: float) -> tuple[float, float, float]:
        design = np.stack([np.ones_like(n), n**-exponent], axis=1) / se[:, None]
        covariance = np.linalg.inv(design.T @ design)
        best = covariance @ design.T @ (value / se)
        return float(best[0]), float(np.sqrt(covariance[0, 0])), float(((design @ best - value / se) ** 2).sum())

    rows = [(exponent, False, *fit(exponent), len(n) - 2) for exponent in EXPONENTS]
    if len(np.unique(n)) >= 4:
        options = {"xatol": 1e-9}
        best = optimize.minimize_scalar(lambda nu: fit(nu)[2], bounds=_EXPONENT, method="bounded", options=options)
        exponent = float(best.x)
        limit, _, chi2 = fit(exponent)
        # All three parameters together: the exponent's own error widens the limit's.
        amplitude = (value - limit) @ n**-exponent / (n ** (-2 * exponent)).sum()
        power = n**-exponent
        jacobian = np.stack([np.ones_like(n), power, -amplitude * np.log(n) * power], axis=1) / se[:, None]
        spread = float(np.sqrt(np.linalg.pinv(jacobian.T @ jacobian)[0, 0]))
        if min(exponent - _EXPONENT[0], _EXPONENT[1] - exponent) < 1e-4:  # it would be further out
            exponent = limit = spread = np.nan
        rows.append((exponent, True, limit, spread, chi2, len(n) - 3))
    return pd.DataFrame(rows, columns=["exponent", "fitted", "limit", "limit_se", "chi2", "dof"])
