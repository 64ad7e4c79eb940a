"""Where a rate falls through one half, on counts that say little: a bracket or NaN, and no confident number."""

import numpy as np
import pandas as pd
import pytest
from scipy import special

import fasthop as fh
from fasthop.experiments.capacity import PARAMETERS


def frame_of(counts, axis="load", cues=100, **values):
    """A table whose rows are the counts of each realisation (rows) at each place (keys)."""
    rows = [
        {axis: place, "realisation": r, "cues": cues, "retrieved": int(count), "discrete": int(count)}
        for place, column in counts.items()
        for r, count in enumerate(column)
    ]
    frame = pd.DataFrame(rows)
    for name in PARAMETERS:
        if name not in frame:
            frame[name] = values.get(name, 100)
    return frame


def logistic(realisations, half=0.2, width=0.02, seed=0):
    rng = np.random.default_rng(seed)
    return {x: rng.binomial(100, special.expit((half - x) / width), realisations) for x in np.arange(0.1, 0.3, 0.02)}


def test_a_jump_leaves_its_bracket():
    found = fh.analysis.half_capacity(frame_of({0.1: [100] * 9, 0.13: [100] * 9, 0.14: [0] * 9, 0.2: [0] * 9})).iloc[0]
    assert (found["half"], found["half_low"], found["half_high"]) == (pytest.approx(0.135), 0.13, 0.14)
    assert np.isnan([found["half_se"], found["width"]]).all()
    # So does one that all but jumps.
    found = fh.analysis.half_capacity(frame_of({0.13: [100, 99, 100], 0.14: [0, 1, 0]})).iloc[0]
    assert (found["half_low"], found["half_high"]) == (0.13, 0.14)
    assert np.isnan(found["half_se"])


@pytest.mark.parametrize(
    ("middle", "bracket"), [([70, 80, 60], (0.15, 0.2)), ([20, 30, 10], (0.1, 0.15)), ([50, 60, 40], (0.1, 0.2))]
)
def test_a_step_through_one_place_leaves_the_bracket_on_its_side(middle, bracket):
    found = fh.analysis.half_capacity(frame_of({0.1: [100] * 3, 0.15: middle, 0.2: [0] * 3})).iloc[0]
    assert (found["half_low"], found["half_high"]) == bracket
    assert np.isnan(found["half_se"])


def test_of_the_noise_too():
    counts = {0.1: [100] * 9, 0.2: [0] * 9}
    noise = fh.analysis.critical_noise(frame_of(counts, "flip")).iloc[0]
    assert (noise["critical"], noise["critical_low"], noise["critical_high"]) == (pytest.approx(0.15), 0.1, 0.2)
    overlap = fh.analysis.critical_overlap(frame_of(counts, "flip")).iloc[0]
    due = (0.7, 0.6, 0.8)
    assert (overlap["critical"], overlap["critical_low"], overlap["critical_high"]) == pytest.approx(due)
    assert np.isnan([noise["critical_se"], overlap["critical_se"]]).all()


def test_an_ordinary_fall_has_the_interval_of_its_error():
    found = fh.analysis.half_capacity(frame_of(logistic(30))).iloc[0]
    assert found["half_high"] - found["half"] == pytest.approx(1.96 * found["half_se"])
    assert found["half"] - found["half_low"] == pytest.approx(1.96 * found["half_se"])
    assert found["half_low"] < 0.2 < found["half_high"]


@pytest.mark.slow
def test_realisations_that_jump_at_different_places_have_an_error_that_covers():
    """Each realisation alone is a step; the error of the pooled half takes in the brackets of resamples."""
    rng = np.random.default_rng(0)
    places, covered = np.arange(0.1, 0.3, 0.02), 0
    for _ in range(40):
        own = 0.2 + 0.03 * rng.normal(size=12)
        counts = {x: 100 * (own > x) for x in places}
        found = fh.analysis.half_capacity(frame_of(counts), draws=60).iloc[0]
        covered += found["half_low"] < 0.2 < found["half_high"]
    assert covered > 32


