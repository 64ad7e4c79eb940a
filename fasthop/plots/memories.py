"""Pictures of how many memories random networks have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fasthop.plots.figures import band, colour_of, grid, grouped, is_wide, marker_of, picture

_LABELS = {
    "radius": "spectral radius ρ(W)",
    "edges": "probability of an edge",
    "neurons": "neurons N",
    "starts": "random starts for each network",
}


def numbers(summary: pd.DataFrame, path: Path, *, x: str, by: Sequence[str]) -> None:
    """Draw the mean number of memories over column `x`, by enumeration and as found, and who has none or several.

    One colour for each combination of the columns `by`; bands are 95 % intervals over networks.
    """
    with picture(path, 6.4, 6.4) as figure:
        above, below = figure.subplots(2, sharex=True, height_ratios=(3, 2))
        for index, (label, group) in enumerate(grouped(summary, by)):
            group = group.sort_values(x)
            colour, marker = colour_of(index), marker_of(index)
            above.fill_between(
                group[x], group["stable_low"], group["stable_high"], color=colour, alpha=0.2, linewidth=0
            )
            above.plot(group[x], group["stable"], color=colour, linewidth=1.3, label=label)
            above.plot(group[x], group["found"], marker, color=colour, markersize=5, markerfacecolor="none")
            for name, dashes in (("none", ":"), ("several", "-")):
                band(below, group, x, name, colour, alpha=0.15)
                below.plot(group[x], group[name], dashes, color=colour, linewidth=1.3)
        above.plot([], [], color="0.35", linewidth=1.3, label="by enumeration")
        above.plot([], [], "o", color="0.35", markersize=5, markerfacecolor="none", label="found from random starts")
        for name, dashes in (("none", ":"), ("several", "-")):
            below.plot([], [], dashes, color="0.35", linewidth=1.3, label=name)
        if is_wide(summary["stable"]):
            above.set_yscale("log")
        if is_wide(summary[x]):
            above.set_xscale("log")
        above.set(ylabel="stable states, mean over networks")
        above.set_title("memories of random ReLU networks\nbands: 95 % intervals over networks", fontsize="medium")
        below.set(xlabel=_LABELS[x], ylabel="share of networks", ylim=(-0.03, 1.03))
        for axes in (above, below):
            axes.legend(frameon=False, fontsize="small")
            grid(axes)


def savings(summary: pd.DataFrame, path: Path, *, x: str, by: Sequence[str]) -> None:
    """Draw the share of the steps that early stops save over column `x`: proven, by energy alone, and unproven."""
    with picture(path, 6.4, 4.6) as figure:
        axes = figure.add_subplot()
        kinds = {"saved": ("-", "certain: E2 along a line"), "saved_by_energy": ("--", "certain: E2 alone")}
        kinds["saved_loose"] = (":", f"residual {summary['loose'].iloc[0]:g}, unproven")
        for index, (label, group) in enumerate(grouped(summary, by)):
            group = group.sort_values(x)
            colour, marker = colour_of(index), marker_of(index)
            for name, (dashes, _) in kinds.items():
                band(axes, group, x, name, colour, alpha=0.15)
                axes.plot(group[x], group[name], dashes, color=colour, marker=marker, markersize=4, linewidth=1.3)
            if label:
                axes.plot([], [], marker, color=colour, markersize=4, label=label)
        for dashes, word in kinds.values():
            axes.plot([], [], dashes, color="0.35", linewidth=1.3, label=word)
        axes.set(xlabel=_LABELS[x], ylabel="share of the steps that is saved", ylim=(-0.03, 1.03))
        axes.set_title(
            "early stops, networks with several memories\nbands: 95 % intervals over networks", fontsize="medium"
        )
        axes.legend(frameon=False, fontsize="small")
        grid(axes)
