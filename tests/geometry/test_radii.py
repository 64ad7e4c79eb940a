"""How far basins reach, against closed forms, an independent integrator, and sets that are left and entered again."""

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, optimize, stats

import fasthop as fh
from fasthop.geometry import rays
from fasthop.geometry.exits import first_exits


def winner_takes_all(n, w):
    """W = −w(11ᵀ − I), b = 1, w > 1: the largest start wins; the attractors are e_i − (w − 1)(1 − e_i)."""
    memory = fh.Memory(-w * (np.ones((n, n)) - np.eye(n)), np.ones(n), "relu")
    return memory, (1 - w) * np.ones((n, n)) + w * np.eye(n)


def hebb(patterns, neurons, beta=8.0, seed=1):
    memory = fh.Memory(fh.hebb(fh.random_patterns(patterns, neurons, seed=seed)), activation=fh.Tanh(beta))
    return memory, fh.settle(memory, fh.random_patterns(patterns, neurons, seed=seed)).state


def exact_exits(centres, number, directions):
    """The first r at which another entry of c + r d exceeds entry `number`."""
    gap = centres[number, number] - centres[number]
    rate = directions - directions[:, [number]]
    with np.errstate(divide="ignore", invalid="ignore"):
        places = np.where(rate > 0, gap / rate, np.inf)
    return np.delete(places, number, axis=1).min(axis=1)


def test_every_ray_of_winner_takes_all_leaves_where_another_entry_becomes_the_largest():
    memory, centres = winner_takes_all(4, 2.0)
    table = fh.geometry.radii(memory, centres, rays=60, bound=10.0, precision=1e-6, seed=3)
    assert table["verified"].all()
    for number in range(4):
        mine = table[table["attractor"] == number]
        drawn = mine[mine["direction"] == "random"]
        exact = exact_exits(centres, number, rays.random_directions(60, 4, number, 3))
        leaves = exact < 10
        assert (drawn["censored"].to_numpy() == ~leaves).all()
        assert 0.1 < leaves.mean() < 0.9
        assert (drawn["lower"].to_numpy()[leaves] <= exact[leaves] + 1e-9).all()
        assert (exact[leaves] <= drawn["upper"].to_numpy()[leaves] + 1e-9).all()
        width = (drawn["upper"] / drawn["lower"])[leaves]
        assert (width < 1 + 2e-6).all()
        # Towards another attractor the two entries meet half way.
        toward = mine[mine["direction"] == "memory"]
        np.testing.assert_allclose(toward["lower"], toward["distance"] / 2, rtol=1e-5)
        assert toward["neighbour"].tolist() == toward["target"].tolist()
    assert (table.loc[table["censored"], "lower"] == 10).all()
    assert np.isinf(table.loc[table["censored"], "upper"]).all()
    assert (table.loc[table["censored"], "outside"] == "").all()


def test_one_neuron_leaves_at_its_unstable_state():
    # ẏ = 2 tanh y − y + .1: the basins meet at the middle one of three roots (Brent's method).
    memory = fh.Memory([[2.0]], [0.1])
    roots = [
        optimize.brentq(lambda y: 2 * np.tanh(y) - y + 0.1, low, high, xtol=1e-14)
        for low, high in ((-3, -1), (-0.5, 0.2), (1, 3))
    ]
    table = fh.geometry.radii(
        memory, np.array(roots)[[0, 2], None], rays=8, saddles=[[roots[1]]], precision=1e-8, bound=20.0
    )
    aimed = table[table["direction"] != "random"]
    assert len(aimed) == 4
    for row in aimed.itertuples():
        exact = abs(roots[1] - roots[2 * row.attractor])
        assert row.lower <= exact + 1e-9
        assert row.upper >= exact - 1e-9
    saddle = table[table["direction"] == "saddle"]
    np.testing.assert_allclose(saddle["lower"], saddle["distance"], rtol=1e-7)
    # Every other random ray points outward and never leaves.
    drawn = table[table["direction"] == "random"]
    assert set(drawn["censored"]) == {True, False}
    np.testing.assert_allclose(drawn.loc[~drawn["censored"], "overlap"], np.where(roots[1] < 0, 1, -1), atol=2)


