"""Radii, slices and ends of memories of every rule, against memories made here and settled from the same starts."""

import numpy as np
import pandas as pd
import pytest

import fasthop as fh
from fasthop.experiments import ends, radii, slices
from fasthop.geometry.rays import random_directions
from rows import rows_of

N, P, SEED = 24, 3, 5

#: What a spec says beside the rule, and the memory that is meant, of patterns of shape (P, N).
RULES = {
    "pseudo-inverse": ({}, lambda xi: fh.Memory(fh.pseudo_inverse(xi), activation=fh.Tanh(8.0))),
    "hebb": (
        {"asymmetry": 0.4},
        lambda xi: fh.Memory(fh.storage.dilute_one_way(fh.hebb(xi), 0.4, seed=SEED), activation=fh.Tanh(8.0)),
    ),
    "dense": ({"power": 3}, lambda xi: fh.models.dense_associative_memory(xi, 3, rectified=False)),
    "exponential": ({}, fh.models.exponential_memory),
    "softmax": ({"memory_gain": 0.3}, lambda xi: fh.models.softmax_memory(xi, beta=0.3, features=fh.Tanh(8.0))),
    "spherical softmax": (
        {"rule": "softmax", "pattern_kind": "spherical", "activation": {"name": "identity"}},
        lambda xi: fh.models.softmax_memory(xi, beta=1.0),
    ),
}


def task(experiment, rule, **changes):
    given = {field.column: field.default for field in experiment.FIELDS if field.column != "realisations"}
    given |= {"neurons": N, "patterns": P, "rule": rule} | RULES[rule][0] | changes
    assert experiment.problems(given) == []
    return given


def made(rule):
    """The patterns of realisation 0, their memory, and g of the neurons that patterns have."""
    draw = fh.storage.spherical_patterns if "spherical" in rule else fh.random_patterns
    xi = draw(P, N, seed=SEED, realisations=[0])[0]
    g = (lambda y: y[..., :N]) if "spherical" in rule else (lambda y: np.tanh(8 * y[..., :N]))
    return xi, RULES[rule][1](xi), g


def begun(memory, g, places):
    """States at places in the space of the patterns: what more neurons there are has its steady value."""
    W, b = np.array(memory.W), np.array(memory.b)
    return np.concatenate([places, g(places) @ W[N:, :N].T + b[N:]], axis=1)


@pytest.mark.parametrize("rule", RULES)
def test_rays_bracket_a_change_of_attractor(rule):
    rows = rows_of(radii, task(radii, rule, memories=2, rays=4, aimed=2, saddles=2), [0], SEED)
    assert set(rows["direction"]) == {"random", "memory", "saddle"}
    xi, memory, g = made(rule)
    centres = fh.settle(memory, begun(memory, g, xi)).state
    looked = 0
    for row in rows[(rows["direction"] != "saddle") & ~rows["censored"]].itertuples():
        home = centres[row.pattern]
        if row.direction == "random":
            unit = random_directions(4, N, row.pattern, SEED)[row.target]
        else:
            unit = (centres[row.target] - home)[:N]
            assert row.distance == pytest.approx(np.linalg.norm(unit), rel=1e-6)
            unit = unit / np.linalg.norm(unit)
        places = home[:N] + np.array([[row.lower], [row.upper]]) * unit
        inside, outside = fh.settle(memory, begun(memory, g, places), dt=row.dt).state
        assert np.abs(g(inside) - g(home)).max() < 1e-4
        assert np.abs(g(outside) - g(home)).max() > 1e-2
        assert row.verified
        looked += 1
    assert looked >= 4
    # The saddles are steady, and rays leave at them or before.
    saddles = rows[rows["direction"] == "saddle"]
    assert saddles["distance"].notna().all()
    assert (saddles["lower"] <= saddles["distance"]).all()
    assert (saddles["upper"] <= saddles["distance"] * 1.002).all()
    assert (rows["lower"] <= 6 * np.sqrt(N) * (1 + 1e-12)).all()


def test_rays_of_a_memory_with_memory_neurons_do_not_depend_on_its_chunk():
    chosen = task(radii, "dense", memories=2, rays=4, aimed=2, saddles=2)
    together = rows_of(radii, chosen, range(3), SEED)
    apart = pd.concat([rows_of(radii, chosen, [r], SEED) for r in range(3)], ignore_index=True)
    pd.testing.assert_frame_equal(together, apart, check_exact=True)


