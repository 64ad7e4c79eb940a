import numpy as np
import pandas as pd
import pytest

import fasthop as fh
from fasthop.experiments import basins
from rows import rows_of

FIGURE_1 = {"weights": [[0.2, -1.5], [-1.5, 0.1]], "bias": [1.0, 0.8], "activation": {"name": "relu"}}


def task(**changes):
    given = FIGURE_1 | {
        "system": "1",
        "measure": "box",
        "low": -3.0,
        "high": 3.0,
        "size": None,
        "centre": 0.0,
        "starts": 2000,
        "method": "rk4",
        "dt": None,
        "tolerance": 1e-10,
        "t_max": 1e4,
    }
    assert set(changes) <= set(given)
    return given | changes


def memory(W, b):
    return fh.Memory(W, b, "relu")


def test_the_basins_of_figure_1():
    # Steady states by hand: one neuron alive, the other dead. Shares .614/.386 with standard error .008, measured
    # beforehand with an independent script; no start ends in the saddle (10/51, 86/153).
    table = fh.basins(memory(FIGURE_1["weights"], FIGURE_1["bias"]), fh.Uniform(-3, 3), n=50_000, seed=1)
    assert table["kind"].tolist() == ["settled", "settled"]
    np.testing.assert_allclose(table["state"][0], [1.25, -1.075], atol=1e-8)
    np.testing.assert_allclose(table["state"][1], [-1 / 3, 8 / 9], atol=1e-8)
    np.testing.assert_allclose(table["share"], [0.614, 0.386], atol=3 * 0.008)
    assert (table["share_low"] < table["share"]).all()
    assert (table["share"] < table["share_high"]).all()
    assert table["hits"].sum() == 50_000
    np.testing.assert_allclose(table["energy"], [-0.625, -16 / 45], atol=1e-9)


def test_winner_takes_all():
    # W = −w(11ᵀ − I), b = 1, w > 1: the largest start wins, each basin is exactly 1/N for exchangeable starts.
    n = 5
    starts = fh.Uniform(-1, 1).draw(3000, n, seed=2)
    network = memory(-2.0 * (np.ones((n, n)) - np.eye(n)), np.ones(n))
    table = fh.basins(network, starts)
    assert len(table) == n
    wins = np.bincount(starts.argmax(axis=1), minlength=n)
    assert {int(np.argmax(state)): hits for state, hits in zip(table["state"], table["hits"], strict=True)} == dict(
        enumerate(wins)
    )


def test_starts_that_run_away_are_rows_of_their_own():
    table = fh.basins(memory([[0, 2], [2, 0]], [-1, -1]), fh.Uniform(-3, 5), n=4000, seed=1)
    assert table["kind"].tolist() == ["settled", "diverged"]
    assert table["attractor"].tolist() == [0, -1]
    assert table["share"].sum() == pytest.approx(1.0)
    np.testing.assert_allclose(table["state"][0], [-1, -1], atol=1e-8)


def test_unsettled_starts_are_no_attractor():
    network = memory(FIGURE_1["weights"], FIGURE_1["bias"])
    table = fh.basins(network, fh.Uniform(-3, 3), n=100, t_max=1.0)
    assert table["kind"].tolist() == ["unsettled"]


def test_realisations_pool_into_one_row_per_attractor():
    rows = rows_of(basins, task(), [0, 1, 2], 5)
    assert (rows.groupby("realisation")["hits"].sum() == 2000).all()
    alone = rows_of(basins, task(), [1], 5)
    pd.testing.assert_frame_equal(rows[rows["realisation"] == 1].reset_index(drop=True), alone, check_exact=True)
    summary = basins.summarise(rows)
    assert len(summary) == 2
    assert summary["starts"].tolist() == [6000, 6000]
    assert summary["hits"].sum() == 6000


def test_many_starts_in_one_realisation_equal_the_python_call():
    rows = rows_of(basins, task(), [0], 5)
    table = fh.basins(memory(FIGURE_1["weights"], FIGURE_1["bias"]), fh.Uniform(-3, 3), n=2000, seed=5)
    assert rows["hits"].tolist() == table["hits"].tolist()


def systems(names, **changes):
    return {name: basins.summarise(rows_of(basins, task(system=name, **changes), [0], 5)) for name in names}


def told(table):
    """What a table says of every attractor, by its y."""
    columns = ["under_1", "under_5_E2", "under_5_E3", "under_9"]
    return {tuple(np.round(row["state"], 6)): [row[name] for name in columns] for row in table.to_dict("records")}