def test_a_ray_at_the_saddle_of_figure_1_leaves_in_it():
    memory = fh.Memory([[0.2, -1.5], [-1.5, 0.1]], [1.0, 0.8], "relu")
    centres, saddle = np.array([[1.25, -1.075], [-1 / 3, 8 / 9]]), [[10 / 51, 86 / 153]]
    table = fh.geometry.radii(memory, centres, rays=0, saddles=saddle, precision=1e-6)
    aimed = table[table["direction"] == "saddle"]
    np.testing.assert_allclose(aimed["lower"], aimed["distance"], rtol=2e-6)
    assert aimed["neighbour"].tolist() == [1, 0]
    assert table["verified"].all()


def test_what_runs_away_is_outside_and_what_is_out_of_time_is_not_verified():
    memory = fh.Memory([[0, 2], [2, 0]], [-1, -1], "relu")
    # The basin of (−1, −1) ends in the saddle (1, 1); beyond, trajectories diverge.
    table = fh.geometry.radii(memory, [[-1.0, -1.0]], rays=40, saddles=[[1.0, 1.0]], bound=8.0, seed=2)
    assert set(table.loc[table["direction"] == "random", "outside"]) == {"diverged", ""}
    assert table["verified"].all()
    np.testing.assert_allclose(table["lower"].iloc[-1], 2 * np.sqrt(2), rtol=2e-3)
    hurried = fh.geometry.radii(memory, [[-1.0, -1.0]], rays=40, bound=8.0, seed=2, t_max=3.0)
    assert not hurried.loc[hurried["outside"] == "unsettled", "verified"].any()
    assert (hurried["outside"] == "unsettled").any()


def test_hebb_rays_leave_where_an_independent_integrator_says():
    # DOP853 of SciPy at rtol 1e-10, straight from the equations: both ends of every bracket.
    memory, centres = hebb(4, 60)
    table = fh.geometry.radii(memory, centres[:1], rays=12, seed=5)
    aimed = fh.geometry.radii(memory, centres, rays=0)
    cases = [
        (rays.random_directions(12, 60, 0, 5)[row.target], row) for row in table.itertuples() if not row.censored
    ] + [((centres[row.target] - centres[0]) / row.distance, row) for row in aimed.head(3).itertuples()]
    assert len(cases) > 5
    W = np.array(memory.W)

    def ends_at(start):
        flow = integrate.solve_ivp(
            lambda _, y: W @ np.tanh(8 * y) - y, (0, 200), start, method="DOP853", rtol=1e-10, atol=1e-12
        )
        return flow.y[:, -1]

    for direction, row in cases:
        stays, leaves = (ends_at(centres[0] + radius * direction) for radius in (row.lower, row.upper))
        assert np.abs(stays - centres[0]).max() < 1e-5
        assert np.abs(leaves - centres[0]).max() > 1e-2


def test_rays_of_a_hebb_memory():
    # What an independent script found at N = 200 and a light load: most random rays (88 %) never leave within 6 √N, the
    # smallest exit is near 2.8 √N, and rays aimed at the other patterns leave at .6 … .8 √N.
    memory, centres = hebb(3, 200, beta=4.0)
    table = fh.geometry.radii(memory, centres, rays=100, seed=1)
    drawn, aimed = table[table["direction"] == "random"], table[table["direction"] == "memory"]
    assert 0.75 < drawn["censored"].mean() < 0.95
    assert 2.0 < drawn["lower"].min() / np.sqrt(200) < 4
    assert aimed["lower"].between(0.6 * np.sqrt(200), 0.8 * np.sqrt(200)).all()
    assert table["verified"].all()
    assert not aimed["censored"].any()


def test_a_coarse_step_is_found_out(monkeypatch):
    memory, centres = hebb(10, 100)
    monkeypatch.setattr(rays, "ROUNDS", 1)
    coarse = fh.geometry.radii(memory, centres[:2], rays=30, seed=1)
    assert not coarse["verified"].all()
    monkeypatch.setattr(rays, "ROUNDS", 4)
    found = fh.geometry.radii(memory, centres[:2], rays=30, seed=1)
    assert found["verified"].all()
    assert found["dt"].nunique() > 1
    again = fh.geometry.radii(memory, centres[:2], rays=30, seed=1, dt=found["dt"].min() / 2)
    np.testing.assert_allclose(again["lower"], found["lower"], rtol=5e-3)


