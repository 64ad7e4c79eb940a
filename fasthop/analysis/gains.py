"""Capacity against gain: α_c(β) of Hebb's rule from simulations of several sizes, beside the mean-field curve."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from fasthop.analysis.capacity_limit import finite_size, half_capacity
from fasthop.theory.mean_field import hebb_capacity


def capacity_by_gain(
    frame: pd.DataFrame, column: str = "retrieved", *, draws: int = 400, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return P½/N of every size and gain, and its limit for large N at every gain beside α_c of the mean-field theory.

    The gain ∞ is the discrete rule from the same cues, at all loads of all gains together; it is left out where these
    do not reach its capacity at three sizes.

    Parameters
    ----------
    frame : DataFrame
        Rows of a capacity sweep over sizes (at least three) and gains, as `read` gives them.
    column : str
        The criterion, as in `half_capacity`; the discrete rule is there for the overlap, "retrieved", alone.
    draws, seed : int
        Of the bootstrap.

    Returns
    -------
    sizes : DataFrame
        `half_capacity` of the frame: a row for every size and gain.
    gains : DataFrame
        A row for every gain: `beta`; `limit`, the middle of the fits α½(N) = α∞ + c N^{−ν} for ν from 1/2 to 1;
        `limit_low` and `limit_high`, the least of these limits less 1.96 standard errors and the greatest plus as much,
        which is what is not known; `chi2_least` of the best fit and its `dof`; `theory`, `hebb_capacity(beta)`.

    Raises
    ------
    ValueError
        Where a gain has fewer than three sizes at which the rate falls through one half, with a known error: over
        several loads, of several realisations.
    """
    sizes = half_capacity(frame, column, draws=draws, seed=seed)
    if column == "retrieved":
        sharp = half_capacity(frame.assign(beta=np.inf), "discrete", draws=draws, seed=seed)
        if (sharp["half_se"] > 0).sum() >= 3:
            sizes = pd.concat([sizes, sharp], ignore_index=True)
    rows = []
    for beta in np.unique(sizes["beta"]).tolist():
        group = sizes[sizes["beta"] == beta]
        group = group[np.isfinite(group["half"]) & (group["half_se"] > 0)].sort_values("neurons")
        if group["neurons"].nunique() < 3 or group["neurons"].duplicated().any():
            got = ", ".join(map(str, group["neurons"])) or "none"
            due = "at least three sizes, each in one way, whose rate falls through one half over several loads"
            raise ValueError(f"frame must have {due} at beta = {beta:g}; got N = {got}.")
        fits = finite_size(group["neurons"], group["half"], group["half_se"])
        fixed = fits[~fits["fitted"]]
        low = (fixed["limit"] - 1.96 * fixed["limit_se"]).min()
        high = (fixed["limit"] + 1.96 * fixed["limit_se"]).max()
        rows.append(
            {
                "beta": beta,
                "limit": fixed["limit"].median(),
                "limit_low": low,
                "limit_high": high,
                "chi2_least": fixed["chi2"].min(),
                "dof": int(fixed["dof"].iloc[0]),
                "theory": hebb_capacity(beta),
            }
        )
    return sizes, pd.DataFrame(rows)


def plot_capacity_by_gain(sizes: pd.DataFrame, gains: pd.DataFrame, path: str | Path) -> None:
    """Draw P½/N of every size over the gain, its limit with what is not known about it, and the mean-field curve.

    Parameters
    ----------
    sizes, gains : DataFrame
        Of `capacity_by_gain`.
    path : path
        A PNG file.
    """
    from fasthop.plots.figures import COLOURS, MARKERS, grid, picture

    finite = gains["beta"][np.isfinite(gains["beta"])]
    span = np.geomspace(min(1.3, finite.min()), finite.max() * 1.3, 50)
    end = finite.max() * 2  # where ∞ stands

    def place(betas: pd.Series) -> pd.Series:
        return betas.where(np.isfinite(betas), end)

    theory = [hebb_capacity(beta) for beta in span.tolist()]
    with picture(Path(path), 6.4, 4.4) as figure:
        axes = figure.add_subplot()
        axes.plot(span, theory, color="black", linewidth=1.4, label="mean field (Shiino, Fukai 1992)")
        sharp = "β = ∞ (Amit, Gutfreund, Sompolinsky 1985)"
        axes.axhline(hebb_capacity(np.inf), color="0.45", linewidth=0.9, linestyle="--", label=sharp)
        for index, (neurons, group) in enumerate(sizes.groupby("neurons")):
            group = group.sort_values("beta")
            axes.errorbar(
                place(group["beta"]),
                group["half"],
                yerr=[group["half"] - group["half_low"], group["half_high"] - group["half"]],
                color=COLOURS[index],
                marker=MARKERS[index],
                markersize=4,
                linewidth=0.8,
                alpha=0.8,
                capsize=2,
                label=f"P½/N, N = {neurons}",
            )
        reach = [gains["limit"] - gains["limit_low"], gains["limit_high"] - gains["limit"]]
        axes.errorbar(
            place(gains["beta"]),
            gains["limit"],
            yerr=reach,
            color="black",
            marker="D",
            markersize=5,
            linestyle="none",
            markerfacecolor="white",
            capsize=4,
            label="extrapolated, exponents ½ … 1",
        )
        names = [f"{beta:g}" if np.isfinite(beta) else "discrete" for beta in gains["beta"].tolist()]
        axes.set(xscale="log", xlabel="gain β of tanh(βy)", ylabel="capacity α = P/N", ylim=(0, None))
        axes.set_xticks(place(gains["beta"]), names)
        axes.minorticks_off()
        axes.set_title("Hebb's rule without diagonal, clean cues; bars: 95 %", fontsize="medium")
        axes.legend(frameon=False, fontsize="small", loc="lower right")
        grid(axes)
