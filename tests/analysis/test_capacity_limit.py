"""The load at which half is retrieved, on curves whose answer is known, and on a network."""

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, special

import fasthop as fh
from fasthop.analysis.capacity_limit import finite_size, half_capacity
from fasthop.experiments.capacity import PARAMETERS


def rows(half, width, spread=0.0, realisations=40, cues=100, seed=0, loads=None):
    """Counts drawn from a logistic curve; the halves of realisations differ by `spread`."""
    rng = np.random.default_rng(seed)
    places = half + spread * rng.normal(size=realisations)
    found = []
    for load in np.arange(0.02, 0.4, 0.02) if loads is None else loads:
        rate = special.expit((places - load) / width)
        found += [
            {"load": load, "realisation": r, "cues": cues, "retrieved": rng.binomial(cues, p)}
            for r, p in enumerate(rate)
        ]
    frame = pd.DataFrame(found)
    for name in PARAMETERS:
        if name not in frame:
            frame[name] = 100
    return frame


def test_a_logistic_curve_is_found_again():
    found = half_capacity(rows(0.163, 0.012)).iloc[0]
    assert found["half"] == pytest.approx(0.163, abs=4 * found["half_se"])
    assert found["half_se"] < 1e-3
    assert found["width"] == pytest.approx(0.012, rel=0.05)


def test_the_error_is_that_of_many_experiments():
    halves = [half_capacity(rows(0.15, 0.01, spread=0.02, seed=seed), draws=100) for seed in range(40)]
    spread = np.std([found["half"].iloc[0] for found in halves], ddof=1)
    claimed = np.mean([found["half_se"].iloc[0] for found in halves])
    assert claimed == pytest.approx(spread, rel=0.35)
    assert claimed == pytest.approx(0.02 / np.sqrt(40), rel=0.3)


def test_it_agrees_with_scipys_fit_of_the_same_curve():
    frame = rows(0.2, 0.015, seed=3)
    pooled = frame.groupby("load")[["retrieved", "cues"]].sum()
    p = (pooled["retrieved"] / pooled["cues"]).to_numpy()
    (half, _), _ = optimize.curve_fit(
        lambda a, h, w: special.expit((h - a) / w), pooled.index.to_numpy(), p, (0.2, 0.01)
    )
    assert half_capacity(frame)["half"].iloc[0] == pytest.approx(half, abs=1e-3)


def test_a_rate_that_does_not_cross_one_half_has_no_half():
    assert np.isnan(half_capacity(rows(0.9, 0.01))["half"].iloc[0])
    assert np.isnan(half_capacity(rows(0.2, 0.01, loads=[0.3, 0.35]))["half"].iloc[0])


def test_every_combination_of_parameters_has_its_own():
    first, second = rows(0.1, 0.01), rows(0.2, 0.01)
    second["neurons"] = 200
    found = half_capacity(pd.concat([first, second]))
    assert found["neurons"].tolist() == [100, 200]
    assert found["half"].tolist() == pytest.approx([0.1, 0.2], abs=0.002)
    with pytest.raises(ValueError, match="it has no column 'rule'"):
        half_capacity(first.drop(columns="rule"))


def test_a_power_law_is_extrapolated():
    n = np.array([100, 200, 400, 800, 1600])
    clean = finite_size(n, 0.1347 + 1.2 * n ** (-2 / 3), np.full(5, 1e-4))
    assert clean.loc[clean["fitted"], "exponent"].item() == pytest.approx(2 / 3, abs=1e-4)
    assert clean.loc[clean["fitted"], "limit"].item() == pytest.approx(0.1347, abs=1e-6)
    right = clean[np.isclose(clean["exponent"], 2 / 3) & ~clean["fitted"]].iloc[0]
    assert right["limit"] == pytest.approx(0.1347, abs=1e-12)
    assert right["chi2"] < 1e-12
    assert clean[clean["exponent"] == 1.0]["chi2"].item() > 100
    # The errors are those of repeated draws.
    rng = np.random.default_rng(1)
    limits = [
        finite_size(n, 0.1347 + 1.2 * n ** (-2 / 3) + 5e-4 * rng.normal(size=5), np.full(5, 5e-4)).loc[[1, 3], "limit"]
        for _ in range(300)
    ]
    spread = np.std(limits, axis=0)
    claimed = finite_size(n, 0.1347 + 1.2 * n ** (-2 / 3), np.full(5, 5e-4)).loc[[1, 3], "limit_se"]
    np.testing.assert_allclose(claimed, spread, rtol=0.25)


def test_too_few_sizes_are_refused():
    with pytest.raises(ValueError, match="one length, and neurons at least 3 different sizes; got 2, 2, 2"):
        finite_size([1, 2], [1, 2], [1, 1])
    with pytest.raises(ValueError, match="must be positive"):
        finite_size([1, 2, 3], [1, 2, 3], [1, 0, 1])


def test_hebb_at_a_hundred_neurons_has_the_half_that_was_measured():
    # P½/N = .1888 ± .0013 at N = 100, β = 8, clean cues, overlap ≥ .9: measured beforehand with an independent script.
    table = fh.capacity(
        seed=1,
        memory={"neurons": 100},
        patterns={"load": [0.13, 0.16, 0.19, 0.22, 0.25]},
        cues={"per_realisation": 30},
        run={"realisations": 60, "tolerance": 1e-6, "t_max": 320.0},
    )
    found = half_capacity(table).iloc[0]
    assert found["half"] == pytest.approx(0.1888, abs=4 * np.hypot(found["half_se"], 0.0013))
    assert found["half_se"] < 0.004


def test_sweeps_of_two_seeds_count_twice_and_equal_rows_once():
    one, two = (rows(0.163, 0.012, spread=0.01, seed=seed).assign(seed=seed) for seed in (1, 2))
    alone, both = half_capacity(one).iloc[0], half_capacity(pd.concat([one, two])).iloc[0]
    assert (alone["realisations"], both["realisations"]) == (40, 80)
    assert both["half"] not in (alone["half"], half_capacity(two)["half"].iloc[0])
    # Relative loads of few neurons can come to the same patterns.
    again = half_capacity(pd.concat([one, one[one["load"] < 0.17]])).iloc[0]
    pd.testing.assert_series_equal(again, alone)