def test_c37_equal_steady_states_are_other_memories_under_other_systems():
    found = systems(["1", "5", "5-E3", "9"])
    kept, saddle = ["stable", "unstable", "stable", "stable"], ["unstable", "unstable", "stable", "stable"]
    due = {(1.25, -1.075): kept, (-0.333333, 0.888889): kept}
    assert told(found["1"]) == told(found["5"]) == due
    assert told(found["5-E3"]) == told(found["9"]) == due | {(0.196078, 0.562092): saddle}
    # With R = I (5) is (1) in other coordinates: from the same y every start goes to the same end.
    assert found["1"]["hits"].tolist() == found["5"]["hits"].tolist()


def test_c36_under_e2_an_indefinite_w_has_no_memory_and_a_definite_one_the_same():
    for table in systems(["5-E2", "5-E2-polar"]).values():
        assert table[["kind", "share", "under_1"]].to_numpy().tolist() == [["diverged", 1.0, ""]]
        assert [len(state) for state in table["state"]] == [0]
    definite = {"weights": [[0.8, -0.5], [-0.5, 0.8]], "bias": [1.0, 1.0], "high": 7.0}
    found = systems(["1", "5-E2", "5-E2-polar"], **definite)
    memories = {(5.0, -1.5): ["stable"] * 4, (-1.5, 5.0): ["stable"] * 4}
    for table in found.values():
        assert told(table) == memories


def test_c37_the_saddle_of_two_tanh_neurons_is_a_memory_of_e3():
    # Spectra at the origin: +1, −3 under (1), −1, −9 under (5) with R = I − WᵀΛ.
    other = {"weights": [[0.0, 2.0], [2.0, 0.0]], "bias": [0.0, 0.0], "activation": {"name": "tanh"}}
    found = systems(["1", "5-E3"], **other)
    assert len(found["1"]) == 2
    assert told(found["5-E3"])[0.0, 0.0] == ["unstable", "unstable", "stable", "stable"]


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"weights": [[1.0, 2.0]]}, "memory.weights", "W must be square"),
        ({"weights": [[1.0, 2.0], [3.0]]}, "memory.weights", "W must be"),
        ({"bias": [1.0]}, "memory.weights", "b must be a number or have shape"),
        ({"high": -3.0}, "starts.high", "above starts.low"),
        ({"low": None}, "starts.low", 'is missing for kind = "box"'),
        ({"centre": 1.0}, "starts.centre", "must be left out"),
        ({"measure": "ball", "low": None, "high": None}, "starts.size", 'is missing for kind = "ball"'),
        ({"measure": "ball", "low": None, "size": 1.0}, "starts.high", "must be left out"),
        ({"measure": "normal", "low": None, "high": None, "size": -1.0}, "starts.size", "above 0; got -1"),
        ({"starts": 10**8}, "starts.count", "at most"),
        ({"weights": [[1.0, 1.0], [1.0, 1.0]], "system": "5-E2"}, "memory.weights", "must have an inverse"),
    ],
)
def test_what_does_not_go_together_is_named(changes, path, words):
    [(where, sentence)] = basins.problems(task(**changes))
    assert where == path
    assert words in sentence


def test_bad_calls_are_one_sentence():
    network = memory(FIGURE_1["weights"], FIGURE_1["bias"])
    with pytest.raises(ValueError, match="n must be given"):
        fh.basins(network, fh.Uniform(-3, 3))
    with pytest.raises(ValueError, match="n must not be given"):
        fh.basins(network, np.zeros((3, 2)), n=3)
    with pytest.raises(ValueError, match="memory must be one memory"):
        fh.basins(fh.Memory(np.zeros((2, 3, 3))), fh.Uniform(-3, 3), n=3)


def test_the_picture_is_a_png(tmp_path):
    rows = rows_of(basins, task(), [0, 1], 5)
    basins.plot(basins.summarise(rows), tmp_path / "b.png")
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("measure", "size"), [("ball", 2.0), ("normal", 0.7)])
def test_shares_by_other_measures(measure, size):
    """Two neurons that inhibit each other: the larger start wins, so the diagonal divides a cloud."""
    chosen = task(weights=[[0, -2], [-2, 0]], bias=[1, 1], measure=measure, low=None, high=None, size=size, centre=0.5)
    rows = rows_of(basins, chosen, [0], 3)
    made = {"ball": fh.Ball, "normal": fh.Normal}[measure](size, 0.5).draw(2000, 2, seed=3)
    due = (made[:, 0] > made[:, 1]).sum()
    [first] = [row for row in rows.to_dict("records") if row["state"][0] > 0]
    assert abs(first["hits"] - due) <= 2
    summary = basins.summarise(rows)
    assert summary["measure"].tolist() == [measure] * 2
