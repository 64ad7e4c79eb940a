"""Certain ends against the trajectories themselves, E2 against `energy`, the highest point of a line against a scan."""

import numpy as np
import pytest

import fasthop as fh
from fasthop.experiments.networks import (
    clique_weights,
    goe_networks,
    multipartite_graph,
    positive_definite,
    random_graphs,
)


def definite(kind, count=12, n=6, seed=2):
    if kind == "goe":
        W, b = goe_networks(n, 8.0, -0.6, 2.0, seed=seed, realisations=range(count))
    else:
        W = clique_weights(random_graphs(n, 0.6, seed=seed, realisations=range(count)), 1.5)
        b = np.ones((count, n))
    W, b = positive_definite(W, b, 0.1)
    return [fh.Memory(*each, "relu") for each in zip(W, b, strict=True)]


#: The positive example of two neurons: minima (5, −1.5), (−1.5, 5), and the saddle (10/7, 10/7) between them.
PAIR = fh.Memory([[0.8, -0.5], [-0.5, 0.8]], 1.0, "relu")


def test_definite_weights_have_the_memories_of_their_networks():
    W, b = goe_networks(6, 8.0, -0.6, 2.0, seed=2, realisations=range(12))
    other, c = positive_definite(W, b, 0.1)
    np.testing.assert_allclose(np.linalg.eigvalsh(other)[:, 0], 0.1, rtol=1e-10)
    for each in range(12):
        tables = [fh.steady_states(fh.Memory(*pair, "relu")) for pair in ((W[each], b[each]), (other[each], c[each]))]
        outputs = [sorted((*np.maximum(row.state, 0).round(7), row.stable) for row in t.itertuples()) for t in tables]
        assert outputs[0] == outputs[1]
    same = positive_definite(np.full((1, 1, 1), 3.0), np.ones((1, 1)), 0.1)
    assert (same[0].item(), same[1].item()) == (3.0, 1.0)


def test_e2_in_y_is_that_of_system_5():
    certificate = fh.states.Certificate(PAIR)
    y = np.random.default_rng(1).normal(size=(20, 2), scale=4)
    u = np.linalg.solve(PAIR.W, (y - 1).T).T
    five = fh.Memory(PAIR.W, 1.0, "relu", variable="u", R="weights")
    np.testing.assert_allclose(certificate.energy_of(y), fh.energy(five, u, "E2"), rtol=1e-12)


def test_c36_two_minima_and_the_saddle_between_them():
    certificate = fh.states.Certificate(PAIR)
    assert sorted(map(tuple, certificate.minima.round(9))) == [(-1.5, 5.0), (5.0, -1.5)]
    saddle = np.array([[10 / 7, 10 / 7]])
    np.testing.assert_allclose(certificate.barrier, certificate.energy_of(saddle).repeat(2))
    assert (certificate.barrier > certificate.energy).all()
    assert certificate.bounded
    assert certificate.end_of(saddle).tolist() == [-1]
    assert certificate.end_of([[2.0, 1.0], [1.0, 2.0]]).tolist() == [
        int(np.flatnonzero(certificate.minima[:, i] > 0)[0]) for i in (0, 1)
    ]
    # Two minima of one energy are never told apart by energy alone.
    assert certificate.end_by_energy(certificate.minima).tolist() == [-1, -1]


@pytest.mark.parametrize("kind", ["goe", "clique"])
def test_what_is_certain_comes_true_and_becomes_certain(kind):
    told, alone, several, away = 0, 0, 0, 0
    for memory in definite(kind):
        certificate = fh.states.Certificate(memory)
        starts = fh.Uniform(-3, 3).draw(60, 6, seed=1)
        several += len(certificate.minima) > 1
        for state in fh.simulate(memory, starts, t_end=60, dt=0.5, save_at=[0, 10, 30, 60]).states:
            ends = fh.settle(memory, state)
            away += (ends.kind == "diverged").sum()
            for which in (certificate.end_of(state), certificate.end_by_energy(state)):
                sure = which >= 0
                assert ends.settled[sure].all()
                np.testing.assert_allclose(ends.state[sure], certificate.minima[which[sure]], atol=1e-6)
                told, alone = told + sure.sum(), alone + (sure & (len(certificate.minima) > 1)).sum()
        last = certificate.end_of(ends.state[ends.settled])
        assert kind == "clique" or (last >= 0).all()  # among cliques energies are equal, and ties never certain
    assert told >= alone > 100
    assert several > 1
    assert kind == "clique" or away > 20


