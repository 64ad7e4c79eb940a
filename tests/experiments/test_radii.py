"""Radii of stored patterns as an experiment: its rays are those of the function, and what the field knows of them."""

import numpy as np
import pandas as pd
import pytest

import fasthop as fh
from fasthop.experiments import radii, stored


def task(**changes):
    given = {field.column: field.default for field in radii.FIELDS if field.column != "realisations"}
    given |= {"neurons": 60, "patterns": 4, "memories": 2, "rays": 6, "aimed": 2, "precision": 0.01}
    assert set(changes) <= set(given)
    return given | changes


def test_rays_bracket_a_change_of_attractor():
    chosen = task()
    rows = pd.DataFrame(radii.rows(chosen, [0, 1], 3))
    assert set(rows.columns) == set(radii.SCHEMA.names)
    there = stored.store(chosen, [0, 1], 3)
    aimed = rows[(rows["direction"] == "memory") & ~rows["censored"]]
    assert len(aimed) >= 4
    for row in aimed.itertuples():
        memory = there.alone(row.realisation)
        ends = fh.settle(memory, there.patterns[row.realisation]).state
        home, goal = ends[row.pattern], ends[row.target]
        unit = (goal - home) / np.linalg.norm(goal - home)
        inside, outside = fh.settle(memory, [home + row.lower * unit, home + row.upper * unit], dt=row.dt).state
        assert np.abs(np.tanh(8 * inside) - np.tanh(8 * home)).max() < 1e-6
        assert np.abs(np.tanh(8 * outside) - np.tanh(8 * home)).max() > 0.1
        assert row.verified


def test_random_rays_leave_later_than_those_aimed_at_other_patterns():
    summary = radii.summarise(pd.DataFrame(radii.rows(task(neurons=100), range(3), 3))).set_index("direction")
    assert summary.loc["memory", "q50"] < 1.0 < summary.loc["random", "q50"]
    assert summary.loc["random", "censored"] > summary.loc["memory", "censored"]
    assert (summary["verified"] > 0.9).all()


def test_a_realisation_does_not_depend_on_its_chunk_and_one_without_memories_has_a_row():
    chosen = task(patterns=30, rays=2)  # far above capacity: nothing is kept
    together = pd.DataFrame(radii.rows(chosen, range(3), 2))
    apart = pd.concat([pd.DataFrame(radii.rows(chosen, [r], 2)) for r in range(3)], ignore_index=True)
    pd.testing.assert_frame_equal(together, apart, check_exact=True)
    assert "none" in set(together["direction"])


def test_the_picture_is_a_png(tmp_path):
    rows = pd.concat([pd.DataFrame(radii.rows(task(rule=rule), range(2), 3)) for rule in ("hebb", "pseudo-inverse")])
    radii.plot(radii.summarise(rows), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_stored_is_checked():
    [(path, words)] = radii.problems(task(patterns=61, rule="pseudo-inverse"))
    assert path == "patterns"
    assert "at most 60" in words
    with pytest.raises(ValueError, match=r"rays\.random is missing"):
        fh.load_spec(
            {"experiment": "radii", "memory": {"neurons": 9}, "patterns": {"count": 1}, "run": {"realisations": 1}}
        )
