"""Photographs coloured at their own size: what goes in, and the lightness that stays."""

import numpy as np
import pytest
import torch
from pictures import photograph, save
from PIL import Image
from skimage.color import lab2rgb, rgb2lab
from torch import nn

from colorize_lib import color
from colorize_lib.colorizing.colorizer import Colorizer
from colorize_lib.images import UnusablePhoto
from colorize_lib.models import GeneratorConfig, build_generator
from colorize_lib.models.cifar import CifarConfig
from colorize_lib.models.weights import save_weights

CONFIG = GeneratorConfig("unet", size=64, n_down=6, num_filters=4, init="kaiming")  # one level with dropout


class Paints(nn.Module):
    """A generator that gives the same colour (a, b) to every pixel, normalised, whatever it is shown; it notes that."""

    def __init__(self, a: float, b: float):
        super().__init__()
        self.ab, self.seen = nn.Buffer(torch.tensor([a, b]).reshape(1, 2, 1, 1)), []

    def forward(self, L: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(L.shape))
        return self.ab.expand(len(L), 2, *L.shape[2:])


class PaintsByLightness(nn.Module):
    """A generator whose colour follows the lightness it is shown."""

    def forward(self, L: torch.Tensor) -> torch.Tensor:
        return torch.cat([0.3 * L, -0.3 * L], dim=1)


@pytest.fixture(scope="module")
def net_G() -> nn.Module:
    torch.manual_seed(0)
    return build_generator(CONFIG)


@pytest.fixture
def paint(net_G) -> Colorizer:
    return Colorizer(net_G, CONFIG, "cpu")


def painter(a: float, b: float) -> Colorizer:
    return Colorizer(Paints(a, b), CONFIG, "cpu")


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(int)


# --- sizes and options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(96, 80), (31, 203), (1, 1), (5000, 1)])
def test_the_picture_keeps_its_size(paint, size):
    painted = paint(photograph(0, size))
    assert painted.size == size and painted.mode == "RGB"


def test_one_colouring_is_always_the_same_and_several_follow_the_seed(paint):
    one, same = pixels(paint(photograph())), pixels(paint(photograph()))
    assert paint.has_dropout and (one == same).all() and np.ptp(one, axis=2).max() > 30, "it paints nothing"
    before = torch.get_rng_state()
    first, again, other = (np.stack(paint(photograph(), samples=3, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)  # with a seed of its own, the caller's generator stays as it is
    assert len(first) == 3 and (first == again).all()
    for different in (first[1], first[2], other[0]):
        assert (first[0] != different).any()
    paint(photograph(), samples=2)
    assert not torch.equal(torch.get_rng_state(), before)


def test_saturation_scales_the_colour():
    picture, paint = Image.new("RGB", (70, 50), (128, 128, 128)), painter(0.1, -0.2)
    for saturation in (0.0, 0.5, 1.0, 1.5):
        found = rgb2lab(np.asarray(paint(picture, saturation=saturation)))[..., 1:].mean(axis=(0, 1))
        np.testing.assert_allclose(found, saturation * 110 * np.array([0.1, -0.2]), atol=0.6)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"samples": 0}, "must be at least"),
        *(({"saturation": value}, "must be at least") for value in (-0.1, float("nan"), float("inf"))),
        ({"samples": 2}, "no dropout"),
    ],
)
def test_refuses_bad_options(options, reason):
    with pytest.raises(ValueError, match=reason):
        painter(0.1, 0.1)(photograph(), **options)


def test_the_network_sees_the_size_that_is_asked_for():
    net = Paints(0.1, 0.1)
    for size in (None, 128):
        Colorizer(net, CONFIG, "cpu", size)(photograph())
    assert net.seen == [(1, 1, 64, 64), (1, 1, 128, 128)]


@pytest.mark.parametrize(
    ("config", "size", "reason"),
    [
        (CONFIG, 100, "multiple of 64"),
        (CONFIG, 0, "multiple of 64"),
        (GeneratorConfig("resnet18_dynamic_unet", 64), 80, "multiple of 32"),
        (CifarConfig(), 64, "32 px only"),
    ],
)
def test_refuses_a_size_that_the_network_cannot_take(config, size, reason):
    with pytest.raises(ValueError, match=reason):
        Colorizer(Paints(0, 0), config, "cpu", size)


def test_generators_that_paint_rgb_colour_photographs_too():
    config = CifarConfig()
    assert Colorizer(build_generator(config), config, "cpu")(photograph(0, (90, 60))).size == (90, 60)


# --- what goes in --------------------------------------------------------------------------------------------------


def test_a_file_and_its_pixels_are_coloured_alike_by_weights_from_a_file(net_G, paint, tmp_path):
    save_weights(net_G, tmp_path / "net_G.safetensors", {"generator": vars(CONFIG)})
    loaded = Colorizer.load(tmp_path / "net_G.safetensors", device="cpu")
    assert loaded.size == 64
    for form in (save(photograph(), tmp_path / "a.png"), np.asarray(photograph())):
        assert (pixels(loaded(form)) == pixels(paint(photograph()))).all()
    (tmp_path / "a.jpg").write_text("<html>404</html>")
    with pytest.raises(UnusablePhoto, match="not decodable"):
        paint(tmp_path / "a.jpg")


def test_colour_in_the_input_is_ignored(paint):
    """A coloured picture and its own lightness without colour are painted alike, but for rounding to 8 bits."""
    L = rgb2lab(np.asarray(photograph()))
    L[..., 1:] = 0
    grey = (lab2rgb(L) * 255).round().astype(np.uint8)
    far = abs(pixels(paint(photograph())) - pixels(paint(grey)))
    assert far.mean() < 1 and np.quantile(far, 0.99) <= 4


# --- lightness and colour of the result ----------------------------------------------------------------------------


@pytest.mark.parametrize("ab", [(0.1, -0.2), (-0.15, 0.1), (0.25, 0.2)])
def test_lightness_stays_wherever_the_colour_is_in_gamut(ab):
    picture = photograph(3, (150, 110))
    L = rgb2lab(np.asarray(picture))[..., 0]
    painted = rgb2lab(np.asarray(painter(*ab)(picture)))
    lab = torch.from_numpy(np.dstack([L, np.full_like(L, 110 * ab[0]), np.full_like(L, 110 * ab[1])]))
    rgb = color.lab_to_unclipped_rgb(lab.permute(2, 0, 1)[None].float())
    shown = ((rgb >= 0) & (rgb <= 1)).all(dim=1)[0].numpy()
    assert shown.mean() > 0.3
    assert (abs(painted[..., 0] - L)[shown] * 2.55).max() <= 1
    np.testing.assert_allclose(painted[..., 1:][shown].mean(axis=0), 110 * np.array(ab), atol=0.5)


@pytest.mark.parametrize("ab", [(5.0, 5.0), (float("inf"), 1.0)])
def test_colour_beyond_what_lab_holds_is_clamped(ab):
    assert (pixels(painter(*ab)(photograph())) == pixels(painter(1.0, 1.0)(photograph()))).all()


def test_colour_that_follows_lightness_does_so_at_full_size(monkeypatch):
    monkeypatch.setattr("colorize_lib.colorizing.colorizer.stretched", lambda L: L)
    picture = photograph(5, (256, 256))
    painted = rgb2lab(np.asarray(Colorizer(PaintsByLightness(), CONFIG, "cpu")(picture)))
    L = rgb2lab(np.asarray(picture))[..., 0] / 50 - 1
    far = abs(painted[..., 1] - 110 * 0.3 * L)[abs(L) < 0.5]  # in gamut
    assert far.mean() < 1.5
