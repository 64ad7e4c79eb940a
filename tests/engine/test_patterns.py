import numpy as np
import pytest
from scipy import stats

import fasthop as fh
from fasthop.patterns import digit_choice


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
    few, many = (digit_choice(count, seed=3, realisations=[0, 1]) for count in (5, 40))
    np.testing.assert_array_equal(many[:, :5], few)
    assert not np.array_equal(few[0], few[1])
    images, _ = fh.digit_images()
    everything = digit_choice(1797, seed=3, realisations=[0])[0]
    np.testing.assert_array_equal(np.sort(everything @ 2.0 ** -np.arange(64)), np.sort(images @ 2.0 ** -np.arange(64)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fh.random_patterns(0, 5), "count must be at least 1; got 0"),
        (lambda: fh.random_patterns(2, 5, seed=-1), "seed must be at least 0"),
        (lambda: fh.flip(np.ones((2, 5)), 1.5), "probability must be finite, at least 0, at most 1; got 1.5"),
        (lambda: fh.flip(np.ones(5), 0.5), "patterns must have shape"),
        (lambda: fh.Uniform(1, 1), "high must be finite, above 1; got 1"),
    ],
)
def test_bad_input_is_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
