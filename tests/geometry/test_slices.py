"""Slices through basins whose boundaries are known, and measures of grids whose answers are exact."""

import numpy as np
import pytest

import fasthop as fh
from fasthop.geometry import slices


def winner_takes_all(n, w=2.0):
    return fh.Memory(-w * (np.ones((n, n)) - np.eye(n)), np.ones(n), "relu")


def test_the_largest_entry_wins_at_every_point_of_a_slice():
    origin, e1, e2 = np.array([0.1, -0.2, 0.3]), np.array([1.0, 0.5, -0.3]), np.array([-0.2, 0.8, 1.0])
    memory = winner_takes_all(3)
    found = fh.geometry.basin_slice(memory, origin, e1, e2, extent=(-2, 2, -1, 1), resolution=(40, 30))
    assert found.labels.shape == found.time.shape == (40, 30)
    # Cells tile the extent.
    assert (np.floor((found.a + 2) / 0.1) == np.arange(40)).all()
    starts = origin + found.a[:, None, None] * e1 + found.b[:, None] * e2
    winner = found.attractors.argmax(axis=1)[found.labels]
    gap = np.sort(starts, axis=-1)[..., -1] - np.sort(starts, axis=-1)[..., -2]
    clear = gap > 1e-9
    assert (winner == starts.argmax(axis=-1))[clear].all()
    assert clear.mean() > 0.99
    assert found.labels[0, 0] == 0


def test_known_attractors_have_the_first_numbers(monkeypatch):
    memory = winner_takes_all(3)
    centres = -np.ones((3, 3)) + 2 * np.eye(3)
    plane = (np.zeros(3), [1.0, 0, 0], [0, 1.0, 0])
    found = fh.geometry.basin_slice(memory, *plane, resolution=21, attractors=centres[::-1])
    assert found.attractors[found.labels[20, 10]].argmax() == 0
    assert found.labels[20, 10] == 2
    assert len(found.attractors) >= 3
    monkeypatch.setattr(slices, "_TURN", 3 * 50)
    turns = fh.geometry.basin_slice(memory, *plane, resolution=21, attractors=centres[::-1])
    np.testing.assert_array_equal(turns.labels, found.labels)
    np.testing.assert_array_equal(turns.time, found.time)
    with pytest.raises(ValueError, match="attractors must differ"):
        fh.geometry.basin_slice(memory, *plane, resolution=2, attractors=centres[[0, 0]])


def test_a_finer_step_is_asked_about_points_beside_a_boundary():
    # Counted point by point: neighbours by hand, the end of each by a call of its own with a quarter of the step.
    xi = fh.random_patterns(4, 40, seed=3)
    memory = fh.Memory(fh.hebb(xi), activation=fh.Tanh(8.0))
    e1, e2 = np.random.default_rng(1).normal(size=(2, 40))
    plane = {"extent": (-5, 5, -5, 5), "resolution": 24}
    step = float(fh.default_step(memory))
    shares = []
    for dt in (1.5 * step, 0.1 * step):
        found = fh.geometry.basin_slice(memory, xi[0], e1, e2, dt=dt, check=10**6, **plane)
        checked = changed = 0
        for i in range(24):
            for j in range(24):
                beside = [(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)]
                if all(found.labels[p, q] == found.labels[i, j] for p, q in beside if 0 <= p < 24 and 0 <= q < 24):
                    continue
                start = xi[0] + found.a[i] * e1 + found.b[j] * e2
                end = fh.settle(memory, [start], dt=dt / 4, tolerance=1e-11).state[0]
                checked += 1
                changed += np.abs(np.tanh(8 * end) - np.tanh(8 * found.attractors[found.labels[i, j]])).max() > 1e-5
        assert (found.checked, found.changed) == (checked, changed)
        shares.append(changed / checked)
    assert shares[0] > 0.1 > 0.02 > shares[1]
    some = fh.geometry.basin_slice(memory, xi[0], e1, e2, dt=1.5 * step, check=50, **plane)
    assert some.checked == 50
    assert 0 < some.changed < 50
    none = fh.geometry.basin_slice(memory, xi[0], e1, e2, dt=1.5 * step, check=0, **plane)
    assert (none.checked, none.changed) == (0, 0)
    np.testing.assert_array_equal(none.labels, some.labels)