def test_where_energy_is_unbounded_being_low_proves_nothing():
    # Two neurons that excite each other: (−1, −1) is stable, beyond the saddle (1, 1) everything runs away.
    W, b = positive_definite(np.array([[[0.0, 2.0], [2.0, 0.0]]]), -np.ones((1, 2)), 0.1)
    memory = fh.Memory(W[0], b[0], "relu")
    certificate = fh.states.Certificate(memory)
    assert (len(certificate.minima), certificate.bounded) == (1, False)
    starts = fh.Uniform(-3, 5).draw(300, 2, seed=1)
    gone = fh.settle(memory, starts).kind == "diverged"
    assert 0 < gone.sum() < 300
    low = certificate.energy_of(starts) < certificate.barrier[0]
    assert (low & gone).any()
    assert (certificate.end_of(starts)[gone] == -1).all()
    later = fh.simulate(memory, starts[~gone], t_end=50, dt=0.5).state
    assert (certificate.end_of(later) == 0).mean() > 0.9
    assert (certificate.end_by_energy(starts) == -1).all()


def test_bounded_is_what_copositive_is():
    # For three neurons: no r ≥ 0 on a fine grid has rᵀ(I − W) r ≤ 0.
    grid = np.array([(i, j, 60 - i - j) for i in range(61) for j in range(61 - i)]) / 60
    found = []
    for memory in definite("goe", count=40, n=3):
        lowest = np.einsum("gi,ij,gj->g", grid, np.eye(3) - memory.W, grid).min()
        found.append(fh.states.Certificate(memory).bounded)
        assert found[-1] == (lowest > 0)
    assert 5 < sum(found) < 35


def test_the_highest_point_of_a_line_is_not_below_what_a_scan_finds():
    tight = 0
    for memory in definite("goe", count=6) + definite("clique", count=3):
        certificate = fh.states.Certificate(memory)
        y = fh.Uniform(-4, 4).draw(40, 6, seed=3)
        y[: len(certificate.minima)] = certificate.minima  # between two there is a way up
        for minimum in certificate.minima:
            climb = certificate._climb(y, minimum)
            s = np.linspace(0, 1, 2001)[:, None, None]
            heights = certificate.energy_of((y + s * (minimum - y)).reshape(-1, 6)).reshape(2001, 40)
            scanned = (heights - heights[0]).max(axis=0)
            assert (climb >= scanned - 1e-12).all()
            assert (climb <= scanned + 1e-3 * np.ptp(heights, axis=0)).all()
            tight += (scanned > 1e-6).sum()
    assert tight > 20


def test_ties_are_never_certain():
    # A winner-take-all of three: the minima have one energy, and so have the saddles between any two of them.
    W = clique_weights(multipartite_graph(3, 3)[None], 1.5)
    W, b = positive_definite(W, np.ones((1, 3)), 0.1)
    certificate = fh.states.Certificate(fh.Memory(W[0], b[0], "relu"))
    assert np.ptp(certificate.energy) < 1e-12
    assert certificate.end_of([[0.0, 0.0, 0.0]]).tolist() == [-1]


@pytest.mark.parametrize(
    ("memory", "words"),
    [
        (fh.Memory(np.eye(2)), "only the states of a ReLU memory"),
        (fh.Memory(np.ones((3, 2, 2)), 0, "relu"), "got 3 memories"),
        (fh.Memory([[0, -2.0], [-2.0, 0]], 1, "relu"), "positive definite; its smallest eigenvalue is -2"),
        (fh.Memory([[2, 1.0], [0.0, 2]], 1, "relu"), "symmetric W"),
        (fh.Memory(0.5 * np.eye(2), 1, "relu", tau=[1, 2]), "without R or tau"),
        (fh.Memory(0.5 * np.eye(2), 0, "relu"), "no degenerate steady state"),
        (fh.Memory(np.eye(2), 1, "relu"), "no singular"),
    ],
)
def test_what_has_no_certificate_is_named(memory, words):
    with pytest.raises(ValueError, match=words):
        fh.states.Certificate(memory)
