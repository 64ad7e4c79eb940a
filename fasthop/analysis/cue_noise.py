"""From capacity tables over noise to the size of basins in words of cues: how noisy a cue may be."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fasthop import checks
from fasthop.analysis.half_point import curves, half_of, resampled
from fasthop.experiments import stored
from fasthop.experiments.capacity import PARAMETERS

_RENAMED = {f"half{end}": f"critical{end}" for end in ("", "_se", "_low", "_high")}


def critical_noise(
    frame: pd.DataFrame, noise: str = "flip", column: str = "retrieved", *, draws: int = 400, seed: int = 0
) -> pd.DataFrame:
    """Return the noise at which half of the cues are retrieved, p_c, for every other combination of parameters.

    The fit, its error, and what is said of a rate that jumps are those of `half_capacity`, with the noise in the place
    of the load.

    Parameters
    ----------
    frame : DataFrame
        Rows of a capacity sweep over the noise, as `read` gives them.
    noise : str
        "flip", the flipped share of a cue, or "flips", "sigma", "hidden", "hidden_last".
    column : str
        The criterion: "retrieved", "exact", "few_errors" or "close"; or "discrete", by the discrete rule.
    draws : int
        Resamples.
    seed : int
        The same seed gives the same errors.

    Returns
    -------
    DataFrame
        The parameters but for the noise, and `critical` (p_c), `critical_se`, `critical_low`, `critical_high`, `width`,
        `places` and `realisations`; NaN where the rate does not cross one half.

    Raises
    ------
    ValueError
        Where the frame has no such columns.
    """
    axis = checks.one_of("noise", noise, stored.NOISES)
    return half_of(frame, column, axis, (axis,), draws, seed).rename(columns=_RENAMED)


def critical_overlap(
    frame: pd.DataFrame, noise: str = "flip", column: str = "retrieved", *, draws: int = 400, seed: int = 0
) -> pd.DataFrame:
    """Return the overlap of a cue with its pattern at which half are retrieved, m₀* = 1 − 2 p_c.

    Parameters
    ----------
    frame, column, draws, seed
        As in `critical_noise`.
    noise : {"flip", "flips"}
        A cue of k flips has the overlap 1 − 2 k/N.

    Returns
    -------
    DataFrame
        As of `critical_noise`, with the overlap as `critical`, its error and interval, and the width in overlaps.
    """
    axis = checks.one_of("noise", noise, ("flip", "flips"))
    found = critical_noise(frame, axis, column, draws=draws, seed=seed)
    scale = 2.0 if axis == "flip" else 2.0 / found["neurons"]
    ends = {"critical": "critical", "critical_low": "critical_high", "critical_high": "critical_low"}
    found = found.assign(**{name: 1.0 - scale * found[other] for name, other in ends.items()})
    found["critical_se"] *= scale
    found["width"] *= scale
    return found


def hamming_radius(
    frame: pd.DataFrame, share: float = 0.9, column: str = "retrieved", *, draws: int = 400, seed: int = 0
) -> pd.DataFrame:
    """Return the first Hamming distance from which fewer than `share` of the cues come back.

    Parameters
    ----------
    frame : DataFrame
        Rows of a capacity sweep over `cues.flips`.
    share : float
        0 … 1.
    column, draws, seed
        As in `critical_noise`.

    Returns
    -------
    DataFrame
        The parameters but for the flips; `radius`, of the distances in the table, infinite where at none of them fewer
        come back; `radius_low` and `radius_high`, 95 % of a bootstrap over realisations, NaN where there is one alone;
        `relative`, radius/N; `places` and `realisations`. No interval is finer than the distances of the table.

    Raises
    ------
    ValueError
        Where the frame has no such columns.

    References
    ----------
    Storkey, Valabregue, The basins of attraction of a new Hopfield learning rule, Neural Networks 12:869, 1999.
    """
    least = checks.real("share", share, above=0, most=1)
    draws, seed = checks.whole("draws", draws, least=2), checks.seed("seed", seed)

    def first(successes: np.ndarray, trials: np.ndarray) -> np.ndarray:
        fails = successes < least * trials
        return np.where(fails.any(axis=-1), places[fails.argmax(axis=-1)], np.inf)

    found = []
    for values, places, successes, trials in curves(frame, column, "flips", ("flips",)):
        chosen = resampled(len(successes), draws, seed)
        again = np.sort(first(successes[chosen].sum(axis=1), trials[chosen].sum(axis=1)))
        # Order statistics, because infinities are among them.
        low, high = again[[int(0.025 * draws), int(np.ceil(0.975 * draws)) - 1]]
        low, high = (low, high) if len(successes) > 1 else (np.nan, np.nan)
        radius = float(first(successes.sum(axis=0), trials.sum(axis=0)))
        row = values | {"radius": radius, "radius_low": low, "radius_high": high}
        row |= {"relative": radius / values["neurons"], "places": len(places), "realisations": len(successes)}
        found.append(row)
    return pd.DataFrame(found)


def attraction_radius(
    frame: pd.DataFrame, noise: str = "flip", column: str = "retrieved", *, draws: int = 400, seed: int = 0
) -> pd.DataFrame:
    """Return Kanter and Sompolinsky's radius of attraction R = ⟨(1 − m₀)/(1 − m₁)⟩, 1 where basins meet half way.

    m₀ is the smallest overlap of a cue with its pattern at which it is still retrieved: here the critical one, at which
    half are, of all patterns together. m₁ is the largest overlap of the pattern with another one,
    max_{ν≠μ} (1/N) ξ^μ·ξ^ν, and the mean is over the patterns of all realisations, which are drawn again from the seed.

    Parameters
    ----------
    frame, noise, column, draws, seed
        As in `critical_overlap`; the frame has the column `seed`.

    Returns
    -------
    DataFrame
        The parameters but for the noise, `radius` (R), `radius_se`, `critical` (m₀*), `largest_overlap` (mean m₁) and
        `realisations`; NaN where the rate does not cross one half, or there is one pattern alone, and the error also
        where that of the critical overlap is.

    Raises
    ------
    ValueError
        Where the frame has no such columns, or several seeds.

    References
    ----------
    Kanter, Sompolinsky, Associative recall of memory without errors, Physical Review A 35:380, 1987.
    """
    overlap = critical_overlap(frame, noise, column, draws=draws, seed=seed)
    if "seed" not in frame or frame["seed"].nunique() != 1:
        raise ValueError("frame must have a column 'seed' with one value, of which the patterns are drawn again.")
    by = [name for name in PARAMETERS if name != noise]
    found = []
    for (_, group), row in zip(frame.groupby(by, sort=False), overlap.to_dict("records"), strict=True):
        largest = _largest_overlaps(group)
        inverse = (1.0 / (1.0 - largest)).mean(axis=1)
        kept, factor = 1.0 - row["critical"], inverse.mean()
        spread = inverse.std(ddof=1) / np.sqrt(len(inverse)) if len(inverse) > 1 else np.nan
        values = {name: row[name] for name in by}
        values |= {"radius": kept * factor, "radius_se": np.hypot(row["critical_se"] * factor, kept * spread)}
        values |= {"critical": row["critical"], "largest_overlap": largest.mean()}
        found.append(values | {"realisations": row["realisations"]})
    return pd.DataFrame(found)


def _largest_overlaps(group: pd.DataFrame) -> np.ndarray:
    """Return m₁ of every pattern of the realisations of a task, shape (R, P)."""
    task = {str(name): value for name, value in group.iloc[0].items()}
    realisations = np.unique(group["realisation"]).tolist()
    xi = stored.draw_patterns(task, realisations, int(task["seed"]))
    count, patterns, neurons = xi.shape
    if patterns == 1:
        return np.full((count, 1), np.nan)
    out = np.empty((count, patterns))
    for r, own in enumerate(xi):
        overlaps = own @ own.T / neurons  # sums of whole numbers: exact
        np.fill_diagonal(overlaps, -np.inf)
        out[r] = overlaps.max(axis=1)
    return out
