"""Steady states: the enumeration against a NumPy one and exact theorems, the search against both."""

import itertools

import networkx as nx
import numpy as np
import pytest

import fasthop as fh
import naive


def draw(n, seed, symmetric=True):
    """Neurons that mostly inhibit each other, which have many steady states."""
    rng = np.random.default_rng([n, seed])
    M = rng.standard_normal((n, n)) - 1
    return (M + M.T) / 2 if symmetric else M, 1 + 0.5 * rng.standard_normal(n)


def by_hand(W, b):
    """Every support in turn with NumPy's solver: alive set → state."""
    n, found = len(b), {}
    for bits in itertools.product([False, True], repeat=n):
        alive = np.array(bits)
        y = b.copy()
        y[alive] = np.linalg.solve(np.eye(alive.sum()) - W[np.ix_(alive, alive)], b[alive])
        y[~alive] += W[np.ix_(~alive, alive)] @ y[alive]
        if (y[alive] > 0).all() and (y[~alive] <= 0).all():
            found[bits] = y
    return found


def states(table):
    return np.array(table["state"].tolist()).reshape(len(table), -1 if len(table) else 0)


def supports(table):
    return [tuple(state > 0) for state in table["state"]]


# --- exact ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_enumeration_is_what_numpy_finds(n, symmetric):
    total = 0
    for seed in range(12):
        W, b = draw(n, seed, symmetric)
        table, due = fh.steady_states(fh.Memory(W, b, "relu")), by_hand(W, b)
        assert sorted(supports(table)) == sorted(due)
        for bits, state, stable in zip(supports(table), states(table), table["stable"], strict=True):
            np.testing.assert_allclose(state, due[bits], atol=1e-9)
            block = W[np.ix_(*[np.flatnonzero(bits)] * 2)]
            assert stable == (np.linalg.eigvals(block).real.max(initial=-1) < 1)
        assert set(table["found_by"]) <= {"exact"}
        np.testing.assert_array_equal(table["k"], (states(table) <= 0).sum(axis=1))
        total += len(table)
    assert total > 4


def test_c27a_variable_u_has_the_same_steady_states():
    W, b = draw(5, 3)
    y = states(fh.steady_states(fh.Memory(W, b, "relu")))
    u = states(fh.steady_states(fh.Memory(W, b, "relu", variable="u", R="gradient")))
    assert sorted(map(tuple, u.round(9))) == sorted(map(tuple, naive.relu(y).round(9)))


def test_time_constants_change_no_verdict():
    W, b = draw(6, 0)
    plain = fh.steady_states(fh.Memory(W, b, "relu"))
    paced = fh.steady_states(fh.Memory(W, b, "relu", tau=np.linspace(0.5, 4, 6)))
    assert len(plain) > 1
    np.testing.assert_array_equal(plain["stable"], paced["stable"])
    np.testing.assert_array_equal(fh.stability(fh.Memory(W, b, "relu"), states(plain)).verdict, plain["verdict"])


def test_o2_supports_of_stable_states_are_an_antichain():
    pairs = 0
    for seed in range(60):
        W, b = draw(8, seed)
        table = fh.steady_states(fh.Memory(W, b, "relu"))
        stable = [set(np.flatnonzero(state > 0)) for state in table[table["stable"]]["state"]]
        for one, other in itertools.permutations(stable, 2):
            assert not one <= other
            pairs += 1
    assert pairs > 20


@pytest.mark.parametrize("n", [2, 5, 11])
def test_o3_winner_takes_all(n):
    table = fh.steady_states(fh.Memory(-1.5 * (np.ones((n, n)) - np.eye(n)), 1.0, "relu"))
    assert len(table) == 2**n - 1
    assert table["stable"].sum() == n
    assert (states(table[table["stable"]]) > 0).sum(axis=1).tolist() == [1] * n


def clique_memory(graph):
    W = np.where(nx.to_numpy_array(graph) > 0, 0.0, -1.5)
    np.fill_diagonal(W, 0)
    return fh.Memory(W, 1.0, "relu")


@pytest.mark.parametrize("seed", range(12))
def test_o4_stable_states_are_maximal_cliques(seed):
    graph = nx.gnp_random_graph(9, 0.5, seed=seed)
    table = fh.steady_states(clique_memory(graph))
    found = sorted(sorted(np.flatnonzero(state > 0).tolist()) for state in table[table["stable"]]["state"])
    assert found == sorted(sorted(clique) for clique in nx.find_cliques(graph))


def test_o4_a_multipartite_graph_has_the_most():
    table = fh.steady_states(clique_memory(nx.complete_multipartite_graph(3, 3, 3)))
    assert len(table) == 343
    assert table["stable"].sum() == 27


# --- Appendix C -----------------------------------------------------------------------------------------------------


def test_c52_below_radius_one_there_is_one_memory():
    for seed in range(40):
        W, b = draw(7, seed)
        table = fh.steady_states(fh.Memory(0.999 * W / np.abs(np.linalg.eigvalsh(W)).max(), b, "relu"))
        assert table["stable"].tolist() == [True]


