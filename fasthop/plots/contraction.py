"""The picture of both iterations over the spectral radius."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from fasthop.plots.figures import COLOURS, grid, picture


def iterations(table: pd.DataFrame, path: Path) -> None:
    """Draw the iterations forward and backward over ρ(J), from `contraction`, and what ρ alone predicts."""
    table = table.sort_values("rho")
    with picture(path, 6.4, 4.2) as figure:
        axes = figure.add_subplot()
        gap = 1 - table["rho"]
        for column, marker, colour in (("forward", "o", COLOURS[0]), ("backward", "s", COLOURS[1])):
            axes.plot(gap, table[f"{column}_iterations"], marker, markersize=5, color=colour, label=column)
        axes.plot(gap, table["predicted"], color="black", linewidth=1, label="ln 10⁻¹⁰ / ln ρ")
        axes.set(xscale="log", yscale="log", xlabel="1 − ρ(J)", ylabel="iterations to 10⁻¹⁰")
        axes.legend(frameon=False)
        grid(axes)
