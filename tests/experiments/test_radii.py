"""Radii of stored patterns as an experiment: its rays are those of the function, and what the field knows of them."""

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, optimize, stats

import fasthop as fh
from fasthop.experiments import radii, stored
from fasthop.geometry import saddles
from fasthop.storage import inputs
from rows import rows_of


def task(**changes):
    given = {field.column: field.default for field in radii.FIELDS if field.column != "realisations"}
    given |= {"neurons": 60, "patterns": 4, "memories": 2, "rays": 6, "aimed": 2, "precision": 0.01}
    assert set(changes) <= set(given)
    return given | changes


def test_rays_bracket_a_change_of_attractor():
    chosen = task()
    rows = rows_of(radii, chosen, [0, 1], 3)
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
    summary = radii.summarise(rows_of(radii, task(neurons=100), range(3), 3)).set_index("direction")
    assert summary.loc["memory", "q50"] < 1.0 < summary.loc["random", "q50"]
    assert summary.loc["random", "censored"] > summary.loc["memory", "censored"]
    assert (summary["verified"] > 0.9).all()


def test_the_mean_radius_counts_rays_that_never_leave_at_the_bound():
    rows = rows_of(radii, task(bound=3.0, patterns=5, rays=20), range(4), 3)
    rays = rows[rows["direction"] == "random"]
    assert 0 < rays["censored"].sum() < len(rays)
    cut = np.where(rays["censored"], 3.0, rays["lower"] / np.sqrt(60))
    row = radii.summarise(rows).set_index("direction").loc["random"]
    assert row["mean"] == pytest.approx(cut.mean(), rel=1e-12)
    assert (rays.groupby("realisation").size() == 40).all()
    each = pd.Series(cut).groupby(rays["realisation"].to_numpy()).mean()
    low, high = stats.t.interval(0.95, 3, each.mean(), each.std() / 2)
    assert (row["mean_low"], row["mean_high"]) == pytest.approx((low, high), rel=1e-12)


def test_a_realisation_does_not_depend_on_its_chunk_and_one_without_memories_has_a_row():
    chosen = task(patterns=30, rays=2)  # far above capacity: nothing is kept
    together = rows_of(radii, chosen, range(3), 2)
    apart = pd.concat([rows_of(radii, chosen, [r], 2) for r in range(3)], ignore_index=True)
    pd.testing.assert_frame_equal(together, apart, check_exact=True)
    assert "none" in set(together["direction"])


def test_the_picture_is_a_png(tmp_path):
    rows = pd.concat([rows_of(radii, task(rule=rule), range(2), 3) for rule in ("hebb", "pseudo-inverse")])
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


def test_rays_aimed_at_saddles_leave_at_them(tmp_path):
    # Two neurons with four attractors: SciPy's roots are the saddles, and its trajectories fall to either side of them.
    W, beta = np.array([[0.9, 0.15], [0.15, 0.8]]), 4.0
    np.save(tmp_path / "W.npy", W)
    np.save(tmp_path / "xi.npy", [[1, 1], [-1, 1], [1, -1]])
    files = {
        "weights_file": inputs.named(str(tmp_path / "W.npy")),
        "pattern_file": inputs.named(str(tmp_path / "xi.npy")),
    }
    chosen = task(
        rule="file", self_coupling=True, activation={"name": "tanh", "beta": beta}, neurons=None, patterns=None
    )
    chosen |= files | {"pattern_kind": "file", "memories": 1, "saddles": 2, "precision": 1e-4}
    assert radii.problems(chosen) == []
    rows = rows_of(radii, chosen, [0], 1)
    aimed = rows[rows["direction"] == "saddle"]
    assert sorted(aimed["target"]) == [1, 2]

    def field(_, y):
        return W @ np.tanh(beta * y) - y

    home = integrate.solve_ivp(field, (0, 300), [1.0, 1.0], rtol=1e-12, atol=1e-14).y[:, -1]
    for row in aimed.itertuples():
        exact = optimize.root(lambda y: field(0, y), [0.0, 0.7] if row.target == 1 else [0.7, 0.0], tol=1e-14).x
        assert row.distance == pytest.approx(np.linalg.norm(exact - home), abs=1e-8)
        assert row.lower <= row.distance <= row.upper <= row.lower * (1 + 2e-4)
        assert row.neighbour == row.target
        assert row.verified
        # No ray leaves twice: DOP853 falls home from everywhere before the saddle.
        for share in np.linspace(0.02, 0.998, 15):
            path = integrate.solve_ivp(field, (0, 200), home + share * (exact - home), method="DOP853", rtol=1e-10)
            assert np.abs(path.y[:, -1] - home).max() < 1e-4
    # Towards the attractors themselves the boundary is no nearer than its saddles are.
    toward = rows[rows["direction"] == "memory"].set_index("target")
    assert (toward["lower"] >= aimed.set_index("target")["lower"] * (1 - 1e-4)).all()


def test_saddles_bound_the_margin_and_one_that_is_not_found_is_told(monkeypatch):
    chosen = task(saddles=3)
    rows = rows_of(radii, chosen, [0, 1], 3)
    aimed = rows[rows["direction"] == "saddle"]
    assert len(aimed) == 2 * 2 * 3
    assert aimed["lower"].between(aimed["distance"] * 0.98, aimed["distance"]).all()
    summary = radii.summarise(rows).set_index("direction")
    assert summary.loc["saddle", "smallest"] < summary.loc["memory", "smallest"]
    assert summary["sought"].tolist() == summary["count"].tolist()
    # The other rays are those of a task without saddles.
    rest = rows_of(radii, task(), [0, 1], 3)
    others = rows[rows["direction"] != "saddle"].reset_index(drop=True)
    pd.testing.assert_frame_equal(others.drop(columns="saddles"), rest.drop(columns="saddles"), check_exact=True)

    monkeypatch.setattr(saddles, "ROUNDS", 0)
    lost = rows_of(radii, chosen, [0, 1], 3)
    missing = lost[lost["direction"] == "saddle"]
    assert len(missing) == 12
    assert missing[["distance", "lower", "upper", "overlap", "dt"]].isna().all(axis=None)
    assert not missing[["verified", "censored"]].any(axis=None)
    summary = radii.summarise(lost).set_index("direction")
    assert summary.loc["saddle", ["sought", "count"]].tolist() == [12, 0]
    assert summary.loc[["random", "memory"], "count"].tolist() == [24, 8]
    assert np.isnan(summary.loc["saddle", "q50"])


def test_saddles_have_a_size():
    [(path, words)] = radii.problems(task(neurons=300, patterns=101, rule="dense", saddles=1))
    assert path == "rays.saddles"
    assert words == "must be 0 for more than 400 neurons, memory neurons too; got 401."
