"""What ends are: false memories, kinks, attractors and the census of them."""

import numpy as np
import pandas as pd
import pytest

import fasthop as fh
from fasthop.dynamics.ensemble import METHODS, integrate
from fasthop.states.attractors import label
from fasthop_kernels.dynamics import ensemble as kernels

FIGURE_1 = ([[0.2, -1.5], [-1.5, 0.1]], [1.0, 0.8], "relu")


# --- kinks ----------------------------------------------------------------------------------------------------------


def random_memory(seed, radius, **options):
    rng = np.random.default_rng(seed)
    M = rng.standard_normal((4, 4))
    W = (M + M.T) / 2
    W *= radius / np.abs(np.linalg.eigvalsh(W)).max()
    b, starts = rng.standard_normal(4), 2 * rng.standard_normal((20, 4))
    return fh.Memory(W, b, "relu", **options), starts


def with_a_steady_state(radius, R, count):
    memories, seed = [], 0
    while len(memories) < count:
        memory, starts = random_memory(seed, radius, R=R)
        if len(fh.steady_states(memory)):
            memories.append((memory, starts))
        seed += 1
    return memories


@pytest.fixture(scope="module")
def kinky():
    """A memory and starts of which some end on a kink."""
    for memory, starts in with_a_steady_state(1.5, "gradient", 25):
        if (fh.settle(memory, starts, t_max=3000).kind == "kink").any():
            return memory, starts
    raise AssertionError("no memory has kinks")


@pytest.mark.parametrize("R", ["gradient", "gradient-as-printed"])
def test_c47_trajectories_are_held_on_kinks(R):
    kinds = []
    for memory, starts in with_a_steady_state(1.5, R, 25):
        ends = fh.settle(memory, starts, t_max=3000)
        kinds += ends.kind.tolist()
        held = ends.kind == "kink"
        if held.any():
            assert (ends.residual[held] > 1e-5).all()
            # Neither is ẏ small nor does y go anywhere: it is on a kink, some y_i ≈ 0 within what one step moves.
            h = float(ends.dt)
            later = fh.simulate(memory, ends.state[held], t_end=300 * h, dt=h).state
            path = fh.simulate(memory, ends.state[held], t_end=300 * h, dt=h, save_at=np.arange(301) * h).states
            longest = np.abs(np.diff(path, axis=0)).max(axis=(0, 2))
            assert (longest > 1e-7).all()
            assert (np.abs(later - ends.state[held]).max(axis=1) < 4 * longest).all()
            assert (np.abs(path).min(axis=(0, 2)) < 0.2 * np.maximum(1, longest)).all()
    share = np.mean(np.array(kinds) == "kink")
    assert 0.02 < share < 0.3  # about 10 % in a script of its own
    assert set(kinds) <= {"settled", "kink", "unsettled", "false_memory"}


def test_c47_a_contraction_has_no_kinks():
    for seed in range(10):
        memory, starts = random_memory(seed, 0.95, R="gradient")
        assert fh.settle(memory, starts).settled.all()


def test_system_1_has_no_kinks():
    for seed in range(10):
        memory, starts = random_memory(seed, 0.95)
        assert fh.settle(memory, starts).settled.all()


def held_at(path_of, steps=60_000, longest=lambda clock: 1.0):
    """Run the first two neurons of a path, lane 3 of 4, through the test of the kernel; return when it is held."""
    y, anchor, since, length = np.zeros(8), np.zeros(2), np.zeros(1, np.int64), np.zeros(1)
    for clock in range(steps):
        y[3], y[7] = path_of(clock)
        length[0] = max(length[0], longest(clock))
        if clock % kernels.WINDOW in (0, kernels.OFFSET) and kernels._is_held(y, 3, 4, clock, anchor, since, length):
            return clock
    return None


