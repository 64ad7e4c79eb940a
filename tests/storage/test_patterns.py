import numpy as np
import pytest
from scipy import stats

import fasthop as fh


def test_patterns_are_fair_signs_and_nested():
    small = fh.random_patterns(20, 50, seed=5)
    large = fh.random_patterns(31, 80, seed=5)
    assert set(np.unique(large)) == {-1.0, 1.0}
    np.testing.assert_array_equal(large[:20, :50], small)
    assert stats.binomtest(int((large > 0).sum()), large.size, 0.5).pvalue > 1e-6
    assert not np.array_equal(small, fh.random_patterns(20, 50, seed=6))


def test_a_realisation_does_not_depend_on_its_neighbours():
    together = fh.random_patterns(3, 7, seed=1, realisations=[4, 9])
    np.testing.assert_array_equal(together[1], fh.random_patterns(3, 7, seed=1, realisations=[9])[0])
    np.testing.assert_array_equal(
        fh.random_patterns(3, 7, seed=1), fh.random_patterns(3, 7, seed=1, realisations=[0])[0]
    )


def test_more_noise_flips_more_of_the_same():
    patterns = fh.random_patterns(4, 500, seed=2)
    which = np.arange(40) % 4
    flipped = [fh.flip(patterns, p, cues=40, seed=3) != patterns[which] for p in (0.0, 0.1, 0.3, 1.0)]
    assert not flipped[0].any()
    assert flipped[3].all()
    assert (flipped[1] <= flipped[2]).all()
    for p, found in ((0.1, flipped[1]), (0.3, flipped[2])):
        assert stats.binomtest(int(found.sum()), found.size, p).pvalue > 1e-6


def test_biased_patterns_have_their_mean_and_grow_with_it():
    fair, some, all_up = (fh.random_patterns(50, 400, bias=bias, seed=5) for bias in (0.0, 0.3, 1.0))
    np.testing.assert_array_equal(fair, fh.random_patterns(50, 400, seed=5))
    assert (some >= fair).all()
    assert (all_up == 1).all()
    assert (fh.random_patterns(5, 40, bias=-1.0) == -1).all()
    assert stats.binomtest(int((some > 0).sum()), some.size, 0.65).pvalue > 1e-6


@pytest.mark.parametrize("c", [0.0, 0.25, 1.0])
def test_correlated_patterns_overlap_as_they_are_told(c):
    sets = fh.storage.correlated_patterns(6, 2000, c, seed=1, realisations=range(20))
    assert set(np.unique(sets)) == {-1.0, 1.0}
    overlaps = np.einsum("rpi,rqi->rpq", sets, sets)[:, *np.triu_indices(6, 1)] / 2000
    assert overlaps.mean() == pytest.approx(c, abs=5 / np.sqrt(20 * 2000))
    assert abs(sets.mean()) < 5 / np.sqrt(20 * 2000)  # fair, whatever c
    np.testing.assert_array_equal(fh.storage.correlated_patterns(4, 2000, c, seed=1), sets[0, :4])


def test_spherical_patterns_have_their_length_and_no_direction():
    patterns = fh.storage.spherical_patterns(4000, 5, seed=2)
    np.testing.assert_allclose((patterns**2).sum(axis=1), 5)
    np.testing.assert_array_equal(fh.storage.spherical_patterns(7, 5, seed=2), patterns[:7])
    # A coordinate of a point on the unit sphere in five dimensions: (1 + x)/2 is Beta(2, 2).
    for column in patterns.T:
        assert stats.kstest((1 + column / np.sqrt(5)) / 2, stats.beta(2, 2).cdf).pvalue > 1e-6


def test_exact_flips_and_hidden_entries_are_as_many_as_told_and_nested():
    patterns = fh.random_patterns(3, 40, seed=2)
    which = np.arange(3000) % 3
    changed = [fh.storage.flip_exactly(patterns, k, cues=3000, seed=7) != patterns[which] for k in (0, 5, 6, 40)]
    for k, each in zip((0, 5, 6, 40), changed, strict=True):
        assert (each.sum(axis=1) == k).all()
    assert (changed[1] <= changed[2]).all()
    assert stats.chisquare(changed[1].sum(axis=0)).pvalue > 1e-6  # every neuron as often
    hidden = fh.storage.hide(patterns, 5, cues=3000, seed=7)
    np.testing.assert_array_equal(hidden == 0, changed[1])
    np.testing.assert_array_equal(hidden[~changed[1]], patterns[which][~changed[1]])
    half = fh.storage.hide_last(patterns, 20)
    np.testing.assert_array_equal(half, patterns * (np.arange(40) < 20))
    assert patterns.all()  # not changed in place


