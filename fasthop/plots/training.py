"""The picture of what a memory has learned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from fasthop.plots.figures import colour_of, picture, whiskers


def rates(summary: pd.DataFrame, path: Path, names: Mapping[str, str], label: str) -> None:
    """Draw rates with their intervals as bars, one group per task; `names` maps columns to words."""
    with picture(path, 6.4, 1.4 + 0.35 * len(names) * len(summary)) as figure:
        axes = figure.add_subplot()
        ticks, words = [], []
        for task, row in enumerate(summary.to_dict("records")):
            for index, (column, word) in enumerate(names.items()):
                at = task * (len(names) + 1) + index
                spread = whiskers(row, column)
                axes.barh(at, row[column], xerr=spread, color=colour_of(index), error_kw={"capsize": 2})
                ticks.append(at)
                words.append(f"{word}, {row['split']} split" if len(summary) > 1 else word)
        axes.set_yticks(ticks, words, fontsize="small")
        axes.invert_yaxis()
        axes.set(xlabel=label)
        axes.set_title("bars: means; whiskers: 95 % intervals over realisations", fontsize="medium")
