"""The shipped answers to the paper's questions are those that the specs give: a small part of each comes out again."""

import math
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fasthop.experiments import EXPERIMENTS
from fasthop.sweep.run import table

DATA = Path(__file__).resolve().parents[2] / "data"


def reference(name):
    return pd.read_parquet(DATA / "reference" / f"{name}.parquet")


def again(name, **changes):
    """The summary of a spec with other entries, such as fewer starts, and a seed of its own."""
    spec = tomllib.loads((DATA / "specs" / f"{name}.toml").read_text(encoding="utf-8")) | {"seed": 99}
    for section, entries in changes.items():
        spec[section] = spec.get(section, {}) | entries
    return EXPERIMENTS[spec["experiment"]].summarise(table(spec))


@pytest.mark.parametrize("name", ["systems", "systems_definite"])
def test_basins_of_equal_steady_states(name):
    shipped, found = reference(name), again(name, starts={"count": 1500})
    assert len(found) == len(shipped)
    for row in found.to_dict("records"):
        same = shipped[(shipped["system"] == row["system"]) & (shipped["kind"] == row["kind"])]
        near = [row["kind"] != "settled" or np.allclose(state, row["state"], atol=1e-6) for state in same["state"]]
        [due] = same[near].to_dict("records")
        error = np.sqrt(due["share"] * (1 - due["share"]) / row["starts"])
        assert row["share"] == pytest.approx(due["share"], abs=4 * error + 1e-12)
        for verdict in ("under_1", "under_5_E2", "under_5_E3", "under_9"):
            assert row[verdict] == due[verdict]


@pytest.mark.parametrize(
    ("system", "shares"),
    [("1", (0.614, 0.386, 0)), ("9", (0.414, 0.378, 0.209)), ("9-as-printed", (0.283, 0.280, 0.437))],
)
def test_c59_the_basins_of_figure_1_under_three_systems(system, shares):
    # Measured beforehand with an independent script, standard error .008: two stable states and the saddle.
    shipped = reference("systems")
    rows = shipped[shipped["system"] == system]
    for state, share in zip([(1.25, -1.075), (-1 / 3, 8 / 9), (10 / 51, 86 / 153)], shares, strict=True):
        near = [np.allclose(found, state, atol=1e-6) for found in rows["state"]]
        assert rows[near]["share"].sum() == pytest.approx(share, abs=3 * 0.008)


def agrees(found, due, name):
    """Whether a mean over realisations is the shipped one, within four of the errors that the shipped spread makes."""
    error = (due[f"{name}_high"] - due[f"{name}_low"]) / 4 * np.sqrt(1 + due["realisations"] / found["realisations"])
    return found[name] == pytest.approx(due[name], abs=4 * error + 1e-12)


def test_memories_against_the_spectral_radius():
    shipped = reference("collapse")
    below = shipped[shipped["radius"] < 1]
    assert len(below) == 18
    assert (below[["steady", "stable", "found", "one"]] == 1).all(axis=None)
    assert shipped["astray"].sum() == 0
    part = again("collapse", network={"radius": [0.9, 1.5, 4.0], "mean": [0.0, -0.5]}, run={"realisations": 60})
    for row in part.to_dict("records"):
        [due] = shipped[(shipped["radius"] == row["radius"]) & (shipped["mean"] == row["mean"])].to_dict("records")
        for name in ("steady", "stable", "found", "none", "one", "several", "diverged"):
            assert agrees(row, due, name), (name, row[name], due[name])


def test_memories_against_the_number_of_neurons():
    shipped = reference("collapse_sizes")
    part = again("collapse_sizes", network={"neurons": [4, 12], "radius": 8.0}, run={"realisations": 60})
    for row in part.to_dict("records"):
        [due] = shipped[(shipped["radius"] == 8) & (shipped["neurons"] == row["neurons"])].to_dict("records")
        for name in ("steady", "stable", "found", "several", "diverged"):
            assert agrees(row, due, name)


