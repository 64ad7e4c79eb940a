"""Pictures of what basins are like: the classes of ends, and the radii of rays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fasthop.plots.figures import COLOURS, colour_of, describe, grouped, picture, whiskers


def classes(summary: pd.DataFrame, path: Path, *, by: Sequence[str]) -> None:
    """Draw the shares of the classes of ends with their intervals, and how many distinct ends each has."""
    groups = grouped(summary, by)
    kinds = list(dict.fromkeys(summary["kind"]))
    with picture(path, 7.0, 1.5 + 0.26 * len(summary) + 0.15 * len(kinds)) as figure:
        axes = figure.add_subplot()
        ticks, words, at = [], [], 0.0
        for kind in kinds:
            for index, (_, group) in enumerate(groups):
                for row in group[group["kind"] == kind].to_dict("records"):
                    spread = whiskers(row, "share")
                    axes.barh(
                        at, row["share"], xerr=spread, color=colour_of(index), error_kw={"linewidth": 1, "capsize": 2}
                    )
                    axes.text(1.02, at, f"{row['distinct']:.4g} ({row['stable']:.4g})", va="center", fontsize="small")
                    ticks.append(at)
                    words.append(kind.replace("_", " "))
                    at += 1
            at += 0.6
        for index, (text, _) in enumerate(groups):
            if text:
                axes.barh([at], [0], color=colour_of(index), label=text)
        axes.set_yticks(ticks, words, fontsize="small")
        axes.set_ylim(at - 0.4, -1)
        axes.set(xlabel="share of starts", xlim=(0, 1))
        axes.set_title(
            "ends; right: distinct ones (stable) per realisation\nwhiskers: 95 % intervals over realisations",
            fontsize="medium",
        )
        if any(text for text, _ in groups):
            figure.legend(frameon=False, fontsize="small", loc="outside lower center", ncols=2)


def radii(summary: pd.DataFrame, path: Path, *, by: Sequence[str]) -> None:
    """Draw quantiles of the radii over √N: medians with their intervals, the middle half, and 10 … 90 %."""
    bound = float(summary["bound"].max())
    with picture(path, 7.0, 1.6 + 0.34 * len(summary)) as figure:
        axes = figure.add_subplot()
        ticks, words = [], []
        for at, row in enumerate(summary.to_dict("records")):
            colour = COLOURS[("random", "memory", "saddle").index(row["direction"])]
            for low, high, width in (("q10", "q90", 1.5), ("q25", "q75", 5.0)):
                ends = np.minimum([row[low], row[high]], bound)
                axes.plot(ends, [at, at], color=colour, linewidth=width, alpha=0.5, solid_capstyle="butt")
            if np.isfinite(row["q50"]):
                spread = [[row["q50"] - row["q50_low"]], [min(row["q50_high"], bound) - row["q50"]]]
                axes.errorbar(
                    row["q50"], at, xerr=np.clip(spread, 0, None), fmt="o", color=colour, capsize=3, markersize=5
                )
            share = f"{row['censored']:.1%}" if row["count"] else "none found"
            axes.text(1.02, at, share, va="center", fontsize="small", transform=axes.get_yaxis_transform())
            ticks.append(at)
            told = describe({name: row[name] for name in by})
            words.append(f"{row['direction']}{', ' + told if told else ''}")
        axes.axvline(bound, color="0.35", linewidth=1, linestyle="--")
        axes.set_yticks(ticks, words, fontsize="small")
        axes.set_ylim(len(summary) - 0.5, -0.5)
        axes.set(xlabel="radius / √N (dashed: the bound)", xlim=(0, None))
        axes.set_title(
            "radii of basins; right: share that never leaves within the bound\n"
            "points: medians, 95 % intervals over realisations\nbars: 25 … 75 % and 10 … 90 % of rays",
            fontsize="medium",
        )