def test_c52_without_symmetry_there_can_be_two():
    W = np.array([[1.657, -0.783], [3.747, -1.789]])
    assert np.abs(np.linalg.eigvals(W)).max() < 0.3
    table = fh.steady_states(fh.Memory(W, [-0.188, -1.648], "relu"))
    stable = states(table[table["stable"]])
    stable = stable[np.argsort(stable[:, 0])]
    assert (stable[0] < 0).all()
    np.testing.assert_allclose(stable[1], [0.695, 0.343], atol=2e-3)


@pytest.mark.parametrize(("w", "kinds"), [(0.99, [True]), (1.01, [True, True, False]), (5, [True, True, False])])
def test_c53_the_bound_is_sharp(w, kinds):
    assert fh.steady_states(fh.Memory([[0, -w], [-w, 0]], 1.0, "relu"))["stable"].tolist() == kinds


def test_c52_at_radius_one_states_need_not_be_isolated():
    ray = fh.steady_states(fh.Memory([[1.0]], 0.0, "relu"))
    assert ray[["kind", "verdict"]].to_numpy().tolist() == [["degenerate", "undecided"]]
    assert fh.steady_states(fh.Memory([[1.0]], 1.0, "relu")).empty
    segment = fh.steady_states(fh.Memory([[0, -1], [-1, 0]], 1.0, "relu"))
    assert segment["kind"].tolist() == ["degenerate"]
    np.testing.assert_allclose(segment["state"][0], [0.5, 0.5], atol=1e-9)


def test_a_state_with_a_neuron_at_zero_is_reported_once():
    # y = (1, 0): the second neuron is held at exactly 0, which two supports could claim.
    table = fh.steady_states(fh.Memory([[0.0, 0.3], [-1.0, 0.2]], [1.0, 1.0], "relu"))
    assert table["kind"].tolist() == ["degenerate"]
    np.testing.assert_allclose(table["state"][0], [1, 0], atol=1e-12)
    many = fh.steady_states(fh.Memory(np.zeros((6, 6)), 0.0, "relu"))
    assert len(many) == 1
    assert many["k"].tolist() == [6]


# --- the figures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("W", "b", "stable", "saddles"),
    [
        ([[0.2, -1.5], [-1.5, 0.1]], [1, 0.8], [(-1 / 3, 8 / 9), (1.25, -1.075)], [(10 / 51, 86 / 153)]),
        ([[0, -2], [-2, 0]], [1, 1], [(-1, 1), (1, -1)], [(1 / 3, 1 / 3)]),
        ([[0.3, -0.6], [-0.6, 0.2]], [1, 0.2], [(10 / 7, -23 / 35)], []),
        ([[0, 2], [2, 0]], [-1, -1], [(-1, -1)], [(1, 1)]),
    ],
    ids=["A", "B", "C", "D"],
)
def test_c59_sets_a_to_d(W, b, stable, saddles):
    table = fh.steady_states(fh.Memory(W, b, "relu"))
    for due, flag in ((stable, True), (saddles, False)):
        found = np.array(sorted(map(tuple, table[table["stable"] == flag]["state"]))).reshape(-1, 2)
        np.testing.assert_allclose(found, np.reshape(due, (-1, 2)), atol=1e-12)


def test_c59_stability_depends_on_the_system():
    one = fh.Memory([[0.2, -1.5], [-1.5, 0.1]], [1, 0.8], "relu")
    nine = fh.Memory([[0.2, -1.5], [-1.5, 0.1]], [1, 0.8], "relu", R="gradient")
    assert fh.steady_states(one)["stable"].sum() == 2
    assert fh.steady_states(nine)["stable"].sum() == 3


def test_c60_two_stable_states_and_no_bound_below():
    W = [[0, -2, 0], [-2, 0, 0], [0, 0, 2]]
    memory = fh.Memory(W, [1, 1, -1], "relu")
    assert fh.steady_states(memory)["stable"].sum() == 2
    assert fh.energy(memory, [[0, 0, 1e6]])[0] < -1e11


def test_c60_a_compact_flat_region_counts_once():
    table = fh.steady_states(fh.Memory([[0.5]], 0.0, "soft_threshold"))
    assert table["verdict"].tolist() == ["stable"]
    assert table["k"].tolist() == [1]
    np.testing.assert_allclose(table["state"][0], [0.0], atol=1e-9)


# --- search ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_a_search_finds_what_enumeration_finds(seed):
    memory = fh.Memory(*draw(4, seed), "relu")
    exact, found = fh.steady_states(memory), fh.steady_states(memory, exact=False, seed=seed)
    assert set(found["found_by"]) <= {"search"}
    assert sorted(supports(found)) == sorted(supports(exact))
    np.testing.assert_array_equal(found["stable"], exact["stable"])
    np.testing.assert_allclose(states(found), states(exact), atol=1e-9)


FOLD = np.arctanh(np.sqrt(0.5))  # w sech² y = 1 for w = 2
BOUND = 2 * np.tanh(FOLD) - FOLD


