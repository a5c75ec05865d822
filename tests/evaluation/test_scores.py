"""Figures of merit of pictures worked out by hand, and of random ones against independent implementations."""

import numpy as np
import pytest
import skimage.color
import skimage.metrics
import torch
from pictures import photograph

from colorize_lib import color
from colorize_lib.data.loader import ColorizationDataset, LabLoader
from colorize_lib.evaluation import scores
from colorize_lib.evaluation.measures import MEASURES
from colorize_lib.evaluation.scores import BINS_IN_GAMUT, GRID, Scores, bin_index


def as_rgb(pixels: np.ndarray) -> torch.Tensor:
    """uint8 (N,H,W,3) to (N,3,H,W) in [0,1]."""
    return torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2) / 255


def plain(*lab: float, size: int = 16) -> torch.Tensor:
    """A picture of one colour: sRGB (1,3,size,size)."""
    return color.lab_to_unclipped_rgb(torch.tensor(lab).reshape(1, 3, 1, 1)).expand(1, 3, size, size)


def judge(rgb_hat: torch.Tensor, rgb: torch.Tensor) -> Scores:
    return scores.judge([(rgb, {"answer": rgb_hat})])["answer"]


@pytest.fixture(scope="module")
def pixels() -> tuple[np.ndarray, np.ndarray]:
    """Six random pictures of 48 px and six others: uint8 (6,48,48,3) each."""
    pictures = [np.asarray(photograph(seed, (48, 48))) for seed in range(12)]
    return np.stack(pictures[:6]), np.stack(pictures[6:])


def test_every_figure_is_among_the_measures(pixels):
    found = judge(*(as_rgb(one) for one in pixels)).figures()
    assert set(MEASURES) - set(found) == {"perceptual_lite0"} and set(found) <= set(MEASURES)
    assert {measure.better for measure in MEASURES.values()} == {"lower", "higher", "near 0", "as the truth"}


def test_the_truth_scores_as_perfect(pixels):
    found = judge(as_rgb(pixels[0]), as_rgb(pixels[0])).figures().iloc[0]
    none = ("l1", "l2", "ciede", "error", "spill", "colorfulness_gap")
    assert found[found.index.str.startswith(none)].abs().max() == pytest.approx(0, abs=1e-9)
    assert found[["auc", "auc_rebalanced", "psnr_rgb"]].tolist() == [pytest.approx(100)] * 3
    assert found[["ssim_rgb", "intersection_a", "intersection_b"]].tolist() == [pytest.approx(1)] * 3
    assert found.colorfulness == found.colorfulness_truth > 0


def test_figures_agree_with_independent_implementations(pixels):
    # SSIM is held against scikit-image in test_metrics.
    mixed = (0.3 * pixels[0] + 0.7 * pixels[1]).round().astype(np.uint8)
    found = judge(as_rgb(mixed), as_rgb(pixels[1])).images
    for k, (generated, truth) in enumerate(zip(mixed, pixels[1], strict=True)):
        lab_hat, lab = skimage.color.rgb2lab(generated), skimage.color.rgb2lab(truth)
        difference = (lab_hat - lab)[..., 1:]
        distance = np.hypot(*np.moveaxis(difference, -1, 0))
        expected = {
            "l1_ab": np.abs(difference).mean(),
            "l2_ab": np.sqrt((difference**2).mean()),
            "ciede2000": skimage.color.deltaE_ciede2000(lab, lab_hat).mean(),
            "psnr_rgb": skimage.metrics.peak_signal_noise_ratio(truth, generated),
            "auc": 100 * np.clip(1 - distance / 150, 0, None).mean(),
        }
        for name, value in expected.items():
            assert found[name][k] == pytest.approx(value, rel=2e-3), name


def test_figures_of_one_colour_by_hand():
    # a* is wrong by 30 and b* by 40: 35 on average, 50 in all.
    found = judge(plain(60.0, 30.0, 0.0), plain(60.0, 0.0, -40.0)).figures().iloc[0]
    assert found.l1_ab == pytest.approx(35, abs=0.5)
    assert found.l2_ab == pytest.approx(np.sqrt((30**2 + 40**2) / 2), abs=0.5)
    assert found.auc == pytest.approx(100 * (1 - 50 / 150), abs=0.5)
    assert found.error_blue == pytest.approx(50, abs=0.5)
    assert "error_red" in found and np.isnan(found.error_red)
    assert found.intersection_a == found.intersection_b == 0


