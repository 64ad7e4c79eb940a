"""Pictures of summary tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

#: A palette that people with colour-blindness tell apart: Okabe and Ito 2008.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

#: Of marks; dots are for what stands beside a line.
_DASHES: tuple[Any, ...] = ("--", "-.", (0, (6, 2, 1, 2, 1, 2)))

#: Entries of a legend at most.
_NAMED = 12

#: From which ratio of the largest to the smallest on an axis is logarithmic.
WIDE = 20

_SHORT = {"neurons": "N", "beta": "β", "flip": "flips", "rule": "", "pattern_kind": "", "activation": "", "method": ""}


def lines(
    summary: pd.DataFrame,
    path: Path,
    *,
    x: str,
    y: str,
    by: Sequence[str],
    x_label: str,
    y_label: str,
    title: str,
    marks: Mapping[str, float] = {},
    below: tuple[str, str] | None = None,
    beside: tuple[str, str] | None = None,
) -> None:
    """Draw column `y` over column `x`, one line for each combination of the columns `by`, with its interval as a band.

    `marks` are places on the x axis that theory names, each a dashed line; `below` is a column and the label of an axis
    for a second panel; `beside` is a column and what it is, a thin dotted line for each line of the first panel. The
    legend names as many lines and marks as there is room for. Where `y` is 0 or 1 in every realisation there is no
    spread to draw; the table has the conservative bound. A positive `x` that spans more than WIDE stands on a
    logarithmic axis.
    """
    figure = Figure(figsize=(7.6, 4.2 if below is None else 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1 if below is None else 2, sharex=True, squeeze=False)[:, 0]
    groups = grouped(summary, by)
    shown = [y] if below is None else [y, below[0]]
    for axes, name in zip(panels, shown, strict=True):
        for index, (label, group) in enumerate(groups):
            _line(axes, group.sort_values(x), x, name, label, index, len(groups))
        axes.grid(alpha=0.25, linewidth=0.6)
    top = panels[0]
    if beside is not None:
        for index, (_, group) in enumerate(groups):
            ordered = group.sort_values(x)
            top.plot(ordered[x], ordered[beside[0]], ":", linewidth=1, color=COLOURS[index % len(COLOURS)])
    for index, (label, place) in enumerate(marks.items()):
        top.axvline(place, color="0.35", linewidth=1, linestyle=_DASHES[index % len(_DASHES)], label=label)
    top.set(ylabel=y_label, ylim=(-0.03, 1.03))
    if below is not None:
        panels[1].set(ylabel=below[1], ylim=(0, None))
    panels[-1].set_xlabel(x_label)
    if summary[x].min() > 0 and summary[x].max() > WIDE * summary[x].min():
        panels[-1].set_xscale("log")
        panels[-1].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panels[-1].xaxis.set_major_formatter("{x:g}")
        panels[-1].xaxis.set_minor_formatter(NullFormatter())
    dotted = "" if beside is None else f"; dotted: {beside[1]}"
    top.set_title(f"{title}\nbands: 95 % intervals over realisations{dotted}", fontsize="medium")
    if marks or any(label for label, _ in groups):
        handles, labels = top.get_legend_handles_labels()
        hidden = len(labels) - _NAMED
        figure.legend(
            handles[:_NAMED],
            labels[:_NAMED],
            frameon=False,
            fontsize="small",
            title=f"… and {hidden} more" if hidden > 0 else None,
            title_fontsize="small",
            loc="outside right upper",
        )
    save(figure, path)


def _line(axes: Any, group: pd.DataFrame, x: str, y: str, label: str, index: int, count: int) -> None:
    colour = COLOURS[index % len(COLOURS)]
    marker = MARKERS[index // len(COLOURS) % len(MARKERS)] if count > len(COLOURS) else MARKERS[index]
    low, high = group[f"{y}_low"], group[f"{y}_high"]
    spread = (group[y] > 0) & (group[y] != 1)
    low, high = (end.where(spread, group[y]) for end in (low, high))
    axes.fill_between(group[x], low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(group[x], group[y], marker=marker, markersize=4, linewidth=1.3, color=colour, label=label)


def bars(summary: pd.DataFrame, path: Path, *, by: Sequence[str], title: str, most: int = 12) -> None:
    """Draw the share of each attractor with its interval, the `most` largest for each combination of `by`."""
    groups = grouped(summary, by)
    shown = [(label, group.head(most), len(group) - most) for label, group in groups]
    figure, axes = figure_of(6.4, 1.3 + 0.32 * sum(len(group) + 1 for _, group, _ in shown))
    at, ticks, names = 0.0, [], []
    for index, (label, group, hidden) in enumerate(shown):
        places = at + np.arange(len(group))
        spread = np.clip([group["share"] - group["share_low"], group["share_high"] - group["share"]], 0, None)
        axes.barh(
            places,
            group["share"],
            xerr=spread,
            color=COLOURS[index % len(COLOURS)],
            alpha=0.75,
            label=label,
            error_kw={"linewidth": 1, "capsize": 2},
        )
        ticks += places.tolist()
        names += [_state(row) for row in group.to_dict("records")]
        if hidden > 0:
            ticks.append(places[-1] + 1)
            names.append(f"… {hidden} more")
        at = places[-1] + 2 + (hidden > 0)
    axes.set_yticks(ticks, names, fontsize="small")
    axes.invert_yaxis()
    axes.set(
        xlabel="share of starts",
        xlim=(0, 1),
    )
    axes.set_title(f"{title}; 95 % Wilson intervals", fontsize="medium")
    if any(label for label, _ in groups):
        axes.legend(frameon=False, fontsize="small")
    save(figure, path)


def _state(row: Mapping[Any, Any]) -> str:
    if row["kind"] != "settled":
        return str(row["kind"]).replace("_", " ")
    state = list(row["state"])
    head = ", ".join(f"{value:.3g}" for value in state[:4])
    return f"({head}{', …' if len(state) > 4 else ''})"


def grouped(summary: pd.DataFrame, by: Sequence[str]) -> list[tuple[str, pd.DataFrame]]:
    """Return the rows of every combination of the columns `by`, with what it is in words."""
    if not by:
        return [("", summary)]
    groups = []
    for key, group in summary.groupby(list(by), sort=False):
        groups.append((describe(dict(zip(by, key, strict=True))), group))
    return groups


def describe(values: Mapping[str, Any]) -> str:
    """Say in a few words what parameters have which values."""
    return ", ".join(_word(name, value) for name, value in values.items())


def _word(name: str, value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return f"{'with' if value else 'no'} {name.replace('_', '-')}"
    label = _SHORT.get(name, name.replace("_", " "))
    text = f"{value:g}" if isinstance(value, (int, float, np.number)) else str(value)
    return f"{label} = {text}" if label else text


def figure_of(width: float, height: float) -> tuple[Figure, Any]:
    """Return a figure of this size in inches, and its axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, the same bytes each time."""
    with matplotlib.rc_context({"svg.hashsalt": "fasthop"}):
        figure.savefig(path, format="png", dpi=150, metadata={"Software": None})