@pytest.mark.parametrize("rule", RULES)
def test_every_point_of_a_slice_is_where_its_trajectory_ends(rule):
    [row] = rows_of(slices, task(slices, rule, resolution=32, check=60), [0], SEED).to_dict("records")
    xi, memory, g = made(rule)
    image = np.array(row["labels"]).reshape(32, 32)
    a, b = (3 * (np.arange(32) + offset) / 32 - 1.5 for offset in (0.618033988749895, 0.236067977499790))
    i, j = np.divmod(np.arange(0, 32 * 32, 7), 32)
    ended = fh.settle(memory, begun(memory, g, a[i, None] * xi[0] + b[j, None] * xi[1]), tolerance=1e-9)
    out, labels = g(ended.state), image[i, j]
    assert (ended.settled == (labels >= 0)).all()
    length = np.linalg.norm(out, axis=1)[:, None]
    near = (out / np.where(length > 0, length, 1)) @ (xi / np.linalg.norm(xi, axis=1)[:, None]).T
    wrong = 0
    for place, label in zip(near, labels, strict=True):
        best = np.abs(place).argmax()
        due = best if place[best] > 0 else P + best
        wrong += label < 2 * P and label != due
        wrong += label >= 2 * P and np.abs(place[best]) > 0.99
    # On the diagonals the last bit decides.
    assert wrong <= 0.04 * len(labels)
    shares = {name: row[name] for name in slices.SHARES}
    assert sum(shares.values()) == pytest.approx((image >= 0).mean())
    assert shares["pattern"] == pytest.approx(np.mean((image >= 0) & (image < P)))
    assert row["checked"] > 0
    assert shares["pattern"] > 0.1


@pytest.mark.parametrize("rule", RULES)
def test_ends_are_those_of_the_same_starts(rule):
    chosen = task(ends, rule, start="cues", flip=0.0 if "spherical" in rule else 0.2, starts=60)
    rows = rows_of(ends, chosen, [0], SEED)
    xi, memory, g = made(rule)
    cues = np.resize(xi, (60, N)) if "spherical" in rule else fh.flip(xi, 0.2, cues=60, seed=SEED)
    ended = fh.settle(memory, begun(memory, g, cues))
    assert ended.settled.all()
    found, hits = [], []
    for output in g(ended.state):
        same = [k for k, other in enumerate(found) if np.abs(output - other).max() < 1e-4]
        if same:
            hits[same[0]] += 1
        else:
            found.append(output)
            hits.append(1)
    assert sorted(rows["hits"]) == sorted(hits)
    # An energy only where W is symmetric and g monotone, as h² of the cubic dense memory is not.
    assert rows["energy"].isna().all() == (rule in ("hebb", "dense"))
    assert rows["energy"].notna().all() == (rule not in ("hebb", "dense"))
    best = rows[rows["kind"] == "pattern"]
    assert len(best) >= 1
    assert best["overlap"].between(0.9, 1 + 1e-12).all()


def test_low_rank_weights_have_the_basins_of_the_matrix():
    xi = fh.random_patterns(3, 40, seed=2)
    whole = fh.Memory(xi.T @ xi / 40, activation=fh.Tanh(8.0))
    thin = fh.Memory(fh.LowRank(xi, self_coupling=True), activation=fh.Tanh(8.0))
    step = float(fh.default_step(whole))
    centres = fh.settle(whole, xi).state
    one, two = (fh.geometry.radii(memory, centres, rays=6, seed=1, dt=step / 2) for memory in (whole, thin))
    np.testing.assert_allclose(one["lower"], two["lower"], rtol=2e-3)
    saddles = [fh.geometry.boundary_saddles(memory, centres[0], centres[1:], dt=step / 2) for memory in (whole, thin)]
    assert saddles[0].found.all()
    np.testing.assert_allclose(saddles[0].state, saddles[1].state, atol=1e-9)
    plane = {"resolution": 20, "dt": step / 2, "extent": (-3, 3, -3, 3)}
    e1, e2 = np.random.default_rng(1).normal(size=(2, 40))
    images = [fh.geometry.basin_slice(memory, xi[0], e1, e2, **plane).labels for memory in (whole, thin)]
    assert (images[0] == images[1]).mean() > 0.98
