"""Numbers of memories of random networks against graph theory, and networks against what they are to be."""

import itertools

import networkx as nx
import numpy as np
import pandas as pd
import pytest

import fasthop as fh
from fasthop.experiments import memories
from fasthop.experiments.networks import clique_weights, goe_networks, multipartite_graph, random_graphs
from rows import rows_of


def task(kind, **changes):
    nothing = dict.fromkeys(("radius", "edges", "part", "inhibition"))
    given = {"network": kind, "neurons": 6, "mean": 0.0, "bias": 0.0, "starts": 100} | nothing
    given |= {"low": -3.0, "high": 3.0, "tolerance": 1e-8, "t_max": 1e4}
    assert set(changes) <= set(given)
    return given | changes


def rows(kind, realisations, seed=5, **changes):
    return rows_of(memories, task(kind, **changes), realisations, seed)


# --- networks -------------------------------------------------------------------------------------------------------


def test_goe_networks_are_those_of_goe_with_the_radius_asked_for():
    W, b = goe_networks(5, 1.7, -0.5, 2.0, seed=3, realisations=[0, 4])
    for place, number in enumerate((0, 4)):
        due = fh.goe(5, 5, seed=3)[number] - 0.5
        np.testing.assert_allclose(W[place], 1.7 * due / np.abs(np.linalg.eigvalsh(due)).max(), rtol=1e-13)
    np.testing.assert_array_equal(W, np.swapaxes(W, 1, 2))
    np.testing.assert_array_equal(goe_networks(5, 0.3, 0.0, 2.0, seed=3, realisations=[4])[1][0], b[1])
    many = goe_networks(40, 1.0, 0.0, 2.0, seed=3, realisations=range(100))[1]
    assert many.mean() == pytest.approx(2, abs=4 / np.sqrt(4000))
    assert many.std() == pytest.approx(1, abs=4 / np.sqrt(8000))


def test_random_graphs_have_edges_at_random_and_are_nested():
    graphs = random_graphs(12, 0.3, seed=1, realisations=range(200))
    assert (graphs == np.swapaxes(graphs, 1, 2)).all()
    assert not graphs[:, np.arange(12), np.arange(12)].any()
    pairs = graphs[:, *np.tril_indices(12, -1)]
    assert pairs.mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / pairs.size))
    assert (graphs <= random_graphs(12, 0.5, seed=1, realisations=range(200))).all()
    np.testing.assert_array_equal(graphs[7:8, :9, :9], random_graphs(9, 0.3, seed=1, realisations=[7]))
    assert random_graphs(4, 1.0, seed=1, realisations=[0]).sum() == 12
    assert random_graphs(4, 0.0, seed=1, realisations=[0]).sum() == 0


def test_multipartite_graphs_are_networkx_s():
    for vertices, parts in ((9, (3, 3, 3)), (8, (3, 3, 2))):
        due = nx.to_numpy_array(nx.complete_multipartite_graph(*parts)) > 0
        np.testing.assert_array_equal(multipartite_graph(vertices, 3), due)


# --- their memories -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("edges", [0.2, 0.5, 0.8])
def test_o4_memories_of_random_graphs_are_their_maximal_cliques(edges):
    found = rows("clique", range(8), neurons=9, edges=edges, inhibition=1.5, starts=2000)
    for graph, row in zip(random_graphs(9, edges, seed=5, realisations=range(8)), found.itertuples(), strict=True):
        cliques = len(list(nx.find_cliques(nx.from_numpy_array(graph))))
        assert row.stable == row.found == cliques
    assert found["stable"].nunique() > 1
    assert (found["settled"] == 2000).all()
    assert found[["astray", "degenerate"]].to_numpy().sum() == 0


def test_o3_o4_the_most_and_the_fewest_memories():
    n = 9
    [winner] = rows("clique", [0], neurons=n, edges=0.0, inhibition=1.5).to_dict("records")
    assert (winner["steady"], winner["stable"], winner["found"]) == (2**n - 1, n, n)
    [whole] = rows("clique", [0], neurons=n, edges=1.0, inhibition=1.5).to_dict("records")
    assert (whole["steady"], whole["stable"]) == (1, 1)
    [most] = rows("multipartite", [0], neurons=n, part=3, inhibition=1.5, starts=1000).to_dict("records")
    assert (most["steady"], most["stable"], most["found"]) == (7**3, 3**3, 3**3)


