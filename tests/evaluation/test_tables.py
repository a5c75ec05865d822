"""Comparisons of answers whose differences are known, and bootstrap intervals against scipy's and what they promise."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from colorize_lib.evaluation import tables
from colorize_lib.evaluation.scores import GRID, Scores
from colorize_lib.evaluation.tables import draw_counts, interval

N = 60


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


@pytest.fixture
def hardness() -> np.ndarray:
    """How hard each image is: it varies far more between images than answers differ."""
    return np.random.default_rng(0).gamma(4, 3, N)


def test_estimates_are_means_with_intervals_around_them(hardness):
    table = tables.estimates({"a": scores(hardness)})
    row = table.loc[("a", "l1_ab")]
    assert row.value == pytest.approx(hardness.mean()) and row.low < row.value < row.high
    spread = 1.96 * hardness.std() / np.sqrt(N)
    assert (row.high - row.low) / 2 == pytest.approx(spread, rel=0.1)
    assert table.loc[("a", "error_red")].tolist() == [30, 30, 30]  # a mean over pixels, not over images


def test_a_small_difference_is_resolved_because_it_is_paired(hardness):
    noise = np.random.default_rng(1).normal(0, 0.3, N)
    answers = {"a": scores(hardness), "b": scores(hardness - 0.5 + noise)}
    each = tables.estimates(answers).xs("l1_ab", level="figure")
    assert each.low["a"] < each.high["b"]  # the answers' own intervals overlap
    row = tables.differences(answers, "a").loc[("b", "l1_ab")]
    assert row.difference == pytest.approx((noise - 0.5).mean()) and row.high < 0 and row.verdict == "better"


def test_verdicts_know_which_way_is_better(hardness):
    answers = {"a": scores(hardness), "b": scores(hardness - 1, psnr=19.0)}
    verdicts = tables.differences(answers, "a").verdict["b"]
    assert verdicts["l1_ab"] == "better" and verdicts["psnr_rgb"] == "worse"
    assert "colorfulness" not in verdicts  # more colour is not better in itself


def test_noise_is_unresolved_and_marked(hardness):
    noise = np.random.default_rng(2).normal(0, 1, N)
    answers = {"a": scores(hardness), "b": scores(hardness + noise - noise.mean())}
    table = tables.differences(answers, "a")
    assert table.verdict["b", "l1_ab"] == "unresolved"
    assert tables.as_text(table, ["l1_ab"], "difference").loc["b", "L1"].endswith("≈")


def test_the_mean_gap_is_compared_by_its_distance_from_zero(hardness):
    varied = np.random.default_rng(3).normal(0, 1, N)
    answers = {"dull": scores(hardness, gap=varied - 20), "vivid": scores(hardness, gap=varied + 5)}
    row = tables.differences(answers, "dull").loc[("vivid", "colorfulness_gap")]
    assert row.difference == pytest.approx(-15, abs=0.5) and row.verdict == "better"


def test_pairwise_is_a_matrix_of_verdicts(hardness):
    answers = {"a": scores(hardness), "b": scores(hardness - 1), "c": scores(hardness - 1)}
    table = tables.pairwise(answers, "l1_ab")
    assert table.loc["b", "a"] == "better" and table.loc["a", "b"] == "worse"
    assert table.loc["b", "c"] == "unresolved" and table.loc["a", "a"] == ""


def test_intervals_over_seeds_are_wider_than_over_images_alone():
    easy = np.random.default_rng(0).normal(10, 0.1, N)
    runs = [{"a": scores(easy + shift), "once": scores(easy)} for shift in (-1.0, 0.0, 1.0)]
    del runs[1]["once"], runs[2]["once"]
    table = tables.over_seeds(runs)
    assert list(table.index.get_level_values("answer").unique()) == ["a"]
    row = table.loc[("a", "l1_ab")]
    assert row.seeds == 3 and row.value == pytest.approx(easy.mean())
    assert row.least == pytest.approx(easy.mean() - 1) and row.most == pytest.approx(easy.mean() + 1)
    alone = tables.estimates({"a": scores(easy)}).loc[("a", "l1_ab")]
    assert row.high - row.low > 5 * (alone.high - alone.low)


def test_the_drop_to_another_domain(hardness):
    home, away = {"a": scores(hardness)}, {"a": scores(hardness[:40] + 30)}
    row = tables.domain_drop(home, away).loc[("a", "l1_ab")]
    assert (
        row.away - row.home == pytest.approx(row.change) == pytest.approx(30 + hardness[:40].mean() - hardness.mean())
    )
    assert 0 < row.low < row.change < row.high


def test_the_floor_of_alike_images_is_one_and_of_different_ones_less():
    alike = scores(np.ones(N))
    assert tables.real_floor(alike).value.tolist() == [1, 1]
    bins = np.zeros((N, GRID**2))
    bins[np.arange(N), np.random.default_rng(0).integers(0, GRID**2, N)] = 1
    varied = Scores(alike.totals, alike.weights, bins, bins, bins)
    floor = tables.real_floor(varied)
    assert (floor.low > 0.3).all() and (floor.low <= floor.value).all() and (floor.high < 0.95).all()


def test_text_leaves_out_figures_that_nobody_has(hardness):
    text = tables.as_text(tables.estimates({"a": scores(hardness)}), ["l1_ab", "lpips", "psnr_rgb"])
    assert list(text) == ["L1", "PSNR, dB"] and list(text.index) == ["a"]
    assert " " not in text.loc["a", "L1"]  # a cell does not break


def test_numbers_are_plain_for_json(hardness):
    numbers = tables.as_numbers(tables.estimates({"a": scores(hardness)}), "a")
    assert set(numbers["l1_ab"]) == {"value", "low", "high"} and type(numbers["l1_ab"]["value"]) is float


# --- the bootstrap ---------------------------------------------------------------------------------------------------


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
