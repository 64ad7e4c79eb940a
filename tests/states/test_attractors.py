"""Which ends are one attractor: whatever the tolerance and the dtype, and neuron by neuron."""

import itertools

import numpy as np
import pytest

import fasthop as fh
from fasthop.states.attractors import label, same

FIGURE_1 = ([[0.2, -1.5], [-1.5, 0.1]], [1.0, 0.8])
STABLE = [[1.25, -1.075], [-1 / 3, 8 / 9]]
PAIR = [[0.0, -2.0], [-2.0, 0.0]]


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float64, 1e-4), (np.float32, 1e-5)])
@pytest.mark.parametrize("variable", ["y", "u"])
def test_figure_1_has_two_attractors_in_every_dtype_and_at_every_tolerance(variable, dtype, tolerance):
    memory = fh.Memory(*FIGURE_1, "relu", variable=variable, dtype=dtype)
    starts = fh.Uniform(-3, 3).draw(20_000, 2, seed=1)
    table = fh.basins(memory, starts, tolerance=tolerance)
    due = np.array(STABLE) if variable == "y" else np.maximum(STABLE, 0)
    found = np.array(sorted(table["state"].tolist(), key=lambda state: -state[0]))
    np.testing.assert_allclose(found, due, atol=1e-6)
    ends = fh.settle(memory, starts, tolerance=tolerance)
    assert fh.census(memory, ends)["attractor"].nunique() == 2
    if variable == "y":
        np.testing.assert_allclose(table["share"], [0.616, 0.384], atol=0.01)  # .614 and .386, standard error .0015


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float64, 1e-4), (np.float32, 1e-5)])
def test_a_slice_of_figure_1_has_two_attractors(dtype, tolerance):
    memory = fh.Memory(*FIGURE_1, "relu", dtype=dtype)
    plane = fh.geometry.basin_slice(
        memory, [0, 0], [1, 0], [0, 1], extent=(-3, 3, -3, 3), resolution=40, tolerance=tolerance
    )
    assert len(plane.attractors) == 2
    assert plane.changed == 0
    known = fh.geometry.basin_slice(
        memory, [0, 0], [1, 0], [0, 1], extent=(-3, 3, -3, 3), resolution=40, tolerance=tolerance, attractors=STABLE
    )
    assert len(known.attractors) == 2


@pytest.mark.parametrize("tolerance", [1e-3, 1e-4, 1e-6, 1e-10])
def test_radii_are_right_at_every_tolerance(tolerance):
    """(1, −1) and (−1, 1) with the boundary y₁ = y₂ between them, √2 away from both."""
    memory = fh.Memory(PAIR, 1.0, "relu")
    found = fh.geometry.radii(memory, [[1.0, -1.0], [-1.0, 1.0]], rays=20, bound=3.0, tolerance=tolerance, seed=2)
    aimed = found[found["direction"] == "memory"]
    assert (aimed["lower"] <= 2**0.5 * 1.001).all()
    assert (aimed["upper"] >= 2**0.5 * 0.999).all()
    verified = found[found["verified"]]
    assert len(verified) >= 38
    for ray in verified[~verified["censored"]].itertuples():
        assert ray.upper >= 2**0.5 * 0.999
        assert ray.neighbour == 1 - ray.attractor
    if tolerance <= 1e-4:
        assert found["verified"].all()


@pytest.mark.parametrize("activation", ["tanh", "relu", "leaky_relu", "softplus", "sigmoid", "smooth_leaky_relu"])
@pytest.mark.parametrize("variable", ["y", "u"])
def test_a_loose_tolerance_finds_the_attractors_of_a_tight_one(variable, activation):
    """Of 20 random memories of 3 to 8 neurons; a start that a loose tolerance leaves at a saddle counts for itself."""
    rng = np.random.default_rng(8)
    for neurons in range(3, 9):
        A = rng.normal(size=(neurons, neurons))
        W = 0.9 * (A + A.T) / np.sqrt(2 * neurons) if activation != "tanh" else (A + A.T) / np.sqrt(neurons)
        starts = 3 * rng.normal(size=(300, neurons))
        memory = fh.Memory(W, rng.normal(size=neurons), activation, variable=variable)
        tight = fh.census(memory, fh.settle(memory, starts))
        loose = fh.census(memory, fh.settle(memory, starts, tolerance=1e-4))
        both = (tight["attractor"] >= 0) & (loose["attractor"] >= 0) & (loose["verdict"] == "stable")
        pairs = set(zip(tight["attractor"][both], loose["attractor"][both], strict=True))
        firsts = [pair[0] for pair in pairs]
        assert len(firsts) == len(set(firsts)) == len({pair[1] for pair in pairs})