def test_only_what_stays_is_held():
    assert kernels.PATIENCE <= held_at(lambda t: (t % 2, 0)) < 2 * kernels.PATIENCE
    # Chatter that slides along the kink, below the documented limit and above it.
    assert held_at(lambda t: (t % 2, t / 300)) is None
    assert held_at(lambda t: (t % 2, t / 900)) is None
    assert held_at(lambda t: (t % 2, t / 5000)) is not None
    # Orbits, also those that pass their anchor at one of the two.
    window, offset = kernels.WINDOW, kernels.OFFSET
    for period in (window, offset, window - offset, window / 2, offset / 5, (window - offset) / 7, 15.3, 333.3):
        turn, radius = 2 * np.pi / period, period / (2 * np.pi)
        assert held_at(lambda t, w=turn, r=radius: (r * np.cos(w * t), r * np.sin(w * t))) is None
    # Chatter of a hundred steps forth and one back; creeping on after one long step.
    assert held_at(lambda t: ((t % 100) / 100, 0)) is not None
    assert held_at(lambda t: (-5.0 if t == 0 else 1e-4 * t, 0), longest=lambda t: 5.0 if t == 1 else 1e-4) is None
    # Straight on.
    assert held_at(lambda t: (t, 0)) is None


def test_a_kink_that_is_still_approached_is_unsettled(kinky):
    memory, starts = kinky
    ends = fh.settle(memory, starts, t_max=3000)
    assert (ends.kind == "kink").any()
    early = fh.settle(memory, starts, t_max=float(ends.time[ends.kind == "kink"].min()) * 0.9)
    assert (early.kind[ends.kind == "kink"] == "unsettled").all()


def test_kinks_do_not_depend_on_the_tile(kinky):
    memory, starts = kinky
    h = fh.default_step(memory)
    runs = [
        integrate(memory, starts, METHODS["rk4"].method, h, 20_000, tolerance=1e-10, escape=1e9, lanes=lanes)
        for lanes in (8, 48)
    ]
    assert (runs[0].kind == "kink").any()
    for name in ("state", "status", "residual", "steps"):
        np.testing.assert_array_equal(getattr(runs[0], name), getattr(runs[1], name))


def test_c45_false_memories_of_a_chain_of_seven_layers():
    W = (np.eye(7, k=1) + np.eye(7, k=-1)) / 2
    x, v = 2.1435540719, np.sin(np.pi * np.arange(1, 8) / 8)
    g = fh.SmoothLeakyReLU().g(np.full(7, x))
    for t, norm in ((-0.3, 0.60), (-1.0, 2.0)):
        u = g + t * v
        memory = fh.Memory(W, x - W @ u, "smooth_leaky_relu", variable="u", R="gradient")
        start = u + 1e-3 * np.random.default_rng(0).standard_normal((20, 7))
        ends = fh.settle(memory, start, t_max=1e5, tolerance=1e-8)
        assert (ends.kind == "false_memory").any()
        lost = fh.residual(memory, ends.state[ends.kind == "false_memory"])
        np.testing.assert_allclose(np.linalg.norm(lost, axis=1), norm, atol=0.02)


# --- attractors -----------------------------------------------------------------------------------------------------


def test_labels_do_not_depend_on_how_near_the_ends_lie_within_the_tolerance():
    states = np.array([[1.0, 0.0], [0.0, 1.0], [1.0 + 5e-7, 0.0], [np.nan, 0.0], [1.0 + 5e-6, 0.0]])
    labels, representatives = label(states, np.array([True, True, True, False, True]))
    assert labels.tolist() == [0, 1, 0, -1, 2]
    assert representatives.tolist() == [0, 1, 4]


def greedy(points, settled, tolerance=1e-6):
    """Every state against the first of every attractor, in order."""
    firsts, labels = [], []
    for point, good in zip(points, settled, strict=True):
        near = [
            a
            for a, f in enumerate(firsts)
            if good and (np.abs(point - f) <= tolerance * np.maximum(1, np.abs(f))).all()
        ]
        if good and not near:
            firsts.append(point)
            near = [len(firsts) - 1]
        labels.append(near[0] if good else -1)
    return np.array(labels)


@pytest.mark.parametrize("spread", [0, 3e-7, 2e-6])
def test_attractors_are_those_of_comparing_all_with_all(spread):
    rng = np.random.default_rng(3)
    centres = 10 ** rng.uniform(-1, 2, (12, 1)) * rng.standard_normal((12, 3))
    points = centres[rng.integers(12, size=500)] + spread * rng.uniform(-1, 1, (500, 3))
    settled = rng.random(500) < 0.9
    labels, representatives = label(points, settled)
    np.testing.assert_array_equal(labels, greedy(points, settled))
    np.testing.assert_array_equal(labels[representatives], np.arange(len(representatives)))


