"""Metrics against independent implementations and against values worked out by hand."""

import numpy as np
import pytest
import skimage.color
import torch
from pictures import photograph
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import nn

from colorize_lib import color
from colorize_lib.color import to_lab
from colorize_lib.data.loader import ColorizationDataset, LabLoader
from colorize_lib.evaluation import metrics
from colorize_lib.evaluation.answers import paint_grey
from colorize_lib.models import GeneratorConfig, LightConfig, build_generator


@pytest.fixture
def pixels() -> np.ndarray:
    """Five smooth random pictures: uint8 (5,32,32,3)."""
    return np.stack([np.asarray(photograph(seed, (32, 32))) for seed in range(5)])


def loader(pixels: np.ndarray, train: bool = False) -> LabLoader:
    return LabLoader(ColorizationDataset(pixels), 2, train)


class Halve(nn.Module):
    """A "generator" that knows the answer: half of the true ab."""

    def __init__(self, pixels: np.ndarray):
        super().__init__()
        self.L, self.ab = to_lab(torch.from_numpy(pixels))
        self.dropout = nn.Dropout(0.5)

    def forward(self, L: torch.Tensor) -> torch.Tensor:
        rows = [int((one == self.L).all(dim=(1, 2, 3)).nonzero()) for one in L]
        return self.dropout(self.ab[rows] / 2)


def test_colorfulness_of_known_pictures():
    grey, half_red, blue_and_yellow = torch.full((1, 3, 2, 2), 0.3), torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    half_red[0, 0, 0] = 1  # upper half red, lower half black: rg is 255 or 0, yb 127.5 or 0
    blue_and_yellow[0, 2, 0] = blue_and_yellow[0, :2, 1] = 1  # yb is -255 and 255: |yb| would have no deviation
    found = metrics.colorfulness(torch.cat([grey, half_red, blue_and_yellow]))
    torch.testing.assert_close(found, torch.tensor([0.0, 1.3 * np.hypot(127.5, 63.75), 255.0]).float())


def test_scores_agree_with_scikit_image(pixels):
    L, ab = to_lab(torch.from_numpy(pixels))
    scores = metrics.image_scores(L, ab / 2, ab)
    for k, picture in enumerate(pixels):
        lab = skimage.color.rgb2lab(picture)
        lab_hat = lab * [1, 0.5, 0.5]
        truth, dull = skimage.color.lab2rgb(lab), skimage.color.lab2rgb(lab_hat)
        assert scores["L1"][k].item() == pytest.approx(np.abs(lab[..., 1:] / 2).mean() / 110, rel=1e-4)
        assert scores["psnr"][k].item() == pytest.approx(peak_signal_noise_ratio(truth, dull, data_range=1), abs=1e-3)
        # torchmetrics mirrors the picture at its border, scikit-image leaves the border out.
        padded = [np.pad(one, ((5, 5), (5, 5), (0, 0)), mode="reflect") for one in (truth, dull)]
        how = {"gaussian_weights": True, "use_sample_covariance": False, "sigma": 1.5}
        ssim = structural_similarity(*padded, data_range=1, channel_axis=2, **how)
        assert scores["ssim"][k].item() == pytest.approx(ssim, abs=1e-4)


def test_validation_means_over_photographs_not_over_batches(pixels):
    net_G = Halve(pixels).train()
    scores = metrics.validate(net_G, loader(pixels))  # batches of 2, 2 and 1
    expected = metrics.image_scores(net_G.L, net_G.ab / 2, net_G.ab)
    for name, values in expected.items():
        assert scores[f"val_{name}"] == pytest.approx(values.mean().item(), rel=1e-5)
    assert 0 <= scores["val_out_of_gamut"] < 0.5
    assert net_G.training
    doubled = metrics.validate(net_G, loader(pixels), gain=2.0)
    assert doubled["val_L1"] == pytest.approx(0, abs=1e-6)
    assert doubled["val_colorfulness"] > 1.5 * scores["val_colorfulness"]


def test_a_table_has_L1_in_Lab_units_and_as_the_reports_log_it():
    table = metrics.as_table({"grey": {"val_L1": 0.1, "val_psnr": 20.0}, "truth": {"val_colorfulness": 41.0}})
    assert table.columns.tolist() == ["L1, Lab units", "L1 x 100", "psnr", "colorfulness"]
    assert table.loc["grey"].tolist() == ["11", "10", "20", ""] and table.loc["truth", "colorfulness"] == "41"