@pytest.mark.parametrize(
    ("w", "b", "stable"),
    [
        (0.9, 0.0, [True]),
        (0.9, 0.4, [True]),
        (2.0, 0.0, [True, True, False]),
        (2.0, BOUND - 1e-3, [True, True, False]),
        (2.0, -BOUND + 1e-3, [True, True, False]),
        (2.0, BOUND + 1e-3, [True]),
    ],
)
def test_o5_the_fold_of_one_tanh_neuron(w, b, stable):
    assert pytest.approx(0.532840, abs=1e-6) == BOUND
    table = fh.steady_states(fh.Memory([[w]], [b]))
    assert table["stable"].tolist() == stable
    for (y,) in table["state"]:
        assert abs(w * np.tanh(y) + b - y) <= 1e-10


def test_starts_of_ones_own():
    table = fh.steady_states(fh.Memory([[2.0]], 0.0), starts=[[3.0]])
    np.testing.assert_allclose(states(table), [[1.9150080481545375]], atol=1e-9)


def test_a_dense_associative_memory_is_searched_with_a_step_of_ones_own():
    # y = w y² for y > 0: 0 is stable, 1/w is not, and beyond it trajectories blow up in finite time.
    memory = fh.Memory([[0.5]], 0.0, fh.RectifiedPower(3))
    with pytest.raises(ValueError, match="dt must be given"):
        fh.steady_states(memory)
    table = fh.steady_states(memory, dt=0.02, starts=np.linspace(-1, 3, 41)[:, None])
    assert table["stable"].tolist() == [True, False]
    np.testing.assert_allclose(states(table), [[0.0], [2.0]], atol=1e-9)


def test_c6_a_softmax_memory_has_one_dead_direction():
    patterns = fh.random_patterns(3, 8, seed=2)
    W = np.block([[np.zeros((8, 8)), patterns.T], [patterns, np.zeros((3, 3))]])
    table = fh.steady_states(fh.Memory(W, layers=[(8, "identity"), (3, "softmax")]), n=100)
    assert table["k"].tolist() == [1] * len(table)
    assert table["stable"].sum() == 3
    for state in table[table["stable"]]["state"]:
        assert np.abs(patterns @ np.sign(state[:8])).max() == 8


@pytest.mark.parametrize(
    ("memory", "options", "words"),
    [
        (fh.Memory(np.eye(2), variable="v"), {}, "memory must have variable = 'y' or 'u'; got 'v'"),
        (fh.Memory(np.eye(2)), {"exact": True}, "exact must be False here.*only the states of a ReLU.*got tanh"),
        (fh.Memory(np.eye(25), 0, "relu"), {"exact": True}, "exact must be False here.*at most 24 neurons.*got 25"),
        (fh.Memory(np.eye(2), 0, "relu"), {"exact": True, "n": 5}, "starts and n belong to a search"),
        (fh.Memory(np.zeros((2, 3, 3))), {}, "memory must be one memory; got 2"),
        (fh.Memory(np.eye(14), 0, "relu"), {}, "Search with exact=False"),
    ],
)
def test_bad_input_is_one_sentence(memory, options, words):
    with pytest.raises(ValueError, match=words):
        fh.steady_states(memory, **options)


# --- many at once ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
def test_counts_are_those_of_each_memory_alone(threads, monkeypatch):
    drawn = [draw(6, seed) for seed in range(9)]
    W, b = np.array([W for W, _ in drawn]), np.array([b for _, b in drawn])
    monkeypatch.setattr("numba.get_num_threads", lambda: threads)
    counts = fh.states.count_steady_states(fh.Memory(W, b, "relu"))
    assert counts["steady"].tolist() == [len(by_hand(*each)) for each in drawn]
    assert counts["stable"].tolist() == [
        int(fh.steady_states(fh.Memory(*each, "relu"))["stable"].sum()) for each in drawn
    ]
    assert (counts["degenerate"] == 0).all()
    assert counts["stable"].nunique() > 1


def test_counts_tell_what_is_degenerate():
    # A segment of states, a state with a neuron at 0, one state, none.
    W = [[[0, -1], [-1, 0]], [[0, 0], [0, 0]], [[0, -0.5], [-0.5, 0]], [[1.5, 0], [0, 1.5]]]
    counts = fh.states.count_steady_states(fh.Memory(W, [[1, 1], [1, 0], [1, 1], [1, 1]], "relu"))
    assert counts.to_numpy().tolist() == [[1, 0, 1], [1, 0, 1], [1, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("memory", "words"),
    [
        (fh.Memory(np.eye(3)), "only the states of a ReLU memory"),
        (fh.Memory(np.eye(25), activation="relu"), "at most 24 neurons"),
        (fh.Memory([[0, 1], [2, 0]], 0, "relu"), "symmetric W"),
        (fh.Memory(np.eye(2), 0, "relu", R="gradient"), "must have R = 'identity'"),
    ],
)
def test_what_cannot_be_counted_is_named(memory, words):
    with pytest.raises(ValueError, match=words):
        fh.states.count_steady_states(memory)
