"""What a table over noise says of the size of basins, on curves whose answer is known, and on networks."""

import numpy as np
import pandas as pd
import pytest
from scipy import special

import fasthop as fh
from fasthop.experiments.capacity import PARAMETERS


def rows(axis, places, rate, realisations=40, cues=100, seed=0, **values):
    """Counts drawn from rates `rate(places)`, the same for every realisation."""
    rng = np.random.default_rng(seed)
    found = [
        {axis: place, "realisation": r, "cues": cues, "retrieved": rng.binomial(cues, p)}
        for place, p in zip(places, rate(np.array(places)), strict=True)
        for r in range(realisations)
    ]
    frame = pd.DataFrame(found)
    for name in PARAMETERS:
        if name not in frame:
            frame[name] = values.get(name, 100)
    return frame


def falling(half, width):
    return lambda x: special.expit((half - x) / width)


def test_the_critical_noise_of_a_logistic_curve_is_found_again():
    frame = rows("flip", np.arange(0, 0.5, 0.03), falling(0.31, 0.03))
    found = fh.analysis.critical_noise(frame).iloc[0]
    assert found["critical"] == pytest.approx(0.31, abs=4 * found["critical_se"])
    assert found["critical_se"] < 2e-3
    assert found["width"] == pytest.approx(0.03, rel=0.05)
    assert "flip" not in found
    overlap = fh.analysis.critical_overlap(frame).iloc[0]
    assert overlap["critical"] == pytest.approx(1 - 2 * found["critical"], rel=1e-14)
    assert overlap["critical_se"] == pytest.approx(2 * found["critical_se"], rel=1e-14)


def test_exact_flips_and_gaussian_noise_have_one_too():
    flips = rows("flips", range(0, 40, 3), falling(20, 2), neurons=80)
    assert fh.analysis.critical_overlap(flips, "flips")["critical"].item() == pytest.approx(0.5, abs=0.01)
    sigma = rows("sigma", np.arange(0, 3, 0.25), falling(1.4, 0.2))
    assert fh.analysis.critical_noise(sigma, "sigma")["critical"].item() == pytest.approx(1.4, abs=0.02)
    with pytest.raises(ValueError, match="noise must be one of 'flip', 'flips'; got 'sigma'"):
        fh.analysis.critical_overlap(sigma, "sigma")


def test_what_does_not_cross_one_half_has_none():
    frame = rows("flip", np.arange(0, 0.2, 0.03), falling(0.4, 0.02))
    assert np.isnan(fh.analysis.critical_noise(frame)["critical"].item())
    assert np.isnan(fh.analysis.critical_overlap(frame)["critical"].item())


def test_the_hamming_radius_is_the_first_distance_at_which_too_few_return():
    # 1 up to distance 8, .95 at 10, .8 at 12: the first below .9 is 12.
    shares = {0: 1.0, 4: 1.0, 8: 1.0, 10: 0.95, 12: 0.8, 16: 0.1}
    frame = rows("flips", list(shares), lambda x: np.array([shares[int(k)] for k in x]), neurons=60)
    found = fh.analysis.hamming_radius(frame).iloc[0]
    assert (found["radius"], found["radius_low"], found["radius_high"]) == (12, 12, 12)
    assert found["relative"] == 0.2
    assert fh.analysis.hamming_radius(frame, 0.99)["radius"].item() == 10
    assert np.isinf(fh.analysis.hamming_radius(frame, 0.05)["radius"].item())
    # Near the threshold the interval says that it could be either.
    near = rows("flips", [0, 5, 10], lambda x: np.where(x < 5, 1.0, np.where(x < 10, 0.9, 0.2)), realisations=10)
    found = fh.analysis.hamming_radius(near).iloc[0]
    assert (found["radius_low"], found["radius_high"]) == (5, 10)


@pytest.mark.parametrize(
    "function",
    [
        fh.analysis.critical_noise,
        fh.analysis.critical_overlap,
        fh.analysis.hamming_radius,
        fh.analysis.attraction_radius,
    ],
)
def test_another_table_is_refused(function):
    with pytest.raises(ValueError, match="frame must hold rows of a capacity sweep; it has no column 'neurons'"):
        function(pd.DataFrame({"a": [1]}))


@pytest.mark.slow
def test_the_radius_of_attraction_of_a_network():
    # R is near 1 at small loads and falls as they grow (Kanter, Sompolinsky 1987); m₁ by hand.
    table = fh.capacity(
        seed=3,
        memory={"neurons": 100, "rule": "pseudo-inverse"},
        patterns={"load": [0.05, 0.5]},
        cues={"flip": {"from": 0.0, "to": 0.5, "by": 0.1}, "per_realisation": 40},
        run={"realisations": 10, "tolerance": 1e-6},
    )
    found = fh.analysis.attraction_radius(table)
    assert found["radius"].iloc[0] == pytest.approx(1.0, abs=0.06)
    assert found["radius"].iloc[1] < 0.6
    for row in found.itertuples():
        largest, inverse = [], []
        for xi in fh.random_patterns(row.patterns, 100, seed=3, realisations=range(10)):
            for mu in range(row.patterns):
                m = max(xi[mu] @ xi[nu] / 100 for nu in range(row.patterns) if nu != mu)
                largest.append(m)
                inverse.append(1 / (1 - m))
        assert row.largest_overlap == pytest.approx(np.mean(largest), rel=1e-12)
        assert row.radius == pytest.approx((1 - row.critical) * np.mean(inverse), rel=1e-12)
    with pytest.raises(ValueError, match="frame must have a column 'seed' with one value"):
        fh.analysis.attraction_radius(table.drop(columns="seed"))


def test_one_pattern_is_found_from_any_cue_that_is_nearer_to_it_than_to_its_negative():
    # A single pattern without others: p_c = ½ by symmetry, m₀* = 0, and no m₁.
    table = fh.capacity(
        seed=1,
        memory={"neurons": 51, "self_coupling": True},
        patterns={"count": 1},
        cues={"flip": {"from": 0.3, "to": 0.7, "by": 0.05}, "per_realisation": 100},
        run={"realisations": 10, "tolerance": 1e-6},
    )
    found = fh.analysis.critical_noise(table).iloc[0]
    assert found["critical"] == pytest.approx(0.5, abs=4 * found["critical_se"] + 1e-3)
    assert np.isnan(fh.analysis.attraction_radius(table)["radius"].item())
