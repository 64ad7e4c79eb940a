"""Pictures of slices through basins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from fasthop.dynamics.ensemble import KINDS
from fasthop.plots import figures

#: Colours of basins: those of the lines, and darker ones of Paul Tol's muted palette.
_PALETTE = (*figures.COLOURS[:6], "#F0E442", "#332288", "#882255", "#117733", "#999933", "#661100")

#: What has no colour of its own, and what does not settle.
_OTHER, _LOST = "0.75", "0.15"


def picture(
    labels: np.ndarray, a: np.ndarray, b: np.ndarray, path: Path, *, names: Mapping[int, str], title: str = ""
) -> None:
    """Draw labels of shape (A, B) over a and b, with the largest basins in colours of their own and a legend."""
    pictures([(labels, title)], a, b, path, names=[names])


def pictures(
    panels: Sequence[tuple[np.ndarray, str]],
    a: np.ndarray,
    b: np.ndarray,
    path: Path,
    *,
    names: Sequence[Mapping[int, str]],
) -> None:
    """Draw several slices over the same a and b, each with its title and legend, two in a row."""
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    with figures.picture(path, 7.2 * columns, 4.6 * lines) as figure:
        for number, (labels, title) in enumerate(panels):
            axes = figure.add_subplot(lines, columns, number + 1)
            _panel(axes, labels, a, b, names[number])
            axes.set_title(title, fontsize="medium")


def _panel(axes: Any, labels: np.ndarray, a: np.ndarray, b: np.ndarray, names: Mapping[int, str]) -> None:
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
    colours[labels < 0] = len(_PALETTE) + 1
    patches += [
        Patch(color=_LOST, label=f"{KINDS[-1 - which].replace('_', ' ')}: {share[which]:.1%}")
        for which in order[order < 0].tolist()
    ]
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
    axes.set(xlabel="a (along e₁)", ylabel="b (along e₂)")
    axes.legend(handles=patches, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize="small")


def _ends(places: np.ndarray) -> tuple[float, float]:
    """Return from and to where cells reach whose points stand at these places, each somewhere in its own."""
    half = (places[1] - places[0]) / 2 if len(places) > 1 else 0.5
    return float(places[0] - half), float(places[-1] + half)