def test_exact_boundaries_and_what_runs_away_do_not_change():
    found = fh.geometry.basin_slice(
        winner_takes_all(3), [0.1, -0.2, 0.3], [1.0, 0.5, -0.3], [-0.2, 0.8, 1.0], resolution=40
    )
    assert found.checked > 50
    assert found.changed == 0
    away = fh.geometry.basin_slice(
        fh.Memory([[0, 2], [2, 0]], [-1, -1], "relu"), [0, 0], [1, 0], [0, 1], extent=(-3, 5, -3, 5), resolution=16
    )
    assert away.checked > 10
    assert away.changed == 0


def test_what_runs_away_has_a_label_of_its_own():
    memory = fh.Memory([[0, 2], [2, 0]], [-1, -1], "relu")
    found = fh.geometry.basin_slice(memory, [0, 0], [1, 0], [0, 1], extent=(-3, 5, -3, 5), resolution=16)
    assert set(np.unique(found.labels)) == {0, -3}
    assert slices.kind_of(-3) == "diverged"
    # y₁ + y₂ = 2 parts what returns from what runs away where both are alive.
    a, b = np.meshgrid(found.a, found.b, indexing="ij")
    alive = (a > 0) & (b > 0)
    assert ((found.labels < 0) == (a + b > 2))[alive].all()


def test_points_of_a_symmetric_plane_are_not_on_the_boundary_of_a_symmetric_memory():
    found = fh.geometry.basin_slice(winner_takes_all(2), [0, 0], [1, 0], [0, 1], extent=(-1, 1, -1, 1), resolution=41)
    assert len(found.attractors) == 2


def test_the_pictures_are_png(tmp_path):
    many = np.arange(400).reshape(20, 20) // 12
    many[0] = -2
    fh.geometry.Slice(many, many * 1.0, np.arange(20.0), np.arange(20.0), np.zeros((40, 2))).plot(
        tmp_path / "s.png", {3: "x"}
    )
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


def test_the_entropy_of_a_straight_boundary():
    # Boxes of 5 × 5, a boundary 2 columns into a box: the boxes on it have the entropy of (2/5, 3/5).
    labels = np.zeros((50, 30), np.int64)
    labels[22:] = 7
    found = fh.geometry.basin_entropy(labels, 5)
    due = -0.4 * np.log(0.4) - 0.6 * np.log(0.6)
    assert found.boundary == pytest.approx(due, rel=1e-14)
    assert found.entropy == pytest.approx(due / 10, rel=1e-14)
    assert (found.boxes, found.boundary_boxes, found.fractal) == (60, 6, False)


def test_the_entropy_of_one_basin_and_of_many():
    found = fh.geometry.basin_entropy(np.full((20, 20), -3))
    assert (found.entropy, found.boundary_boxes, found.fractal) == (0.0, 0, False)
    assert np.isnan(found.boundary)
    # Every point a basin of its own: ln 25 in every box, and nothing smooth about it.
    found = fh.geometry.basin_entropy(np.arange(400).reshape(20, 20), 5)
    assert found.entropy == pytest.approx(np.log(25), rel=1e-14)
    assert found.fractal
    # Counted box by box by hand, ends cut off.
    grid = np.random.default_rng(1).integers(0, 3, (23, 17))
    hands = []
    for i in range(0, 20, 4):
        for j in range(0, 16, 4):
            share = np.bincount(grid[i : i + 4, j : j + 4].ravel()) / 16
            hands.append(-sum(p * np.log(p) for p in share if p > 0))
    assert fh.geometry.basin_entropy(grid, 4).entropy == pytest.approx(np.mean(hands), rel=1e-13)
    assert fh.geometry.basin_entropy(grid, 4).fractal == (np.mean(hands) > np.log(2))


def test_a_straight_boundary_has_the_exponent_one():
    labels = np.zeros((256, 256), np.int64)
    labels[101:] = 1
    found = fh.geometry.uncertainty_exponent(labels)
    assert found.exponent == pytest.approx(1, abs=1e-12)
    assert found.error < 1e-12
    # 2 ε columns of the 224 that have both neighbours, along one of two axes.
    np.testing.assert_allclose(found.uncertain, found.epsilon / 224)
    i, j = np.indices((256, 256))
    tilted = fh.geometry.uncertainty_exponent((3 * i + 7 * j > 1200).astype(int))
    assert tilted.exponent == pytest.approx(1, abs=0.05)


