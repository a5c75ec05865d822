"""LPIPS and FID with stand-ins for their networks, and what is said when there are none."""

import urllib.error
from functools import partial

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from colorize_lib.data.loader import ColorizationDataset, LabLoader
from colorize_lib.evaluation import answers, perceptual, scores
from colorize_lib.evaluation.perceptual import MetricUnavailable, load_fid, load_lpips


@pytest.fixture(autouse=True)
def hub(monkeypatch, tmp_path):
    """An empty cache of weights, and no network."""

    def refuse(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    return tmp_path / "hub" / "checkpoints"


class Means(nn.Module):
    """A stand-in for Inception: the mean of R, of G and of B, from pictures in [0,1]."""

    num_features = 3

    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        return rgb.mean(dim=(2, 3))


@pytest.fixture
def small_fid(monkeypatch, hub):
    """FID over `Means`, as if the weights were at hand."""
    monkeypatch.setattr(perceptual, "FrechetInceptionDistance", partial(FrechetInceptionDistance, Means()))
    hub.mkdir(parents=True)
    (hub / perceptual.INCEPTION.rsplit("/", 1)[-1]).touch()


def pictures(seed: int, n: int = 40) -> torch.Tensor:
    return torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) ** (seed + 1)


def test_fid_is_the_distance_of_two_gaussians(small_fid):
    real, painted = pictures(0), pictures(1)
    fid = load_fid(download=False)
    found = fid(real.split(16), painted.split(7))
    means = [one.mean(dim=(2, 3)).double().numpy() for one in (real, painted)]
    covariances = [np.cov(one.T) for one in means]
    shift = ((means[0].mean(axis=0) - means[1].mean(axis=0)) ** 2).sum()
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = shift + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert found == pytest.approx(expected, rel=1e-3)
    assert fid([real], [pictures(2)]) > found  # it forgets what it was asked before
    assert fid([real], [painted]) == pytest.approx(found, rel=1e-4)


def test_fid_of_answers_has_the_truth_as_its_floor(small_fid):
    pixels = (pictures(0) * 255).byte().permute(0, 2, 3, 1).numpy()
    dl = LabLoader(ColorizationDataset(pixels), 16, train=False)
    found = scores.fid_scores(load_fid(download=False), {"grey": answers.paint_grey}, dl)
    assert list(found) == ["grey", scores.TRUTH_HALVES]
    assert found["grey"] > 0 and found[scores.TRUTH_HALVES] >= 0


@pytest.mark.parametrize("download", [False, True])
@pytest.mark.parametrize("name", ["LPIPS", "FID"])
def test_weights_that_cannot_be_had_are_named_with_their_place(name, download, hub):
    with pytest.raises(MetricUnavailable, match=f"^{name}: ") as error:
        load_lpips(64, download) if name == "LPIPS" else load_fid(download)
    url = perceptual.ALEXNET if name == "LPIPS" else perceptual.INCEPTION
    assert url in str(error.value) and str(hub) in str(error.value)
    assert ("no route to host" in str(error.value)) == download


def test_pictures_too_small_for_alexnet_are_refused():
    with pytest.raises(MetricUnavailable, match="32 px are too small"):
        load_lpips(32, download=False)


def test_lpips_runs_on_alexnet(hub):
    from torchvision.models import alexnet

    torch.manual_seed(0)
    hub.mkdir(parents=True)
    torch.save(alexnet().state_dict(), hub / perceptual.ALEXNET.rsplit("/", 1)[-1])
    lpips = load_lpips(64, download=False)
    rgb = torch.rand(3, 3, 64, 64)
    assert lpips(rgb, rgb).tolist() == [0, 0, 0]
    near, far = lpips((rgb + 0.02).clamp(max=1), rgb), lpips(1 - rgb, rgb)
    assert near.shape == (3,) and (near > 0).all() and (far > near).all()
    torch.testing.assert_close(lpips(rgb[1:2], 1 - rgb[1:2]), far[1:2], rtol=1e-3, atol=1e-6)
