"""Measures of starts: their distributions, and that a start depends on its number and the seed alone."""

import numpy as np
import pytest
from scipy import stats

import fasthop as fh

MEASURES = [fh.Uniform(-3, 1), fh.Ball(2.0, 0.5), fh.Normal(0.7, [0.0, 1.0, -1.0])]


@pytest.mark.parametrize("measure", MEASURES, ids=str)
def test_a_start_is_a_function_of_its_number(measure):
    everything = measure.draw(50, 3, seed=4, realisation=2)
    np.testing.assert_array_equal(measure.draw(20, 3, seed=4, realisation=2, first=30), everything[30:])
    assert not np.array_equal(measure.draw(50, 3, seed=5, realisation=2), everything)
    assert not np.array_equal(measure.draw(50, 3, seed=4, realisation=3), everything)


@pytest.mark.parametrize("n", [1, 2, 5, 40])
def test_a_ball_is_filled_evenly(n):
    points = fh.Ball(2.0, 0.5).draw(20_000, n, seed=1) - 0.5
    radius = np.linalg.norm(points, axis=1)
    assert radius.max() <= 2.0
    assert stats.kstest((radius / 2) ** n, "uniform").pvalue > 1e-4
    # A sphere, or the square of the right law, is seen.
    assert stats.kstest((radius / 2) ** (2 * n), "uniform").pvalue < 1e-9
    if n > 1:
        angle = np.arctan2(points[:, 0], points[:, 1]) / (2 * np.pi) + 0.5
        assert stats.kstest(angle, "uniform").pvalue > 1e-4


def test_a_normal_cloud_is_normal():
    points = fh.Normal(0.7, [0.0, 1.0, -1.0]).draw(20_000, 3, seed=1)
    for column, centre in zip(points.T, (0.0, 1.0, -1.0), strict=True):
        assert stats.kstest((column - centre) / 0.7, "norm").pvalue > 1e-4
    assert np.abs(np.corrcoef(points.T) - np.eye(3)).max() < 0.03


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fh.Uniform(1, 1), "high must be finite, above 1; got 1"),
        (lambda: fh.Uniform(0, 1).draw(5, 2, first=2**32), "first must be at least 0 and at most"),
        (lambda: fh.Ball(0.0), "radius must be finite, above 0; got 0.0"),
        (lambda: fh.Normal(-1.0), "sigma must be finite, above 0; got -1.0"),
        (lambda: fh.Ball(1.0, [1, 2]).draw(3, 3), r"centre must be a number or have shape \(3,\); got \(2,\)"),
        (lambda: fh.Normal(1.0).draw(0, 3), "count must be at least 1; got 0"),
    ],
)
def test_bad_input_is_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