def maximal_cliques(n, p):
    """Mean number of maximal cliques of G(n, p): k vertices with all edges, and no other vertex joined to them all."""
    return sum(math.comb(n, k) * p ** math.comb(k, 2) * (1 - p**k) ** (n - k) for k in range(1, n + 1))


def test_memories_of_random_graphs_are_as_many_as_graph_theory_says():
    for row in reference("cliques").to_dict("records"):
        due, error = maximal_cliques(row["neurons"], row["edges"]), (row["stable_high"] - row["stable_low"]) / 4
        assert row["stable"] == pytest.approx(due, abs=4 * error + 1e-12)
        assert row["found_share"] > 0.99
    part = again("cliques", network={"neurons": 8, "edges": [0.0, 0.5]}, run={"realisations": 40})
    for row in part.to_dict("records"):
        error = (row["stable_high"] - row["stable_low"]) / 4
        assert row["stable"] == pytest.approx(maximal_cliques(8, row["edges"]), abs=4 * error + 1e-12)


def test_graphs_with_the_most_memories_and_how_many_starts_find_them():
    # Every basin has one share by symmetry: M (1 − (1 − 1/M)^n) memories are met by n starts, with variance below M/4.
    shipped = reference("most_cliques")
    part = again("most_cliques", network={"neurons": [3, 9]}, starts={"count": [100]})
    for row in pd.concat([shipped, part]).to_dict("records"):
        M, n = 3 ** (row["neurons"] // 3), row["starts"]
        assert (row["stable"], row["steady"]) == (M, 7 ** (row["neurons"] // 3))
        due = M * (1 - (1 - 1 / M) ** n)
        assert row["found"] == pytest.approx(due, abs=4 * np.sqrt(M / 4 / row["realisations"]))


@pytest.mark.parametrize(("name", "flat"), [("dead", np.log(2) / 2 * 54), ("dead_float32", np.log(2) / 2 * 25)])
def test_dead_neurons_against_gain_and_load(name, flat):
    # Signal and noise: the field of a retrieved pattern is about normal with mean 1 and variance α, and tanh(β y) is
    # dead where 1 − tanh(β y) = 2 exp(−2 β y) is lost beside 1, to which 53 or 24 bits belong.
    shipped = reference(name)
    tanh = shipped[(shipped["activation"] == "tanh") & (shipped["retrieved"] > 0.9) & (shipped["load"] > 0.02)]
    due = stats.norm.cdf((1 - flat / tanh["gain"]) / np.sqrt(tanh["load"]))
    np.testing.assert_allclose(tanh["dead_retrieved"], due, atol=0.01)
    assert ((due > 0.1) & (due < 0.9)).sum() >= 4
    part = again(name, memory={"activation": "tanh", "gain": [8.0, 20.0]}, patterns={"load": 0.05})
    for row in part.to_dict("records"):
        [expected] = tanh[(tanh["load"] == 0.05) & (tanh["gain"] == row["gain"])].to_dict("records")
        assert agrees(row, expected, "dead_retrieved")
        assert agrees(row, expected, "retrieved")


@pytest.mark.parametrize(("name", "x", "value"), [("certainty", "radius", 8.0), ("certainty_cliques", "edges", 0.5)])
def test_how_soon_ends_are_certain(name, x, value):
    shipped = reference(name)
    assert (shipped["wrong"] == 0).all()
    assert (shipped["certain"] >= shipped["certain_by_energy"]).all()
    part = again(name, network={"neurons": 6, x: value}, starts={"count": 10}, run={"realisations": 12})
    [found] = part.to_dict("records")
    [due] = shipped[(shipped["neurons"] == 6) & (shipped[x] == value)].to_dict("records")
    assert found["wrong"] == 0
    found["realisations"], due["realisations"] = found["networks"], due["networks"]
    for column in ("certain", "certain_by_energy", "saved", "saved_by_energy", "saved_loose"):
        assert agrees(found, due, column), (column, found[column], due[column])
