"""Pictures of random weights: how dead neurons shrink the spectrum, and the law of its edge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fasthop.plots.figures import colour_of, grid, marker_of, picture
from fasthop.random_matrices.goe import Extremes, edge_scaling, expected_norm
from fasthop.theory.tracy_widom import larger_pdf, tw1_pdf

#: Of both pictures, in inches.
_SIZE = (6.4, 6.0)


def ratio(table: pd.DataFrame, path: Path) -> None:
    """Draw E‖W⊥‖/E‖W‖ over k/N with two standard errors, √(1 − k/N) and the corrected prediction, from `goe_table`.

    Below, all are divided by √(1 − k/N), so that what that misses can be seen.
    """
    with picture(path, *_SIZE) as figure:
        above, below = figure.subplots(2, sharex=True, height_ratios=(3, 2))
        x = np.linspace(0, 1, 401)
        for axes, leading in ((above, np.sqrt(1 - x)), (below, np.ones_like(x))):
            axes.plot(x, leading, color="black", linewidth=1, linestyle=":", label="√(1 − k/N)")
        for index, n in enumerate(np.unique(table["n"].to_numpy())):
            group = table[table["n"] == n]
            colour, marker = colour_of(index), marker_of(index)
            # Where fewer than three rows are left the asymptotic formula has no meaning.
            left = np.unique(np.clip(np.round((1 - x) * n), min(3, n), n))
            predicted, leading = expected_norm(left) / expected_norm(n), np.sqrt(left / n)
            dead, sampled, error, unit = (
                group[name].to_numpy() for name in ("dead_fraction", "ratio", "ratio_se", "ratio_leading")
            )
            for axes, curve, by in ((above, predicted, np.ones_like(unit)), (below, predicted / leading, unit)):
                axes.plot(1 - left / n, curve, color=colour, linewidth=1.2)
                axes.errorbar(
                    dead, sampled / by, 2 * error / by, fmt=marker, markersize=4.5, capsize=2.5, color=colour, zorder=3
                )
            above.plot([], [], marker=marker, markersize=4.5, linewidth=1.2, color=colour, label=f"N = {n:g}")
        seen = np.append((table["ratio"] / table["ratio_leading"]).to_numpy(), 1.0)
        room = 0.08 * (seen.max() - seen.min()) + 1e-3
        below.set(ylim=(seen.min() - room, seen.max() + room), xlabel="dead share k/N", xlim=(-0.02, 1.02))
        below.set_ylabel("ratio / √(1 − k/N)")
        above.set(ylabel="E‖W⊥‖ / E‖W‖", ylim=(0, 1.03))
        above.set_title(
            "GOE weights without k directions\n"
            "marks: sampled, ± 2 standard errors; lines: μ′ + m₂σ′ of N − k rows over N",
            fontsize="medium",
        )
        above.legend(frameon=False, fontsize="small")
        for axes in (above, below):
            grid(axes)


def density(samples: Sequence[Extremes], path: Path) -> None:
    """Draw the density of scaled λ_max and ‖W‖ against TW1 and the law of the larger of two, from `goe_extremes`."""
    with picture(path, *_SIZE) as figure:
        panels = figure.subplots(2, sharex=True)
        s = np.linspace(-6, 5, 441)
        laws = (("lambda_max", "λ_max", tw1_pdf, "TW1"), ("norm", "‖W‖", larger_pdf, "larger of two TW1"))
        for axes, (name, symbol, law_pdf, law) in zip(panels, laws, strict=True):
            for index, sample in enumerate(samples):
                centre, width = edge_scaling(sample.n - sample.dead)
                scaled = (getattr(sample, name) - centre) / width
                edges = np.linspace(-6, 5, max(12, min(111, round(2 * scaled.size ** (1 / 3)))))
                share = np.histogram(scaled, edges)[0] / (scaled.size * np.diff(edges))
                label = f"N = {sample.n - sample.dead:g}, {scaled.size:g} draws"
                axes.stairs(share, edges, color=colour_of(index), linewidth=1.2, label=label)
            axes.plot(s, law_pdf(s), color="black", linewidth=1, linestyle="--", label=law)
            axes.set(ylabel=f"density of ({symbol} − μ′)/σ′", ylim=(0, None))
            axes.legend(frameon=False, fontsize="small")
            grid(axes)
        panels[0].set_title("Edge of the spectrum of GOE weights", fontsize="medium")
        panels[1].set(xlabel="s, in widths σ′ from the edge μ′", xlim=(-6, 5))