def test_rebalancing_makes_rare_colours_count_as_much_as_common_ones():
    truth, answer = (torch.cat([plain(60.0, 0.0, 0.0, size=20)] * 2) for _ in range(2))
    truth[1, :, :4] = plain(60.0, 50.0, 50.0, size=20)[0, :, :4]  # a tenth of all pixels is orange, and painted grey
    found = judge(answer, truth).figures().iloc[0]
    missed = 100 * (1 - np.hypot(50, 50) / 150)
    assert found.auc == pytest.approx(0.9 * 100 + 0.1 * missed, abs=0.3)
    assert found.auc_rebalanced == pytest.approx((100 + missed) / 2, abs=0.3)


def test_the_sign_of_the_mean_gap_and_the_gap_per_image():
    grey, vivid = plain(60.0, 0.0, 0.0), plain(60.0, 50.0, 50.0)
    found = judge(torch.cat([grey, vivid]), torch.cat([vivid, grey])).figures().iloc[0]
    assert found.colorfulness_gap == pytest.approx(0, abs=1e-5)  # one too dull, one too vivid
    assert found.colorfulness_gap_per_image > 10
    assert judge(grey, vivid).figures().colorfulness_gap[0] < -10


def test_a_set_with_half_its_colours_right_has_half_the_intersection():
    red, green = plain(60.0, 50.0, 0.0), plain(60.0, -50.0, 0.0)
    found = judge(torch.cat([red, red]), torch.cat([red, green])).figures().iloc[0]
    assert [found.intersection_a, found.intersection_b] == pytest.approx([0.5, 1])  # b* is 0 in all
    # It compares sets: the right colours on the wrong pictures do not matter.
    assert judge(torch.cat([green, red]), torch.cat([red, green])).figures().intersection_a[0] == pytest.approx(1)


def test_bins_are_centred_on_multiples_of_ten():
    ab = torch.tensor([[0.0, 4.9, 5.1, -110.0, 110.0], [0.0, -4.9, 5.1, -110.0, 110.0]]).reshape(1, 2, 1, 5)
    middle = GRID // 2
    expected = [middle * GRID + middle] * 2 + [(middle + 1) * GRID + middle + 1, 0, GRID**2 - 1]
    assert bin_index(ab).flatten().tolist() == expected


def test_so_many_bins_hold_a_colour_of_the_screen():
    levels = np.linspace(0, 1, 65)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1)
    a, b = np.moveaxis(np.rint(skimage.color.rgb2lab(cube)[..., 1:] / 10).astype(int), -1, 0)
    assert len(set(zip(a.ravel(), b.ravel(), strict=True))) == BINS_IN_GAMUT


def test_counting_an_image_twice_is_having_it_twice_and_ranked_ones_are_the_extremes(pixels):
    generated, truth = (as_rgb(one) for one in pixels)
    counts = np.array([[2, 0, 1, 1, 0, 3]])
    rows = np.repeat(np.arange(6), counts[0])
    once, repeated = judge(generated, truth), judge(generated[rows], truth[rows])
    by_count = once.figures(counts).iloc[0].drop("auc_rebalanced")  # its weights are those of the whole set
    expected = repeated.figures().iloc[0].drop("auc_rebalanced")
    np.testing.assert_allclose(by_count.to_numpy(), expected.to_numpy(), rtol=1e-9)
    ranked, values = once.ranked("l1_ab", 2), once.images.l1_ab
    assert values[ranked["lowest"][0]] == values.min() and values[ranked["highest"][-1]] == values.max()
    assert set(ranked["median"]) == set(values.sort_values().index[2:4])


def test_evaluate_judges_what_an_answer_paints(pixels):
    dl = LabLoader(ColorizationDataset(pixels[0]), 4, train=False)

    def warm(L: torch.Tensor) -> torch.Tensor:
        return color.lab_to_rgb(L, torch.tensor([0.1, 0.2])[None, :, None, None].expand(len(L), 2, 48, 48))

    judged = scores.evaluate({"warm": warm}, dl)["warm"]
    assert len(judged.totals) == 6
    generated = torch.cat([warm(batch["L"]) for batch in dl])
    expected = judge((generated * 255).round() / 255, as_rgb(pixels[0])).figures()
    np.testing.assert_allclose(judged.figures().to_numpy(), expected.to_numpy(), rtol=1e-4, atol=1e-4)


def test_pictures_to_look_at_are_those_of_the_positions(pixels):
    dl = LabLoader(ColorizationDataset(pixels[0]), 4, train=False)

    def cheat(L: torch.Tensor) -> torch.Tensor:
        return as_rgb(pixels[0][[4, 1]])

    rows = scores.picture_set(cheat, dl, [4, 1], spill_map=True)
    assert list(rows) == ["grey input", "generated", "truth", "spill"]
    np.testing.assert_array_equal(rows["truth"], pixels[0][[4, 1]])
    np.testing.assert_array_equal(rows["generated"], pixels[0][[4, 1]])
    assert rows["spill"].max() == 0
    assert np.ptp(rows["grey input"].astype(int), axis=-1).max() <= 1
