"""Bootstrap intervals against scipy's, and against what they promise."""

import numpy as np
import pytest
import scipy.stats

from colorize_lib.evaluation.bootstrap import draw_counts, interval


def mean_interval(values: np.ndarray, n: int = 2_000) -> tuple[float, float]:
    return interval(draw_counts(len(values), n) @ values / len(values))


def test_the_interval_agrees_with_scipy():
    values = np.random.default_rng(0).gamma(2.0, size=120)
    low, high = mean_interval(values, 10_000)
    expected = scipy.stats.bootstrap([values], np.mean, method="percentile", n_resamples=10_000, rng=1)
    assert low == pytest.approx(expected.confidence_interval.low, abs=0.05 * (high - low))
    assert high == pytest.approx(expected.confidence_interval.high, abs=0.05 * (high - low))


def test_nineteen_of_twenty_intervals_hold_the_true_mean():
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        low, high = mean_interval(rng.normal(1.0, 1.0, 60), n=400)
        held += low <= 1.0 <= high
    assert 0.91 <= held / 400 <= 0.97


def test_every_draw_takes_as_many_images_as_there_are():
    counts = draw_counts(7, 50, seed=3)
    assert counts.shape == (50, 7) and (counts.sum(axis=1) == 7).all()
    assert (counts == draw_counts(7, 50, seed=3)).all() and (counts != draw_counts(7, 50, seed=4)).any()


def test_equal_values_have_no_interval_and_none_are_refused():
    assert mean_interval(np.full(5, 0.25)) == (0.25, 0.25)
    with pytest.raises(ValueError, match="no images"):
        draw_counts(0)
