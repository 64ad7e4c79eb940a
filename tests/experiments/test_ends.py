"""The census of ends, on memories whose attractors can be counted, and on names and estimates worked out by hand."""

import itertools

import numpy as np
import pandas as pd
import pytest

import fasthop as fh
from fasthop.experiments import ends
from rows import rows_of


def task(**changes):
    given = {field.column: field.default for field in ends.FIELDS if field.column != "realisations"} | {
        "neurons": 40,
        "rule": "hebb",
        "self_coupling": False,
        "activation": {"name": "tanh", "beta": 8.0},
        "pattern_kind": "random",
        "load": None,
        "patterns": 3,
        "bias": 0.0,
        "correlation": 0.0,
        "flip": 0.0,
        "flips": 0,
        "sigma": 0.0,
        "hidden": 0,
        "hidden_last": 0,
        "start": "signs",
        "starts": 200,
        "criterion": 0.9,
        "method": "rk4",
        "tolerance": 1e-10,
        "t_max": 1e4,
    }
    assert set(changes) <= set(given)
    return given | changes


def table(chosen, realisations, seed=1):
    return rows_of(ends, chosen, realisations, seed)


def test_three_patterns_have_fourteen_attractors():
    # Three patterns, their negatives, and the eight mixtures of three with all signs (Amit, Gutfreund, Sompolinsky
    # 1985: the symmetric mixtures of three are stable at low temperature).
    rows = table(task(neurons=200, starts=600), [0, 1])
    for _, group in rows.groupby("realisation"):
        assert group["kind"].value_counts().to_dict() == {"mixture-3": 8, "pattern": 3, "inverse": 3}
        assert (group["verdict"] == "stable").all()
        assert group["hits"].sum() == 600
        assert (group["largest"] < 0).all()
        assert sorted(group.loc[group["kind"] == "pattern", "nearest"]) == [0, 1, 2]
        np.testing.assert_allclose(group.loc[group["kind"] == "mixture-3", "overlap"].abs(), 0.5, atol=0.2)
        # A pattern and its negative have one energy, which is lower than that of a mixture.
        energy = group.groupby("kind")["energy"].agg(["min", "max"])
        np.testing.assert_allclose(energy.loc["pattern"], energy.loc["inverse"], rtol=1e-9)
        assert energy.loc["pattern", "max"] < energy.loc["mixture-3", "min"]


def test_ends_are_those_that_settle_finds():
    chosen = task(starts=50)
    rows = table(chosen, [4], seed=3)
    xi = fh.random_patterns(3, 40, seed=3, realisations=[4])[0]
    memory = fh.Memory(fh.hebb(xi), activation=fh.Tanh(8.0))
    starts = ends._starts(chosen, xi[None], range(50), [4], 3)[0]
    assert set(np.unique(starts)) == {-1.0, 1.0}
    found = fh.census(memory, fh.settle(memory, starts, dt=float(fh.faithful_step(memory))))
    hits = found["attractor"].value_counts().to_numpy()
    assert sorted(rows["hits"]) == sorted(hits)
    first = found.drop_duplicates("attractor")
    np.testing.assert_allclose(sorted(rows["energy"]), sorted(first["energy"]), rtol=1e-9)
    np.testing.assert_allclose(sorted(rows["largest"]), sorted(first["largest"]), rtol=1e-7)


def test_every_kind_of_end_has_its_name():
    xi = fh.random_patterns(9, 400, seed=3)
    three, five = np.sign(xi[0] - xi[4] + xi[7]), np.sign(xi[:5].sum(axis=0))
    states = [xi[1], -xi[2], three, -five, 0.01 * xi[3], np.sign(xi.sum(axis=0))]
    kinds, nearest, overlap = ends.name_ends(np.array(states), xi, 0.9)
    assert kinds.tolist() == ["pattern", "inverse", "mixture-3", "mixture-5", "collapsed", "other"]
    assert nearest[[0, 1, 4]].tolist() == [1, 2, 3]
    assert overlap[[0, 1, 4]].tolist() == [1, -1, 1]
    assert nearest[2] in (0, 4, 7)