def test_nothing_settled_is_no_attractor():
    labels, representatives = label(np.zeros((3, 2)), np.zeros(3, bool))
    assert labels.tolist() == [-1, -1, -1]
    assert representatives.size == 0


def test_c26b_points_of_one_flat_region_are_one_attractor():
    # With a loose tolerance ends differ in the dead neuron far more than attractors may.
    memory = fh.Memory(*FIGURE_1)
    y, c = np.array([1.25, -1.075]), np.linspace(0, 1e-3, 7)[:, None]
    ends = fh.settle(memory, y - c * np.array([0.0, 1.0]), tolerance=1e-2)
    assert ends.settled.all()
    assert np.ptp(ends.state[:, 1]) > 1e-4
    assert fh.basins(memory, y - c * np.array([0.0, 1.0]), tolerance=1e-2)["hits"].tolist() == [7]
    assert fh.census(memory, ends)["attractor"].tolist() == [0] * 7


# --- polishing ------------------------------------------------------------------------------------------------------


def test_polishing_squares_the_error_and_says_how_far_it_moved():
    memory = fh.Memory([[2.0, -0.3], [-0.3, 1.5]], [0.1, -0.2])
    ends = fh.settle(memory, np.random.default_rng(0).standard_normal((30, 2)), tolerance=1e-4)
    found = fh.states.polish(memory, ends.state)
    assert found.residual.max() < 1e-14
    assert (found.moved > 0).all()
    assert found.moved.max() < 1e-2
    np.testing.assert_allclose(found.moved, np.abs(found.state - ends.state).max(axis=1))


def test_polishing_does_not_leave_the_basin():
    # From (.3, .5) Newton's method goes to the saddle or further; it must not where the reach is short.
    memory = fh.Memory(*FIGURE_1)
    start = np.array([[0.3, 0.5]])
    assert fh.states.polish(memory, start, reach=np.inf).moved[0] > 0.05
    kept = fh.states.polish(memory, start)
    assert kept.moved.tolist() == [0.0]
    np.testing.assert_array_equal(kept.state, start)


def test_polishing_at_a_singular_jacobian():
    found = fh.states.polish(fh.Memory([[1.0]], 0.0, "relu"), [[2.0]])  # every y ≥ 0 is steady
    assert found.state.tolist() == [[2.0]]
    stuck = fh.states.polish(fh.Memory([[1.0]], 1e-4, "relu"), [[2.0]])  # and here none is
    assert stuck.moved.tolist() == [0.0]


# --- census ---------------------------------------------------------------------------------------------------------


def test_c59_the_census_of_figure_1():
    memory = fh.Memory(*FIGURE_1)
    starts = fh.Uniform(-3, 3).draw(20_000, 2, seed=1)
    table = fh.census(memory, fh.settle(memory, starts, dt=0.25))
    assert len(table) == 20_000
    assert (table["kind"] == "settled").all()
    assert table["moved"].max() < 1e-9
    one = {row.dead: row for row in table.drop_duplicates("attractor").itertuples()}
    assert sorted(one) == [(0,), (1,)]
    for dead, energy, share, largest in (((1,), -0.625, 0.614, -0.8), ((0,), -16 / 45, 0.386, -0.9)):
        row = one[dead]
        assert row.k == 1
        assert row.energy == pytest.approx(energy)
        assert row.largest == pytest.approx(largest)
        assert row.share_low < row.share < row.share_high
        assert row.share == pytest.approx(share, abs=0.025)
        # E2 with R = W keeps neither, the gradient flows keep both.
        verdicts = (row.verdict, row.under_1, row.under_5_E2, row.under_5_E3, row.under_9)
        assert verdicts == ("stable", "stable", "unstable", "stable", "stable")
    basins = fh.basins(memory, starts, dt=0.25)
    assert sorted(basins["hits"]) == sorted(table["attractor"].value_counts())