@pytest.mark.parametrize(
    ("counts", "half"),
    [
        ({x: column[:1] for x, column in logistic(1).items()}, True),  # one realisation
        ({x: [column[0]] * 5 for x, column in logistic(1).items()}, True),  # all alike
        ({0.1: [80, 90]}, False),  # one load
        ({0.1: [100] * 4, 0.2: [100] * 4}, False),  # all 1
        ({0.1: [0] * 4, 0.2: [0] * 4}, False),  # all 0
        ({0.1: [50] * 4, 0.2: [50] * 4}, False),  # ties
        ({0.1: [10] * 4, 0.2: [90] * 4}, False),  # the other way
    ],
    ids=str,
)
def test_what_is_not_known_is_not_told(counts, half):
    found = fh.analysis.half_capacity(frame_of(counts)).iloc[0]
    assert np.isfinite(found["half"]) == half
    assert np.isnan(found[["half_se", "half_low", "half_high"]].to_numpy(float)).all()


def test_sizes_that_jump_have_no_weight_in_a_limit():
    parts = [frame_of(logistic(20, seed=n), neurons=n, beta=8.0) for n in (200, 400)]
    jump = frame_of({0.1: [100] * 5, 0.2: [0] * 5}, neurons=800, beta=8.0)
    with pytest.raises(ValueError, match=r"falls through one half over several loads at beta = 8; got N = 200, 400"):
        fh.analysis.capacity_by_gain(pd.concat([*parts, jump]), "retrieved", draws=20)


def test_a_picture_shows_brackets_and_halves_without_an_error(tmp_path):
    parts = [frame_of(logistic(20, seed=n), neurons=n, beta=8.0) for n in (200, 400, 800)]
    jump = frame_of({0.1: [100] * 5, 0.2: [0] * 5}, neurons=1600, beta=8.0)
    alone = frame_of(logistic(1), neurons=3200, beta=8.0)
    sizes, gains = fh.analysis.capacity_by_gain(pd.concat([*parts, jump, alone]), "retrieved", draws=20)
    assert gains["limit"].notna().all()
    assert sizes["half_se"].isna().any()
    fh.analysis.plot_capacity_by_gain(sizes, gains, tmp_path / "gains.png")


def test_a_limit_needs_sizes_that_differ_and_errors():
    with pytest.raises(ValueError, match="at least 3 different sizes; got 4, 4, 4, and 2 different"):
        fh.analysis.finite_size([100, 100, 200, 200], [0.2, 0.2, 0.18, 0.18], [1e-3] * 4)
    with pytest.raises(ValueError, match="error must be finite"):
        fh.analysis.finite_size([100, 200, 400], [0.2, 0.18, 0.17], [1e-3, np.nan, 1e-3])
    # An exponent that the data push out of its range is not known, nor its limit.
    n = np.array([100.0, 200, 400, 800])
    fitted = fh.analysis.finite_size(n, 0.1 + 50 * n**-5, np.full(4, 1e-15)).query("fitted").iloc[0]
    assert np.isnan(fitted[["exponent", "limit", "limit_se"]].to_numpy(float)).all()


def test_radii_of_one_realisation_have_no_interval():
    counts = {0: [100], 10: [95], 20: [3]}
    found = fh.analysis.hamming_radius(frame_of(counts, "flips")).iloc[0]
    assert found["radius"] == 20
    assert np.isnan([found["radius_low"], found["radius_high"]]).all()
    several = fh.analysis.hamming_radius(frame_of({k: v * 5 for k, v in counts.items()}, "flips")).iloc[0]
    assert (several["radius_low"], several["radius_high"]) == (20, 20)


def test_the_radius_of_attraction_of_a_jump_has_no_error():
    table = fh.capacity(
        seed=3,
        memory={"neurons": 40, "rule": "pseudo-inverse"},
        patterns={"count": 2},
        cues={"flip": [0.1, 0.9], "per_realisation": 10},
        run={"realisations": 4, "tolerance": 1e-6},
    )
    found = fh.analysis.attraction_radius(table).iloc[0]
    assert np.isfinite(found["radius"])
    assert np.isnan(found["radius_se"])


def test_the_uncertainty_exponent_of_one_strip_has_no_error():
    labels = np.zeros((64, 64), int)
    labels[30:34, 30:34] = 1
    labels[:30] = 0
    alone = fh.geometry.uncertainty_exponent(labels, [1, 2])
    assert np.isnan(alone.error) or alone.error > 0
    assert np.isnan(fh.geometry.uncertainty_exponent(np.zeros((64, 64), int)).exponent)
    rng = np.random.default_rng(0)
    blobs = (rng.normal(size=(8, 8)).repeat(16, 0).repeat(16, 1) > 0).astype(int)
    assert fh.geometry.uncertainty_exponent(blobs).error > 0