def test_c53_one_memory_below_radius_one_and_two_above():
    w = np.array([0.5, 0.99, 0.999999, 1.000001, 1.01, 2, 50])
    counts = fh.states.count_steady_states(fh.Memory(w[:, None, None] * [[0, -1], [-1, 0]], 1.0, "relu"))
    assert counts["stable"].tolist() == [1, 1, 1, 2, 2, 2, 2]
    assert counts["steady"].tolist() == [1, 1, 1, 3, 3, 3, 3]
    [row] = rows("clique", [0], neurons=2, edges=0.0, inhibition=1.01).to_dict("records")
    assert (row["steady"], row["stable"], row["found"]) == (3, 2, 2)


@pytest.mark.parametrize("mean", [0.0, -1.0, 1.0])
def test_c52_below_radius_one_there_is_exactly_one_memory(mean):
    found = rows("goe", range(40), neurons=7, radius=0.99, mean=mean, bias=1.0)
    for name in ("steady", "stable", "found"):
        assert (found[name] == 1).all()
    summary = memories.summarise(found)
    assert summary[["one", "none", "several", "diverged"]].to_numpy().tolist() == [[1, 0, 0, 0]]
    assert summary["one_low"][0] > 0.9


def test_beyond_radius_one_networks_run_away_or_have_several_memories():
    found = rows("goe", range(60), neurons=7, radius=4.0, bias=2.0, mean=-0.5)
    assert (found["stable"] == 0).any()
    assert (found["stable"] > 1).any()
    assert ((found["settled"] == 0) == (found["found"] == 0)).all()
    assert (found["found"] <= found["stable"]).all()
    assert (found["diverged"] > 0).any()
    assert found["astray"].sum() == 0
    assert (found[["settled", "unsettled", "diverged"]].sum(axis=1) == found["starts"]).all()
    W, b = goe_networks(7, 4.0, -0.5, 2.0, seed=5, realisations=range(60))
    alone = [int(fh.steady_states(fh.Memory(*each, "relu"))["stable"].sum()) for each in zip(W, b, strict=True)]
    assert found["stable"].tolist() == alone


def test_rows_do_not_depend_on_their_chunk():
    many = rows("goe", range(5), radius=2.0, mean=-0.5)
    for number in (0, 3):
        alone = rows("goe", [number], radius=2.0, mean=-0.5)
        pd.testing.assert_frame_equal(many[many["realisation"] == number].reset_index(drop=True), alone)


def test_a_summary_pools_networks():
    found = rows("goe", range(30), radius=4.0, mean=-0.5, bias=2.0)
    [row] = memories.summarise(found).to_dict("records")
    assert row["stable"] == found["stable"].mean()
    assert row["stable_low"] < row["stable"] < row["stable_high"]
    assert row["none"] + row["one"] + row["several"] == pytest.approx(1)
    assert row["found_share"] == found["found"].sum() / found["stable"].sum()
    assert row["most"] == found["stable"].max()


@pytest.mark.parametrize(
    ("kind", "changes", "path", "words"),
    [
        ("goe", {}, "network.radius", "is missing"),
        ("clique", {"edges": 0.5}, "network.inhibition", "is missing"),
        ("clique", {"edges": 0.5, "inhibition": 1.5, "mean": -1.0}, "network.mean", "must be left out"),
        ("goe", {"radius": 1.0, "edges": 0.5}, "network.edges", 'must be left out for network.kind = "goe"; got 0.5'),
        ("goe", {"radius": 1.0, "high": -3.0}, "starts.high", "above starts.low"),
    ],
)
def test_what_does_not_go_together_is_named(kind, changes, path, words):
    [(where, sentence)] = memories.problems(task(kind, **changes))
    assert where == path
    assert words in sentence
    assert memories.problems(task("goe", radius=1.0)) == []


def test_clique_weights_inhibit_where_there_is_no_edge():
    W = clique_weights(multipartite_graph(4, 2), 2.0)
    for i, j in itertools.product(range(4), repeat=2):
        assert W[i, j] == (-2.0 if i // 2 == j // 2 and i != j else 0.0)


@pytest.mark.parametrize(("kind", "swept"), [("goe", {"radius": [0.5, 2.0]}), ("clique", {"edges": [0.2, 0.8]})])
def test_the_picture_is_a_png(tmp_path, kind, swept):
    [(name, values)] = swept.items()
    more = {"inhibition": 1.5} if kind == "clique" else {}
    found = pd.concat([rows(kind, range(3), **{name: value}, **more) for value in values])
    memories.plot(memories.summarise(found), tmp_path / "m.png")
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")
