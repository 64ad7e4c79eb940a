"""Pictures of slices through basins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from fasthop.ensemble import KINDS
from fasthop.plot import COLOURS, save

#: Colours of basins: those of the lines, and darker ones of Paul Tol's muted palette.
_PALETTE = (*COLOURS[:6], "#F0E442", "#332288", "#882255", "#117733", "#999933", "#661100")

#: What has no colour of its own, and what does not settle.
_OTHER, _LOST = "0.75", "0.15"


def picture(
    labels: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    path: Path,
    *,
    names: Mapping[int, str],
    title: str = "",
    axes_names: tuple[str, str] = ("a (along e₁)", "b (along e₂)"),
) -> None:
    """Draw labels of shape (A, B) over a and b, with the largest basins in colours of their own and a legend."""
    found, counts = np.unique(labels, return_counts=True)
    order = found[np.lexsort((found, -counts))]
    basins = [int(which) for which in order if which >= 0]
    share = dict(zip(found.tolist(), (counts / labels.size).tolist(), strict=True))
    # Named attractors first, so that pictures of one memory agree in their colours.
    shown = sorted((which for which in basins if which in names), key=list(names).index)
    shown = (shown + [which for which in basins if which not in names])[: len(_PALETTE)]
    colours = np.zeros(labels.shape, np.int64)
    patches: list[Patch] = []
    for index, which in enumerate(shown):
        colours[labels == which] = index
        text = f"{names.get(which, f'attractor {which}')}: {share[which]:.1%}"
        patches.append(Patch(color=_PALETTE[index], label=text))
    rest = [which for which in basins if which not in shown]
    colours[np.isin(labels, rest)] = len(_PALETTE)
    if rest:
        patches.append(Patch(color=_OTHER, label=f"{len(rest)} more: {sum(share[which] for which in rest):.1%}"))
    lost = labels < 0
    colours[lost] = len(_PALETTE) + 1
    patches += [
        Patch(color=_LOST, label=f"{KINDS[-1 - which].replace('_', ' ')}: {share[which]:.1%}")
        for which in order[order < 0].tolist()
    ]

    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.add_subplot()
    axes.imshow(
        colours.T,
        origin="lower",
        extent=(*_ends(a), *_ends(b)),
        cmap=ListedColormap([*_PALETTE, _OTHER, _LOST]),
        vmin=-0.5,
        vmax=len(_PALETTE) + 1.5,
        interpolation="nearest",
        aspect="auto",
    )
    axes.set(xlabel=axes_names[0], ylabel=axes_names[1])
    axes.set_title(title, fontsize="medium")
    axes.legend(handles=patches, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize="small")
    save(figure, path)


def _ends(places: np.ndarray) -> tuple[float, float]:
    half = (places[1] - places[0]) / 2 if len(places) > 1 else 0.5
    return float(places[0] - half), float(places[-1] + half)
