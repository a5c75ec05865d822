"""Distances of features, with a stand-in and with Lite0, and what is said where weights are missing."""

import urllib.error

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from colorize_lib.data.loader import ColorizationDataset, LabLoader
from colorize_lib.evaluation import answers, perceptual, scores
from colorize_lib.evaluation.perceptual import Lite0, load_distances
from colorize_lib.models.encoders import WeightsUnavailable


class Means(nn.Module):
    """A stand-in: the mean of R, of G and of B, from pictures in [0,1]."""

    num_features = 3

    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        return rgb.mean(dim=(2, 3))


@pytest.fixture
def frechet():
    return perceptual._frechet(FrechetInceptionDistance(Means(), normalize=True), "cpu")


@pytest.fixture(scope="module")
def lite0() -> Lite0:
    return Lite0()


def pictures(seed: int, n: int = 40, side: int = 8) -> torch.Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed)) ** (seed + 1)


def test_the_frechet_distance_is_that_of_two_gaussians(frechet):
    real, painted = pictures(0), pictures(1)
    found = frechet(real.split(16), painted.split(7))
    means = [one.mean(dim=(2, 3)).double().numpy() for one in (real, painted)]
    covariances = [np.cov(one.T) for one in means]
    shift = ((means[0].mean(axis=0) - means[1].mean(axis=0)) ** 2).sum()
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = shift + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert found == pytest.approx(expected, rel=1e-3)
    assert frechet([real], [pictures(2)]) > found  # it forgets what it was asked before
    assert frechet([real], [painted]) == pytest.approx(found, rel=1e-4)


def test_distances_of_answers_have_the_truth_as_their_floor(frechet):
    pixels = (pictures(0) * 255).byte().permute(0, 2, 3, 1).numpy()
    dl = LabLoader(ColorizationDataset(pixels), 16, train=False)
    found = scores.set_distances({"fd": frechet}, {"grey": answers.paint_grey}, dl)
    assert list(found.index) == ["grey", scores.TRUTH_HALVES] and (found.fd >= 0).all() and found.fd["grey"] > 0


def test_lite0s_distance_is_0_for_equal_pictures_and_grows_with_what_differs(lite0):
    rgb = pictures(0, n=3, side=64)
    near, far = lite0.distance((rgb + 0.05).clamp(max=1), rgb), lite0.distance(pictures(3, n=3, side=64), rgb)
    assert lite0.distance(rgb, rgb).abs().max() < 1e-6 and near.shape == (3,)
    assert (near > 1e-5).all() and (far > near).all() and (far < 8).all()
    maps = [one.double() / one.double().norm(dim=1, keepdim=True) for one in lite0.maps(rgb[:1])]
    others = [one.double() / one.double().norm(dim=1, keepdim=True) for one in lite0.maps(1 - rgb[:1])]
    by_hand = sum(((a - b) ** 2).sum(dim=1).mean() for a, b in zip(maps, others, strict=True))
    assert lite0.distance(1 - rgb[:1], rgb[:1]).item() == pytest.approx(by_hand.item(), rel=1e-4)
    assert lite0(rgb).shape == (3, Lite0.num_features) and [one.shape[1] for one in maps] == [40, 112]


@pytest.mark.parametrize("download", [False, True])
def test_what_cannot_be_had_is_named_with_its_place_and_left_out(download, monkeypatch, tmp_path, capsys):
    def refuse(*_, **__):
        raise urllib.error.URLError("no route to host")

    def unavailable(*_):
        raise WeightsUnavailable("pip install it")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(perceptual, "classifier_state", unavailable)
    assert load_distances(download) == (None, {})
    printed = capsys.readouterr().out
    assert "left out, perceptual_lite0 and fd_lite0: pip install it" in printed and "left out, FID: " in printed
    assert perceptual.INCEPTION in printed and str(tmp_path) in printed
    assert ("no route to host" in printed) == download