def test_a_large_neuron_does_not_hide_two_attractors():
    for size in (3e6, 1e9):
        memory = fh.Memory([[0, -2, 0], [-2, 0, 0], [0, 0, 0]], [1, 1, size], "relu")
        starts = np.array([[2.0, 1.0, size], [1.0, 2.0, size], [3.0, 1.0, size]])
        table = fh.basins(memory, starts, escape=1e12)
        assert table["hits"].tolist() == [2, 1]
        assert fh.census(memory, fh.settle(memory, starts, escape=1e12))["attractor"].tolist() == [0, 1, 0]


def test_neurons_of_all_sizes_are_counted_and_judged():
    """A pair of 1e-5 beside one of −1e6: the pair's three states, two of them stable."""
    memory = fh.Memory([[0, 0, 0], [0, 0, -2], [0, -2, 0]], [-1e6, 1e-5, 1e-5], "relu")
    table = fh.steady_states(memory)
    assert table["kind"].tolist() == ["isolated"] * 3
    assert table["stable"].tolist() == [True, True, False]
    due = [[-1e6, 1e-5, -1e-5], [-1e6, -1e-5, 1e-5], [-1e6, 1e-5 / 3, 1e-5 / 3]]
    np.testing.assert_allclose(np.array(table["state"].tolist()), due, rtol=1e-12)
    counts = fh.states.count_steady_states(memory).iloc[0]
    assert counts.tolist() == [3, 2, 0]


def test_units_of_the_neurons_change_no_count():
    """ReLU with D W D⁻¹ and D b has the states D y: D of twelve decades."""
    rng = np.random.default_rng(4)
    for _ in range(60):
        n = int(rng.integers(2, 8))
        A = rng.normal(size=(n, n))
        W, b = 0.6 * (A + A.T), rng.normal(size=n)
        units = 2.0 ** rng.integers(-20, 21, n)
        plain = fh.steady_states(fh.Memory(W, b, "relu"))
        scaled = fh.steady_states(fh.Memory(units[:, None] * W / units, units * b, "relu"))
        assert len(plain) == len(scaled)
        due, found = (np.array(table["state"].tolist()) for table in (plain, scaled))
        for state in due * units if len(due) else due:
            assert (np.abs(found - state) <= 1e-9 * np.abs(state)).all(axis=1).any()


def test_points_are_the_same_neuron_by_neuron():
    centre = np.array([[1e9, 1.0, 1e-9]])
    for change, due in [([500, 0, 0], True), ([2000, 0, 0], False), ([0, 9e-7, 0], True), ([0, 2e-6, 0], False)]:
        assert same(centre + change, centre).tolist() == [due]


def test_labels_are_those_of_all_pairs():
    rng = np.random.default_rng(5)
    for width, spread in itertools.product((1, 3, 20), (1e-7, 1e-3)):
        centres = 10.0 ** rng.integers(-3, 8, (6, width)) * rng.normal(size=(6, width))
        which = rng.integers(0, 6, 200)
        points = centres[which] + spread * 1e-3 * np.maximum(1, np.abs(centres[which])) * rng.uniform(
            -1, 1, (200, width)
        )
        labels, firsts = label(points, np.ones(200, bool))
        due = np.empty(200, np.int64)
        for row in range(200):
            alike = (
                [r for r in np.unique(due[:row]) if same(points[row : row + 1], points[r : r + 1])[0]] if row else []
            )
            due[row] = alike[0] if alike else row
        np.testing.assert_array_equal(firsts[labels], due)
