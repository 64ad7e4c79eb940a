"""Pictures of what a memory has learned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fasthop.plot import COLOURS, save


def rates(summary: pd.DataFrame, path: Path, names: Mapping[str, str], label: str) -> None:
    """Draw rates with their intervals as bars, one group per task; `names` maps columns to words."""
    figure = Figure(figsize=(6.4, 1.4 + 0.35 * len(names) * len(summary)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    ticks, words = [], []
    for task, row in enumerate(summary.to_dict("records")):
        for index, (column, word) in enumerate(names.items()):
            at = task * (len(names) + 1) + index
            low, high = row[f"{column}_low"], row[f"{column}_high"]
            spread = np.clip([[row[column] - low], [high - row[column]]], 0, None)
            axes.barh(at, row[column], xerr=spread, color=COLOURS[index % len(COLOURS)], error_kw={"capsize": 2})
            ticks.append(at)
            words.append(f"{word}, {row['split']} split" if len(summary) > 1 else word)
    axes.set_yticks(ticks, words, fontsize="small")
    axes.invert_yaxis()
    axes.set(xlabel=label)
    axes.set_title("bars: means; whiskers: 95 % intervals over realisations", fontsize="medium")
    save(figure, path)


def iterations(table: pd.DataFrame, path: Path) -> None:
    """Draw the iterations forward and backward over ρ(J), from `contraction`, and what ρ alone predicts."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    table = table.sort_values("rho")
    gap = 1 - table["rho"]
    for column, marker, colour in (("forward", "o", COLOURS[0]), ("backward", "s", COLOURS[1])):
        axes.plot(gap, table[f"{column}_iterations"], marker, markersize=5, color=colour, label=column)
    axes.plot(gap, table["predicted"], color="black", linewidth=1, label="ln 10⁻¹⁰ / ln ρ")
    axes.set(xscale="log", yscale="log", xlabel="1 − ρ(J)", ylabel="iterations to 10⁻¹⁰")
    axes.legend(frameon=False)
    axes.grid(alpha=0.25, linewidth=0.6)
    save(figure, path)