@pytest.mark.parametrize(
    "make",
    [
        lambda xi, cues: fh.flip(xi, 0.2, cues=cues, seed=3),
        lambda xi, cues: fh.storage.flip_exactly(xi, 4, cues=cues, seed=3),
        lambda xi, cues: fh.storage.hide(xi, 4, cues=cues, seed=3),
        lambda xi, cues: fh.add_noise(xi, 0.7, cues=cues, seed=3),
        lambda xi, cues: fh.Uniform(-1, 2).draw(len(range(30)[:cues] if isinstance(cues, int) else cues), 20, seed=3,
                                                first=0 if isinstance(cues, int) else cues.start),
    ],
)  # fmt: skip
def test_cues_can_be_made_a_few_at_a_time(make):
    patterns = fh.random_patterns(7, 20, seed=2)
    np.testing.assert_array_equal(make(patterns, 30)[11:25], make(patterns, range(11, 25)))


def test_noise_is_normal_and_the_same_for_every_size():
    patterns = fh.random_patterns(3, 40, seed=2)
    small, large = (
        fh.add_noise(patterns, sigma, cues=600, seed=1) - patterns[np.arange(600) % 3] for sigma in (0.5, 2)
    )
    np.testing.assert_allclose(4 * small, large, rtol=1e-12, atol=1e-14)
    assert stats.kstest(large.ravel() / 2, "norm").pvalue > 1e-6
    together = fh.add_noise(np.array([patterns, patterns]), 1.0, seed=1, realisations=[3, 0])
    np.testing.assert_array_equal(together[1], fh.add_noise(patterns, 1.0, seed=1))


def test_uniform_starts_fill_their_box():
    starts = fh.Uniform(-3, 1).draw(20_000, 2, seed=1)
    assert starts.min() >= -3
    assert starts.max() < 1
    assert stats.kstest((starts[:, 0] + 3) / 4, "uniform").pvalue > 1e-6
    np.testing.assert_array_equal(fh.Uniform(-3, 1).draw(10, 2, seed=1), starts[:10])


def test_digits_are_the_data_set_that_the_literature_uses():
    images, digits = fh.digit_images()
    assert images.shape == (1797, 64)
    assert np.linalg.matrix_rank(images) == 55
    assert len(np.unique(images, axis=0)) == 1750
    assert (np.ptp(images, axis=0) == 0).sum() == 10
    assert np.bincount(digits).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert fh.digit_means().shape == (10, 64)


def test_chosen_digits_are_different_images_and_nested():
    images, _ = fh.digit_images()
    few, many = (fh.storage.choose(images, count, seed=3, realisations=[0, 1]) for count in (5, 40))
    np.testing.assert_array_equal(many[:, :5], few)
    assert not np.array_equal(few[0], few[1])
    everything = fh.storage.choose(images, 1797, seed=3)
    np.testing.assert_array_equal(np.sort(everything @ 2.0 ** -np.arange(64)), np.sort(images @ 2.0 ** -np.arange(64)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fh.random_patterns(0, 5), "count must be at least 1; got 0"),
        (lambda: fh.random_patterns(2, 5, seed=-1), "seed must be at least 0"),
        (lambda: fh.flip(np.ones((2, 5)), 1.5), "probability must be finite, at least 0, at most 1; got 1.5"),
        (lambda: fh.flip(np.ones(5), 0.5), "patterns must have shape"),
        (lambda: fh.storage.choose(np.ones((2, 5)), 3), "count must be at least 1 and at most 2; got 3"),
        (lambda: fh.random_patterns(2, 5, bias=1.5), "bias must be finite, at least -1, at most 1; got 1.5"),
        (
            lambda: fh.storage.correlated_patterns(2, 5, -0.1),
            "correlation must be finite, at least 0, at most 1; got -0.1",
        ),
        (lambda: fh.storage.spherical_patterns(0, 5), "count must be at least 1; got 0"),
        (lambda: fh.storage.flip_exactly(np.ones((2, 5)), 6), "entries must be at least 0 and at most 5; got 6"),
        (lambda: fh.storage.hide(np.ones((2, 5)), -1), "entries must be at least 0 and at most 5; got -1"),
        (lambda: fh.storage.hide_last(np.ones((2, 5)), 6), "entries must be at least 0 and at most 5; got 6"),
        (lambda: fh.storage.hide_last(1.0, 0), "patterns must have neurons on their last axis"),
        (lambda: fh.add_noise(np.ones((2, 5)), -1.0), "sigma must be finite, at least 0; got -1.0"),
        (lambda: fh.flip(np.ones((2, 5)), 0.5, cues=range(5, 5)), "cues must be a number or a range"),
        (lambda: fh.flip(np.ones((2, 5)), 0.5, cues=range(0, 5, 2)), "with step 1"),
        (lambda: fh.Uniform(0, 1).draw(5, 2, first=2**32), "first must be at least 0 and at most"),
        (lambda: fh.flip(np.ones((0, 5)), 0.5), "at least one pattern of one neuron"),
        (lambda: fh.Uniform(1, 1), "high must be finite, above 1; got 1"),
    ],
)
def test_bad_input_is_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