def test_baselines(pixels):
    figures = metrics.baselines(loader(pixels), loader(pixels))
    _, ab = to_lab(torch.from_numpy(pixels))
    assert figures["grey"]["val_L1"] == pytest.approx(ab.abs().mean().item(), rel=1e-5)
    assert figures["grey"]["val_colorfulness"] < 0.1
    mean = ab.mean(dim=(0, 2, 3), keepdim=True)
    assert figures["mean ab"]["val_L1"] == pytest.approx((ab - mean).abs().mean().item(), rel=1e-5)
    train_dl = loader(pixels, train=True)  # 5 photographs, batches of 2: an epoch leaves one out
    train_dl.set_epoch(3, len(train_dl))
    assert metrics.baselines(train_dl, loader(pixels)) == figures  # wherever the loader stands
    truth = metrics.colorfulness(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255)
    assert figures["truth"] == {"val_colorfulness": pytest.approx(truth.mean().item(), rel=1e-3)}


def test_closeness_is_the_area_under_the_cumulative_curve():
    distance = np.random.default_rng(0).gamma(2, 20, 500)
    thresholds = np.linspace(0, 150, 3001)
    curve = (distance[None] <= thresholds[:, None]).mean(axis=1)
    area = 100 * np.trapezoid(curve, thresholds) / 150
    assert metrics.closeness(torch.from_numpy(distance)).mean().item() == pytest.approx(area, abs=0.02)
    assert metrics.closeness(torch.tensor([0.0, 75.0, 150.0, 200.0])).tolist() == [100, 50, 0, 0]


def test_ab_histogram_finds_the_colours():
    blue, grey = np.full((2, 8, 8, 3), [[[[0, 0, 255]]]], np.uint8), np.full((2, 8, 8, 3), 128, np.uint8)
    shares = metrics.ab_histogram(loader(np.concatenate([blue, grey])), bins=22)
    assert shares.sum().item() == pytest.approx(1)
    # sRGB blue is a* = 79.2, b* = -107.9, grey is 0, 0; bins are 10 wide from -110
    assert shares[18, 0].item() == pytest.approx(0.5)
    assert shares[10:12, 10:12].sum().item() == pytest.approx(0.5)


def test_color_accuracy_agrees_with_scikit_image(pixels):
    rng = np.random.default_rng(1)
    noisy = np.clip(pixels + rng.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)
    rgb_hat, rgb = (torch.from_numpy(one).permute(0, 3, 1, 2) / 255 for one in (noisy, pixels))
    scores = metrics.color_accuracy(rgb_hat, rgb)
    difference = np.abs(skimage.color.rgb2lab(noisy) - skimage.color.rgb2lab(pixels))
    np.testing.assert_allclose(scores["mae"], difference.mean(axis=(1, 2, 3)), atol=1e-3)
    for percent in (2, 5):
        within = (difference <= np.array([100, 220, 220]) * percent / 100).all(axis=-1).mean(axis=(1, 2))
        np.testing.assert_allclose(scores[f"within_{percent}"], within, atol=2e-3)
        assert 0 < within.mean() < 1


def test_picture_scores_judge_pictures_as_they_are(pixels):
    dl = loader(pixels)
    truth = {one["L"].sum().item(): one for one in dl}
    exact = metrics.picture_scores(lambda L: color.lab_to_rgb(**truth[L.sum().item()]), dl)
    assert exact["val_mae"] < 0.01 and exact["val_within_2"] > 0.99 and exact["val_psnr"] > 60
    grey = metrics.picture_scores(paint_grey, dl)
    baseline = metrics.baselines(dl, dl)["grey"]
    assert {key: grey[key] for key in baseline} == pytest.approx(baseline, rel=1e-3, abs=0.02)
    dark = metrics.picture_scores(lambda L: paint_grey(L) / 2, dl)  # no colour either, and another lightness
    assert dark["val_L1"] == pytest.approx(grey["val_L1"], rel=1e-3)
    assert dark["val_mae"] > grey["val_mae"] + 5 and dark["val_psnr"] < grey["val_psnr"] - 1


def test_photograph_statistics(pixels):
    table = metrics.photograph_statistics(loader(pixels))
    lab = skimage.color.rgb2lab(pixels)
    np.testing.assert_allclose(table[["mean L*", "mean a*", "mean b*"]], lab.mean(axis=(1, 2)), atol=1e-3)
    np.testing.assert_allclose(table["mean |ab| / 110"], np.abs(lab[..., 1:]).mean(axis=(1, 2, 3)) / 110, atol=1e-5)


def test_readings_walk_along_vividness_or_multiply_and_leave_the_generator():
    torch.manual_seed(0)
    dl = loader(np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8))
    net = build_generator(LightConfig(size=32, encoder="resnet18", widths=(8, 8, 8)))
    along = metrics.readings(net, dl, (0, 1))
    assert along.index.tolist() == ["0", "1"] and net.vividness == 0.8
    net.vividness = 1
    assert along.loc["1"].to_dict() == metrics.validate(net, dl)
    times = metrics.readings(build_generator(GeneratorConfig("resnet18_fast", 32)), dl, (1, 1.5))
    assert times.index.tolist() == ["x 1", "x 1.5"] and times.val_colorfulness.is_monotonic_increasing