def test_a_realisation_depends_on_neither_chunk_nor_turns(monkeypatch):
    chosen = task(starts=90)
    together = table(chosen, range(3))
    apart = pd.concat([table(chosen, [r]) for r in range(3)], ignore_index=True)
    pd.testing.assert_frame_equal(together, apart, check_exact=True)
    monkeypatch.setattr(ends, "_TURN", 40 * 8 * 11)
    monkeypatch.setattr(ends, "per_chunk", lambda task: 8)
    turns = table(chosen, range(3))
    pd.testing.assert_frame_equal(together.drop(columns="energy"), turns.drop(columns="energy"), rtol=1e-9)


def test_noisy_cues_can_be_starts_and_what_does_not_settle_is_a_row():
    rows = table(task(start="cues", flip=0.1, starts=60), [0])
    assert rows.loc[rows["kind"] == "pattern", "hits"].sum() >= 55
    hurried = table(task(t_max=1.0), [0, 1])
    assert hurried["kind"].tolist() == ["unsettled"] * 2
    assert hurried["hits"].tolist() == [200, 200]
    assert ends.summarise(hurried)["unseen"].tolist() == [0.0]


def test_the_summary_by_hand():
    rows = table(task(), [0])
    made = pd.concat([rows.iloc[:1]] * 6, ignore_index=True)
    made["realisation"] = [0, 0, 0, 0, 1, 1]
    made["end"] = [0, 1, 2, 3, 0, 1]
    made["hits"] = [196, 2, 1, 1, 199, 1]
    made["kind"] = ["pattern", "other", "other", "other", "pattern", "other"]
    made["verdict"] = ["stable", "stable", "unstable", "stable", "stable", "stable"]
    found = ends.summarise(made).set_index("kind")
    assert found["share"].to_dict() == {"pattern": 395 / 400, "other": 5 / 400}
    assert found["distinct"].to_dict() == {"pattern": 1, "other": 2}
    assert found["stable"].to_dict() == {"pattern": 1, "other": 1.5}
    assert (found["all_distinct"] == 3).all()
    assert (found["unseen"] == 3 / 400).all()
    # Chao: 4 + 2·1/(2·2) and 2 + 0.
    assert (found["chao"] == (4.5 + 2) / 2).all()


def test_the_unseen_share_is_estimated():
    # What 60 starts have not seen, of 600 starts' worth: the estimate against what the others then find.
    few = ends.summarise(table(task(patterns=5, neurons=100, starts=60), range(8)))["unseen"].iloc[0]
    chosen = task(patterns=5, neurons=100, starts=600)
    xi = fh.random_patterns(5, 100, seed=1, realisations=range(8))
    missed = 0
    for r in range(8):
        memory = fh.Memory(fh.hebb(xi[r]), activation=fh.Tanh(8.0))
        starts = ends._starts(chosen, xi, range(600), range(8), 1)[r]
        labels = fh.census(memory, fh.settle(memory, starts))["attractor"].to_numpy()
        missed += (~np.isin(labels[60:], labels[:60])).mean() / 8
    assert few == pytest.approx(missed, abs=0.04)
    assert few > 0.02


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"flip": 0.1}, "cues.flip", 'must be left out for starts.kind = "signs"'),
        ({"activation": {"name": "relu"}}, "memory.activation", "must be tanh"),
        ({"patterns": None}, "patterns", "a load, a relative_load or a count"),
    ],
)
def test_what_does_not_go_together_is_named(changes, path, words):
    [(where, sentence)] = ends.problems(task(**changes))
    assert where == path
    assert words in sentence


def test_the_picture_is_a_png(tmp_path):
    rows = pd.concat([table(task(patterns=p), [0, 1]) for p in (2, 3)])
    ends.plot(ends.summarise(rows), tmp_path / "e.png")
    assert (tmp_path / "e.png").read_bytes().startswith(b"\x89PNG")


def test_mixtures_of_all_signs_are_eight():
    xi = fh.random_patterns(3, 200, seed=1)
    mixed = [np.sign(np.array(signs) @ xi) for signs in itertools.product([-1, 1], repeat=3)]
    kinds, _, _ = ends.name_ends(np.array(mixed), xi, 0.9)
    assert set(kinds) == {"mixture-3"}