def test_c59_the_saddle_is_a_memory_of_system_9_and_of_no_other():
    nine = fh.Memory(*FIGURE_1, R="gradient")
    table = fh.census(nine, fh.settle(nine, fh.Uniform(-3, 3).draw(4000, 2, seed=1)))
    saddle = table[(table["k"] == 0) & (table["kind"] == "settled")].iloc[0]
    assert (saddle["verdict"], saddle["under_1"], saddle["under_9"]) == ("stable", "unstable", "stable")
    assert saddle["share"] == pytest.approx(0.209, abs=0.03)


def test_one_state_is_asked_for():
    table = fh.census(fh.Memory(*FIGURE_1), [10 / 51, 86 / 153])
    [row] = table.to_dict("records")
    assert (row["kind"], row["verdict"], row["k"], row["dead"]) == ("settled", "unstable", 0, ())
    [row] = fh.census(fh.Memory(*FIGURE_1), [1.0, -1.0]).to_dict("records")
    assert (row["kind"], row["attractor"], row["dead"]) == ("unsettled", -1, (1,))
    assert pd.isna(row["verdict"])
    assert np.isnan(row["moved"])
    rough = fh.census(fh.Memory(*FIGURE_1), [-0.3333, 0.8889], tolerance=1e-3)
    assert rough["moved"][0] == pytest.approx(3.3e-5, abs=1e-5)


def test_every_kind_of_end_is_told():
    memory = fh.Memory(np.diag([2.0, 4.0]), activation="relu")
    starts = [[-1.0, -1.0], [1e-6, -1.0], [1.0, -1.0], [-1.0, 1e308]]
    table = fh.census(memory, fh.settle(memory, starts, dt=0.1, t_max=20, escape=1e6, tolerance=1e-6))
    assert table["kind"].tolist() == ["settled", "unsettled", "diverged", "not_finite"]
    assert table["attractor"].tolist() == [0, -1, -1, -1]
    assert table["share"].tolist() == [0.25] * 4
    false = fh.Memory([[2.0]], [-1.0], variable="u", R="gradient")
    ends = fh.settle(false, [[1.2], [-0.5]])
    table = fh.census(false, ends)
    assert table["kind"].tolist() == ["false_memory", "settled"]
    assert table["under_1"].astype(object).tolist()[1] == "stable"
    assert fh.basins(false, [[1.2], [-0.5]])["kind"].tolist() == ["settled", "false_memory"]


def test_kinks_are_rows_of_basins_and_never_a_success(kinky):
    memory, starts = kinky
    table = fh.basins(memory, starts, dt=float(fh.default_step(memory)), t_max=3000)
    rows = table[table["kind"] == "kink"]
    assert len(rows) == 1
    assert rows["attractor"].tolist() == [-1]
    assert rows["worst_residual"].iloc[0] > 1e-5


def test_float32_and_variable_u():
    single = fh.Memory(*FIGURE_1, dtype=np.float32)
    table = fh.census(single, fh.settle(single, fh.Uniform(-3, 3).draw(500, 2)))
    assert table["attractor"].nunique() == 2
    assert set(table["verdict"]) == {"stable"}
    five = fh.Memory([[0.8, -0.5], [-0.5, 0.8]], 1.0, "relu", variable="u", R="weights")
    table = fh.census(five, fh.settle(five, fh.Uniform(-3, 8).draw(500, 2)))
    assert set(table[table["kind"] == "settled"]["verdict"]) == {"stable"}
    assert set(table[table["kind"] == "settled"]["dead"]) == {(0,), (1,)}


@pytest.mark.parametrize(
    ("memory", "ends", "words"),
    [
        (fh.Memory(*FIGURE_1), np.zeros((2, 3)), r"states must have shape \(B, 2\); got \(2, 3\)"),
        (fh.Memory(*FIGURE_1), [[0.0, np.nan]], r"states must be finite; states\[0, 1\] is nan"),
        (fh.Memory(np.zeros((2, 3, 3))), np.zeros((2, 1, 3)), "memory must be one memory; got 2"),
    ],
)
def test_bad_input_is_one_sentence(memory, ends, words):
    with pytest.raises(ValueError, match=words):
        fh.census(memory, ends)


def test_ends_of_another_memory_are_refused():
    ends = fh.settle(fh.Memory(np.zeros((3, 3))), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="ends must be of this memory"):
        fh.census(fh.Memory(*FIGURE_1), ends)
