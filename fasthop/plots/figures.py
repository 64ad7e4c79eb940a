"""Pictures of summary tables."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
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

#: Beyond which ratio of the largest number to the smallest an axis is logarithmic.
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
    with picture(path, 7.6, 4.2 if below is None else 6.4) as figure:
        panels = figure.subplots(1 if below is None else 2, sharex=True, squeeze=False)[:, 0]
        groups = grouped(summary, by)
        shown = [y] if below is None else [y, below[0]]
        for axes, name in zip(panels, shown, strict=True):
            for index, (label, group) in enumerate(groups):
                _line(axes, group.sort_values(x), x, name, label, index, len(groups))
            grid(axes)
        top = panels[0]
        if beside is not None:
            for index, (_, group) in enumerate(groups):
                ordered = group.sort_values(x)
                top.plot(ordered[x], ordered[beside[0]], ":", linewidth=1, color=colour_of(index))
        for index, (label, place) in enumerate(marks.items()):
            top.axvline(place, color="0.35", linewidth=1, linestyle=_DASHES[index % len(_DASHES)], label=label)
        top.set(ylabel=y_label, ylim=(-0.03, 1.03))
        if below is not None:
            panels[1].set(ylabel=below[1], ylim=(0, None))
        panels[-1].set_xlabel(x_label)
        if is_wide(summary[x]):
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


def _line(axes: Any, group: pd.DataFrame, x: str, y: str, label: str, index: int, count: int) -> None:
    colour = colour_of(index)
    marker = MARKERS[index // len(COLOURS) % len(MARKERS)] if count > len(COLOURS) else MARKERS[index]
    band(axes, group, x, y, colour, alpha=0.2)
    axes.plot(group[x], group[y], marker=marker, markersize=4, linewidth=1.3, color=colour, label=label)


def bars(summary: pd.DataFrame, path: Path, *, by: Sequence[str], title: str, most: int = 12) -> None:
    """Draw the share of each attractor with its interval, the `most` largest for each combination of `by`."""
    groups = grouped(summary, by)
    shown = [(label, group.head(most), len(group) - most) for label, group in groups]
    with picture(path, 6.4, 1.3 + 0.32 * sum(len(group) + 1 for _, group, _ in shown)) as figure:
        axes = figure.add_subplot()
        at, ticks, names = 0.0, [], []
        for index, (label, group, hidden) in enumerate(shown):
            places = at + np.arange(len(group))
            axes.barh(
                places,
                group["share"],
                xerr=whiskers(group, "share"),
                color=colour_of(index),
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


def colour_of(index: int) -> str:
    """Return the colour of the group of this number; after the last the first comes again."""
    return COLOURS[index % len(COLOURS)]


def marker_of(index: int) -> str:
    """Return the marker of the group of this number."""
    return MARKERS[index % len(MARKERS)]


def is_wide(values: pd.Series) -> bool:
    """Say whether numbers want a logarithmic axis."""
    return bool(values.min() > 0 and values.max() > WIDE * values.min())


def band(axes: Any, group: pd.DataFrame, x: str, y: str, colour: str, alpha: float) -> None:
    """Fill between the ends of the interval of column `y`; where all agree that it is 0 or 1 there is no spread."""
    spread = (group[y] > 0) & (group[y] != 1)
    low, high = (group[f"{y}_{end}"].where(spread, group[y]) for end in ("low", "high"))
    axes.fill_between(group[x], low, high, color=colour, alpha=alpha, linewidth=0)


def whiskers(of: Any, name: str) -> np.ndarray:
    """Return how far the interval of a column of a frame, or of one row, reaches to both sides; shape (2, rows)."""
    reach = np.clip([of[name] - of[f"{name}_low"], of[f"{name}_high"] - of[name]], 0, None)
    return np.asarray(reach).reshape(2, -1)


def grid(axes: Any) -> None:
    """Draw the lines behind a panel."""
    axes.grid(alpha=0.25, linewidth=0.6)


@contextlib.contextmanager
def picture(path: Path, width: float, height: float) -> Iterator[Figure]:
    """Give a figure of this size in inches to draw on, and save it when all is drawn."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    yield figure
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, the same bytes each time."""
    with matplotlib.rc_context({"svg.hashsalt": "fasthop"}):
        figure.savefig(path, format="png", dpi=150, metadata={"Software": None})