def test_rays_are_nested_and_turns_change_nothing(monkeypatch):
    memory, centres = hebb(3, 50)
    many = fh.geometry.radii(memory, centres, rays=9, seed=1)
    few = fh.geometry.radii(memory, centres, rays=4, seed=1)
    kept = many[(many["direction"] != "random") | (many["target"] < 4)].reset_index(drop=True)
    pd.testing.assert_frame_equal(few, kept, check_exact=True)
    monkeypatch.setattr(rays, "_TURN", 50 * 7)
    pd.testing.assert_frame_equal(fh.geometry.radii(memory, centres, rays=9, seed=1), many, check_exact=True)


def test_random_directions_are_uniform_on_the_sphere():
    drawn = rays.random_directions(20_000, 3, 5, seed=1)
    np.testing.assert_allclose((drawn**2).sum(axis=1), 1.0, rtol=1e-14)
    # On the sphere in three dimensions each coordinate is uniform on [−1, 1] (Archimedes).
    for column in drawn.T:
        assert stats.kstest(column, stats.uniform(-1, 2).cdf).pvalue > 1e-3
    assert not np.isin(rays.random_directions(5, 3, 4, seed=1), drawn).any()


def test_the_first_of_several_exits_is_found_where_shells_see_it():
    # Left at 1 + e, entered at 2.5, left for good at 6.
    edge = np.linspace(0.0, 0.3, 7)

    def inside(rows, radius):
        return (radius < 1 + edge[rows]) | ((radius > 2.5) & (radius < 6))

    lower, upper = first_exits(inside, np.full(7, 16.0), shells=12, precision=1e-9)
    np.testing.assert_allclose(lower, 1 + edge, rtol=1e-8)
    assert (lower < upper).all()

    def thin(rows, radius):
        return (radius < 1) | ((radius > 1.3) & (radius < 6))

    # With shells that step over the gap it is the last exit: what is documented.
    lower, _ = first_exits(thin, np.full(1, 16.0), shells=2, precision=1e-9)
    assert lower[0] == pytest.approx(6.0)


def test_exits_at_the_ends():
    asked = []

    def never(rows, radius):
        asked.append(radius.max())
        return np.ones(len(rows), bool)

    lower, upper = first_exits(never, np.array([2.0, 5.0]), shells=4, precision=1e-3)
    assert lower.tolist() == [2.0, 5.0]
    assert np.isinf(upper).all()
    assert max(asked) == 5.0
    # Outside from the beginning: the bracket closes on 0 and ends.
    lower, upper = first_exits(
        lambda rows, radius: np.zeros(len(rows), bool), np.array([4.0]), shells=3, precision=1e-3
    )
    assert lower[0] == 0
    assert upper[0] <= 2e-3


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"attractors": [[1.0, 0.0]]}, ValueError, r"attractors\[0\] must be an attractor"),
        ({"attractors": [[1.0, -1.0], [1.0, -1.0]]}, ValueError, "must differ from each other"),
        ({"attractors": [1.0, -1.0]}, ValueError, "attractors must have shape"),
        ({"rays": -1}, ValueError, "rays must be at least 0"),
        ({"rays": 0}, ValueError, "nothing to aim at"),
        ({"bound": 0.0}, ValueError, "bound must be finite, above 0"),
        ({"shells": 0}, ValueError, "shells must be at least 1"),
        ({"precision": 0.0}, ValueError, "precision must be finite, at least 1e-09"),
        ({"saddles": [[1.0]]}, ValueError, "saddles must have shape"),
    ],
)
def test_bad_calls_are_one_sentence(change, error, words):
    memory, _ = winner_takes_all(2, 2.0)
    given = {"attractors": [[1.0, -1.0]], "rays": 3} | change
    with pytest.raises(error, match=words):
        fh.geometry.radii(memory, **given)


def test_memories_that_cannot_be_asked_are_named():
    with pytest.raises(ValueError, match="memory must be one memory"):
        fh.geometry.radii(fh.Memory(np.zeros((2, 3, 3))), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="memory must be float64"):
        fh.geometry.radii(fh.Memory(np.zeros((3, 3)), dtype=np.float32), np.zeros((1, 3)))
