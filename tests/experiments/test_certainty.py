"""When ends are certain: counts against a loop over single states, and what a summary makes of them."""

import numpy as np
import pandas as pd
import pytest

import fasthop as fh
from fasthop.experiments import certainty, memories
from fasthop.experiments.networks import positive_definite
from rows import rows_of


def task(**changes):
    nothing = dict.fromkeys(("radius", "edges", "part", "inhibition"))
    given = {"network": "clique", "neurons": 5, "mean": 0.0, "bias": 0.0, "starts": 12} | nothing
    given |= {"low": -3.0, "high": 3.0, "tolerance": 1e-10, "loose": 1e-3, "every": 4, "t_max": 1e5}
    given |= {"edges": 0.6, "inhibition": 1.5}
    assert set(changes) <= set(given)
    return given | changes


GOE = {"network": "goe", "radius": 8.0, "mean": -0.6, "bias": 2.0, "edges": None, "inhibition": None}


def rows(realisations, seed=5, **changes):
    return rows_of(certainty, task(**changes), realisations, seed)


@pytest.mark.parametrize("changes", [{}, GOE], ids=["clique", "goe"])
def test_counts_are_those_of_a_loop_over_steps(changes):
    found = rows(range(3), **changes)
    W, b = positive_definite(*memories.networks(task(**changes), range(3), 5), 0.1)
    for k, row in enumerate(found.to_dict("records")):
        memory = fh.Memory(W[k], b[k], "relu")
        certificate, dt = fh.states.Certificate(memory), float(fh.default_step(memory))
        total = certain = steps = 0
        for start in fh.Uniform(-3, 3).draw(12, 5, seed=5, realisation=k):
            ends = fh.settle(memory, [start])
            if not ends.settled[0]:
                continue
            total, state, at, last = total + 1, np.array([start]), 0, int(ends.steps[0])
            while at <= last and certificate.end_of(state)[0] < 0:
                state, at = fh.simulate(memory, state, t_end=4 * dt, dt=dt).state, at + 4
            certain, steps = certain + (at <= last), steps + min(at, last)
        assert (row["settled"], row["certain"], row["steps_certain"]) == (total, certain, steps)
        assert row["stable"] == len(certificate.minima)
    assert found["wrong"].sum() == 0
    assert (found["steps_certain"] <= found["steps"]).all()
    assert found["certain"].sum() > 10


def test_a_wrong_certificate_is_counted(monkeypatch):
    # A certificate that takes every state for certain of the lowest memory is wrong about all that end elsewhere.
    monkeypatch.setattr(fh.states.Certificate, "end_of", lambda self, states: np.zeros(len(states), int))
    found = rows(range(3))
    assert (found["stable"] > 1).any()
    assert found["wrong"].sum() > 5
    assert (found["steps_certain"] == 0).all()


def test_a_summary_leaves_out_networks_with_one_memory():
    found = rows(range(12), **GOE)
    several = found[(found["stable"] > 1) & (found["settled"] > 0)]
    assert 0 < len(several) < 12
    [row] = certainty.summarise(found).to_dict("records")
    assert (row["realisations"], row["networks"], row["settled"]) == (12, len(several), several["settled"].sum())
    assert row["saved"] == pytest.approx(1 - several["steps_certain"].sum() / several["steps"].sum())
    [none] = certainty.summarise(found[found["stable"] == 1]).to_dict("records")
    assert none["networks"] == 0
    assert np.isnan(none["saved"])


def test_rows_do_not_depend_on_their_chunk():
    many, alone = rows(range(3)), rows([2])
    pd.testing.assert_frame_equal(many[many["realisation"] == 2].reset_index(drop=True), alone)


def test_what_does_not_go_together_is_named():
    [(where, sentence)] = certainty.problems(task(loose=1e-12))
    assert (where, "at least run.tolerance" in sentence) == ("run.loose", True)
    assert certainty.problems(task()) == []


def test_the_picture_is_a_png(tmp_path):
    found = pd.concat([rows(range(2), edges=edges) for edges in (0.3, 0.7)])
    certainty.plot(certainty.summarise(found), tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