def cantor(levels):
    """0 and 1 in turn between the gaps of a Cantor set: 3**levels cells, the boundary of dimension ln 2/ln 3."""
    row = np.array([0])
    for level in range(levels):
        row = np.concatenate([row, np.full(3**level, level + 1), row])
    return row


def test_a_cantor_boundary_has_the_exponent_of_its_dimension():
    # Basins that are gaps of a Cantor set times a line: dimension 1 + ln 2/ln 3, α = 1 − ln 2/ln 3 = .369. Along the
    # other axis nothing changes, which halves f and not its slope. At ε = 3^k the count is exact.
    labels = np.tile(cantor(7)[:, None], (1, 600))
    found = fh.geometry.uncertainty_exponent(labels, 3 ** np.arange(1, 5))
    assert found.exponent == pytest.approx(1 - np.log(2) / np.log(3), abs=0.03)
    assert 0 < found.error < 0.05
    assert found.exponent + 10 * found.error < 1
    smooth = fh.geometry.uncertainty_exponent(
        np.tile((np.arange(2187) > 900)[:, None] * 1, (1, 600)), 3 ** np.arange(1, 5)
    )
    assert smooth.exponent == pytest.approx(1, abs=1e-12)


def test_noise_has_the_exponent_zero_and_one_basin_none():
    noise = np.random.default_rng(3).integers(0, 2, (300, 300))
    found = fh.geometry.uncertainty_exponent(noise)
    assert abs(found.exponent) < 5 * found.error + 0.005
    assert found.error < 0.02
    assert np.isnan(fh.geometry.uncertainty_exponent(np.zeros((100, 100), int)).exponent)


def test_the_error_is_that_of_many_boundaries():
    # Independent straight boundaries in each of many rows: the slopes of many such grids.
    slopes, errors = [], []
    for seed in range(40):
        places = np.random.default_rng(seed).integers(10, 190, (2, 200))
        columns = np.arange(200)
        grid = ((columns > places[0][:, None]) ^ (columns > places[1][:, None])).astype(int)
        found = fh.geometry.uncertainty_exponent(grid)
        slopes.append(found.exponent)
        errors.append(found.error)
    assert 0.5 < np.mean(errors) / np.std(slopes, ddof=1) < 4


def test_the_slices_of_a_memory_are_smooth_where_its_basins_are_cones():
    memory = winner_takes_all(3)
    found = fh.geometry.basin_slice(memory, [0, 0, 0], [1.0, 0, 0], [0, 1.0, 0], resolution=160)
    assert fh.geometry.uncertainty_exponent(found.labels).exponent == pytest.approx(1, abs=0.05)
    assert not fh.geometry.basin_entropy(found.labels).fractal


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: fh.geometry.basin_slice(m, [0, 0], [1, 1], [2, 2]), "must span a plane"),
        (lambda m: fh.geometry.basin_slice(m, [0, 0], [1, 1, 1], [2, 2]), "e1 must have shape"),
        (lambda m: fh.geometry.basin_slice(m, [0, 0], [1, 0], [0, 1], extent=(1, 0, 0, 1)), "extent must go up"),
        (lambda m: fh.geometry.basin_slice(m, [0, 0], [1, 0], [0, 1], resolution=0), "resolution must be at least 1"),
        (lambda m: fh.geometry.basin_slice(m, [0, 0], [1, 0], [0, 1], check=-1), "check must be at least 0"),
        (lambda m: fh.geometry.basin_entropy(np.zeros((4, 4))), "labels must be a grid of whole numbers"),
        (lambda m: fh.geometry.basin_entropy(np.zeros((4, 4), int), 5), "box must be at least 2 and at most 4"),
        (lambda m: fh.geometry.uncertainty_exponent(np.zeros((9, 9), int)), "labels must be at least 14 × 14"),
        (
            lambda m: fh.geometry.uncertainty_exponent(np.zeros((99, 99), int), [4, 2]),
            "epsilon must be at least two ascending",
        ),
    ],
)
def test_bad_calls_are_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call(winner_takes_all(2))
