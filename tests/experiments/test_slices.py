"""Slices of stored memories as an experiment: every point of the image is where a trajectory of its own ends."""

import numpy as np
import pandas as pd
import pytest

import fasthop as fh
from fasthop.experiments import slices, stored
from rows import rows_of


def task(**changes):
    given = {field.column: field.default for field in slices.FIELDS if field.column != "realisations"}
    given |= {"neurons": 50, "patterns": 3, "resolution": 40}
    assert set(changes) <= set(given)
    return given | changes


def test_the_plane_of_two_patterns():
    chosen = task()
    [row] = rows_of(slices, chosen, [2], 3).to_dict("records")
    there = stored.store(chosen, [2], 3)
    memory, xi = there.alone(0), there.patterns[0]
    image = np.array(row["labels"]).reshape(40, 40)
    places = 1.5 * (2 * (np.arange(40) + 0.5) / 40 - 1)
    ends = {}
    # Where |a| = |b| rounding decides between the two patterns.
    clear = np.abs(np.abs(places)[:, None] - np.abs(places)) > 0.05
    for label in np.unique(image[image >= 0]).tolist():
        found = []
        for i, j in np.argwhere((image == label) & clear)[::60].tolist():
            found.append(np.tanh(8 * fh.settle(memory, [places[i] * xi[0] + places[j] * xi[1]]).state[0]))
        ends[label] = np.array(found)
        assert np.abs(ends[label] - ends[label][0]).max() < 1e-5
    # The first two patterns and their negatives are in their plane, and named as they should be.
    for label, due in ((0, xi[0]), (1, xi[1]), (3, -xi[0]), (4, -xi[1])):
        assert np.mean(np.sign(ends[label][0]) * due) >= 0.9
    assert row["pattern"] == pytest.approx(np.isin(image, [0, 1, 2]).mean())
    assert row["inverse"] == pytest.approx(np.isin(image, [3, 4, 5]).mean())
    # y → −y turns the image over, but for the 5 % of the points on its diagonals.
    assert row["pattern"] == pytest.approx(row["inverse"], abs=0.05)


def test_rows_fit_the_schema_the_summary_and_the_picture(tmp_path):
    planes = [task(plane=plane, extent=5.0, check=100) for plane in ("patterns", "random")]
    rows = pd.concat([rows_of(slices, plane, range(2), 3) for plane in planes])
    summary = slices.summarise(rows)
    assert len(summary) == 2
    assert (summary["pattern_low"] <= summary["pattern"]).all()
    assert summary["entropy"].between(0, np.log(summary["ends"].max())).all()
    assert (summary["checked"] == 200).all()
    for plane, group in rows.groupby("plane"):
        [share] = summary.loc[summary["plane"] == plane, "changed_at_finer_step"]
        assert share == group["changed"].sum() / 200
    slices.plot(summary, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_is_asked_of_a_finer_step_where_nothing_should_be():
    summary = slices.summarise(rows_of(slices, task(check=0), range(2), 3))
    assert summary["checked"].tolist() == [0]
    columns = [f"changed_at_finer_step{end}" for end in ("", "_low", "_high")]
    assert summary[columns].isna().all(axis=None)


def test_two_patterns_are_needed_for_their_plane():
    [(path, words)] = slices.problems(task(patterns=1))
    assert path == "patterns.count"
    assert "at least 2" in words
