"""Dead neurons in recalled patterns against closed forms and a NumPy simulation."""

import numpy as np
import pandas as pd
import pytest

import fasthop as fh
from fasthop.experiments import dead
from rows import rows_of


def task(**changes):
    given = {
        **dict.fromkeys(("load", "flips", "hidden", "hidden_last")),
        **dict.fromkeys(("bias", "correlation", "flip", "sigma"), 0.0),
    }
    given |= {"neurons": 60, "rule": "hebb", "self_coupling": False, "pattern_kind": "random", "patterns": 4}
    given |= {"flips": 0, "hidden": 0, "hidden_last": 0, "activation": "hard_tanh", "gain": 2.0, "cues": 8}
    given |= {"criterion": 0.9, "tolerance": 1e-6, "t_max": 1e3, "dtype": "float64"}
    assert set(changes) <= set(given)
    return given | changes


def rows(realisations, seed=5, **changes):
    return rows_of(dead, task(**changes), realisations, seed)


def test_dead_neurons_are_those_of_a_numpy_simulation():
    [row] = rows([3], cues=4, gain=1.5, patterns=6).to_dict("records")
    xi = fh.random_patterns(6, 60, seed=5, realisations=[3])[0]
    W = 1.5 * (xi.T @ xi / 60 - np.diag((xi**2).sum(axis=0)) / 60)
    y = 1.5 * xi[:4]
    for _ in range(20_000):
        y += 0.1 * (np.clip(y, -1, 1) @ W.T - y)
    g = np.clip(y, -1, 1)
    assert np.abs(g @ W.T - y).max() < 1e-9
    alive = (np.abs(g).mean(axis=1) >= 0.5) & ((np.abs(g) < 0.1).sum(axis=1) <= 1)
    back = alive & ((np.sign(g) * xi[:4]).mean(axis=1) >= 0.9)
    flat = (np.abs(y) >= 1).sum(axis=1)
    assert (row["retrieved"], row["lost"]) == (back.sum(), (alive & ~back).sum())
    assert (row["dead_retrieved"], row["dead_collapsed"]) == (flat[back].sum(), flat[~alive].sum())
    assert 0 < row["dead_retrieved"] + row["dead_collapsed"] < 4 * 60


@pytest.mark.parametrize(("gain", "all_dead"), [(1.05, False), (2.0, True), (8.0, True)])
def test_a_pseudo_inverse_memory_is_all_dead_or_all_gone(gain, all_dead):
    # W ξ = (1 − P_ii) ξ with the projector P: where every β (1 − P_ii) exceeds 1 the state β (1 − P_ii) ξ is steady
    # and flat everywhere; where all are below 1 nothing but 0 is left.
    found = rows(range(4), rule="pseudo-inverse", patterns=12, cues=12, gain=gain)
    xi = fh.random_patterns(12, 60, seed=5, realisations=range(4))
    rest = 1 - np.array([np.diag(np.linalg.pinv(each) @ each) for each in xi])
    assert (gain * rest > 1).all() == all_dead
    assert (gain * rest < 1).all() != all_dead
    name = "retrieved" if all_dead else "collapsed"
    assert (found[name] == 12).all()
    assert (found["all_dead"] == 12 * all_dead).all()
    assert (found[f"dead_{name}"] == 12 * 60 * all_dead).all()


@pytest.mark.parametrize(("dtype", "beyond"), [("float64", 19.1), ("float32", 9.1)])
def test_tanh_is_dead_where_it_is_flat_to_the_last_bit(dtype, beyond):
    # One pattern alone: y = β (1 − 1/N) ξ for tanh that has saturated.
    for gain, flat in ((0.9 * beyond, False), (1.1 * beyond, True)):
        found = rows([0], patterns=1, cues=1, gain=gain, activation="tanh", dtype=dtype)
        assert found["all_dead"].tolist() == [int(flat)]
        assert found["dead_retrieved"].tolist() == [60 * flat]


def test_a_gain_is_that_of_the_activation():
    found = rows(range(3), activation="tanh", gain=25.0, patterns=6, cues=12)
    xi = fh.random_patterns(6, 60, seed=5, realisations=range(3))
    memory = fh.Memory(fh.hebb(xi), activation=fh.Tanh(25.0))
    ends = fh.settle(memory, np.concatenate([xi, xi], axis=1), tolerance=1e-6)
    flat = fh.dead_neurons(memory, ends.state).k
    total = found[["dead_retrieved", "dead_lost", "dead_collapsed"]].sum(axis=1)
    assert ends.settled.all()
    assert total.tolist() == flat.sum(axis=1).tolist()


def test_rows_do_not_depend_on_their_chunk_and_pool():
    many = rows(range(4), patterns=8, gain=1.5)
    alone = rows([2], patterns=8, gain=1.5)
    pd.testing.assert_frame_equal(many[many["realisation"] == 2].reset_index(drop=True), alone)
    assert (many[["retrieved", "lost", "collapsed", "open"]].sum(axis=1) == many["cues"]).all()
    [row] = dead.summarise(many).to_dict("records")
    assert row["dead_retrieved"] == many["dead_retrieved"].sum() / (60 * many["retrieved"].sum())
    assert row["dead_retrieved_low"] < row["dead_retrieved"] < row["dead_retrieved_high"]
    assert np.isnan(row["dead_lost"]) == (many["lost"].sum() == 0)


def test_what_does_not_go_together_is_named():
    assert dead.problems(task()) == []
    [(where, sentence)] = dead.problems(task(dtype="float32", tolerance=1e-8))
    assert (where, "at least 1e-6" in sentence) == ("run.tolerance", True)
    [(where, sentence)] = dead.problems(task(neurons=10**5))
    assert (where, "too large" in sentence) == ("memory.neurons", True)


def test_the_picture_is_a_png(tmp_path):
    found = pd.concat([rows(range(2), gain=gain) for gain in (1.5, 4.0)])
    dead.plot(dead.summarise(found), tmp_path / "d.png")
    assert (tmp_path / "d.png").read_bytes().startswith(b"\x89PNG")
