"""Comparisons of answers whose differences are known, and bootstrap intervals against scipy's and what they promise."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from colorize_lib.evaluation import tables
from colorize_lib.evaluation.scores import GRID, Scores
from colorize_lib.evaluation.tables import draw_counts, interval

N = 60
rng = np.random.default_rng(0)
HARDNESS = rng.gamma(4, 3, N)  # how hard each image is: it varies far more between images than answers differ
NOISE = rng.normal(0, 1, N)


def scores(l1: np.ndarray, psnr: np.ndarray | float = 20.0, gap: np.ndarray | float = 0.0) -> Scores:
    """An answer with these figures per image; the rest of them is the same for every answer."""
    n = len(l1)
    totals = pd.DataFrame({"l1_ab": l1, "psnr_rgb": psnr, "colorfulness_gap": gap, "colorfulness": 9.0}, index=range(n))
    totals["error_red"] = np.where(np.arange(n) < 3, 30.0, 0.0)  # three images have one red pixel each
    weights = pd.DataFrame(1.0, index=totals.index, columns=totals.columns)
    weights["error_red"] = (np.arange(n) < 3).astype(float)
    bins = np.zeros((n, GRID**2))
    bins[:, GRID**2 // 2] = 4
    return Scores(totals, weights, bins, bins, 100 * bins)


def test_estimates_are_means_with_intervals_around_them():
    table = tables.estimates({"a": scores(HARDNESS)})
    row = table.loc[("a", "l1_ab")]
    assert row.value == pytest.approx(HARDNESS.mean()) and row.low < row.value < row.high
    assert (row.high - row.low) / 2 == pytest.approx(1.96 * HARDNESS.std() / np.sqrt(N), rel=0.1)
    assert table.loc[("a", "error_red")].tolist() == [30, 30, 30]  # a mean over pixels, not over images
    text = tables.as_text(table, ["l1_ab", "perceptual_lite0", "psnr_rgb"])
    assert list(text) == ["L1", "PSNR, dB"] and list(text.index) == ["a"]  # without a figure that nobody has
    assert " " not in text.loc["a", "L1"]  # a cell does not break


def test_a_small_difference_is_resolved_because_it_is_paired():
    answers = {"a": scores(HARDNESS), "b": scores(HARDNESS - 0.5 + 0.3 * NOISE)}
    each = tables.estimates(answers).xs("l1_ab", level="figure")
    assert each.low["a"] < each.high["b"]  # the answers' own intervals overlap
    row = tables.differences(answers, "a").loc[("b", "l1_ab")]
    assert row.difference == pytest.approx((0.3 * NOISE - 0.5).mean()) and row.high < 0 and row.verdict == "better"


def test_verdicts_know_which_way_is_better():
    answers = {"a": scores(HARDNESS, gap=NOISE - 20), "b": scores(HARDNESS - 1, psnr=19.0, gap=NOISE + 5)}
    table = tables.differences(answers, "a").loc["b"]
    assert table.verdict["l1_ab"] == "better" and table.verdict["psnr_rgb"] == "worse"
    assert "colorfulness" not in table.index  # more colour is not better in itself
    gap = table.loc["colorfulness_gap"]  # its distance from zero is compared
    assert gap.difference == pytest.approx(-15, abs=0.5) and gap.verdict == "better"
    matrix = tables.pairwise(answers | {"c": scores(HARDNESS - 1)}, "l1_ab")
    assert matrix.loc["b", "a"] == "better" and matrix.loc["a", "b"] == "worse"
    assert matrix.loc["b", "c"] == "unresolved" and matrix.loc["a", "a"] == ""


def test_noise_is_unresolved_and_marked():
    answers = {"a": scores(HARDNESS), "b": scores(HARDNESS + NOISE - NOISE.mean())}
    table = tables.differences(answers, "a")
    assert table.verdict["b", "l1_ab"] == "unresolved"
    assert tables.as_text(table, ["l1_ab"], "difference").loc["b", "L1"].endswith("≈")
    assert tables.rivals(answers, "l1_ab") in ("not told apart from a", "not told apart from b")
    assert tables.rivals({"a": answers["a"], "worse": scores(HARDNESS + 5)}, "l1_ab").startswith("ahead of every other")


def test_intervals_over_seeds_are_wider_than_over_images_alone():
    easy = 10 + 0.1 * NOISE
    runs = [{"a": scores(easy + shift)} for shift in (-1.0, 0.0, 1.0)]
    table = tables.over_seeds([runs[0] | {"once": scores(easy)}, *runs[1:]])
    assert list(table.index.unique("answer")) == ["a"]
    row = table.loc[("a", "l1_ab")]
    assert [row.seeds, row.value, row.least, row.most] == pytest.approx([3, *(easy.mean() + [0, -1, 1])])
    alone = tables.estimates(runs[1]).loc[("a", "l1_ab")]
    assert row.high - row.low > 5 * (alone.high - alone.low)


def test_the_drop_to_another_domain():
    row = tables.domain_drop({"a": scores(HARDNESS)}, {"a": scores(HARDNESS[:40] + 30)}).loc[("a", "l1_ab")]
    assert row.away - row.home == row.change == pytest.approx(30 + HARDNESS[:40].mean() - HARDNESS.mean())
    assert 0 < row.low < row.change < row.high


def test_the_floor_of_alike_images_is_one_and_of_different_ones_less():
    alike = scores(np.ones(N))
    assert tables.real_floor(alike).value.tolist() == [1, 1]
    bins = np.eye(GRID**2)[np.random.default_rng(0).integers(0, GRID**2, N)]
    floor = tables.real_floor(Scores(alike.totals, alike.weights, bins, bins, bins))
    assert (floor.low > 0.3).all() and (floor.low <= floor.value).all() and (floor.high < 0.95).all()


def mean_interval(values: np.ndarray, n: int = 2_000) -> tuple[float, float]:
    return interval(draw_counts(len(values), n) @ values / len(values))


def test_the_interval_agrees_with_scipy():
    values = np.random.default_rng(0).gamma(2.0, size=120)
    low, high = mean_interval(values, 10_000)
    expected = scipy.stats.bootstrap([values], np.mean, method="percentile", n_resamples=10_000, rng=1)
    assert [low, high] == pytest.approx(list(expected.confidence_interval), abs=0.05 * (high - low))


def test_nineteen_of_twenty_intervals_hold_the_true_mean():
    values = np.random.default_rng(1).normal(1.0, 1.0, (400, 60))
    ends = np.array([mean_interval(one, n=400) for one in values])
    assert 0.91 <= ((ends[:, 0] <= 1) & (ends[:, 1] >= 1)).mean() <= 0.97


def test_every_draw_takes_as_many_images_as_there_are():
    counts = draw_counts(7, 50, seed=3)
    assert counts.shape == (50, 7) and (counts.sum(axis=1) == 7).all()
    assert (counts == draw_counts(7, 50, seed=3)).all() and (counts != draw_counts(7, 50, seed=4)).any()
    with pytest.raises(ValueError, match="no images"):
        draw_counts(0)
