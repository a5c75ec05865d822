"""Photographs coloured at their own size: what goes in, the lightness that stays, the colour that is brought back."""

import errno
import io
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pictures import grey_photograph, photograph, save
from PIL import ExifTags, Image, ImageCms
from skimage.color import lab2rgb, rgb2lab
from torch import nn

from colorize_lib import color, images
from colorize_lib.color import to_lab
from colorize_lib.colorizing import enlarging
from colorize_lib.colorizing.colorizer import Colorizer
from colorize_lib.colorizing.enlarging import enlarge
from colorize_lib.evaluation.borders import compare_enlarging
from colorize_lib.images import UnusablePhoto, read_photograph, resize, save_picture
from colorize_lib.models import GeneratorConfig, build_generator
from colorize_lib.models.cifar import CifarConfig
from colorize_lib.models.weights import save_weights

CONFIG = GeneratorConfig("unet", size=64, n_down=6, num_filters=4, init="kaiming")  # one level with dropout


class Paints(nn.Module):
    """A generator that gives the same colour (a, b) to every pixel, normalised, whatever it is shown."""

    def __init__(self, a: float, b: float):
        super().__init__()
        self.ab = nn.Buffer(torch.tensor([a, b]).reshape(1, 2, 1, 1))

    def forward(self, L: torch.Tensor) -> torch.Tensor:
        return self.ab.expand(len(L), 2, *L.shape[2:])


class PaintsByLightness(nn.Module):
    """A generator whose colour follows the lightness it is shown."""

    def forward(self, L: torch.Tensor) -> torch.Tensor:
        return torch.cat([0.3 * L, -0.3 * L], dim=1)


@pytest.fixture(scope="module")
def net_G() -> nn.Module:
    torch.manual_seed(0)
    return build_generator(CONFIG)


def colorizer_of(net: nn.Module) -> Colorizer:
    return Colorizer(net, CONFIG, device="cpu")


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(int)


# --- sizes and options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 64), (96, 80), (31, 203), (1, 1), (1, 5000), (5000, 1), (700, 500)])
def test_the_picture_keeps_its_size(net_G, size):
    painted = colorizer_of(net_G)(photograph(0, size))
    assert painted.size == size and painted.mode == "RGB"


def test_one_colouring_is_always_the_same(net_G):
    paint = colorizer_of(net_G)
    first = paint(photograph())
    assert np.ptp(pixels(first), axis=2).max() > 30, "it paints nothing"
    assert paint.has_dropout and (pixels(paint(photograph())) == pixels(first)).all()


def test_several_colourings_differ_and_follow_the_seed(net_G):
    paint = colorizer_of(net_G)
    first, again, other = (paint(photograph(), samples=3, seed=seed) for seed in (1, 1, 2))
    assert len(first) == 3
    for one, same in zip(first, again, strict=True):
        assert (pixels(one) == pixels(same)).all()
    for different in (first[1], first[2], other[0]):
        assert (pixels(first[0]) != pixels(different)).any()


def test_saturation_scales_the_colour():
    picture, paint = Image.new("RGB", (70, 50), (128, 128, 128)), colorizer_of(Paints(0.1, -0.2))
    for saturation in (0.0, 0.5, 1.0, 1.5):
        found = rgb2lab(np.asarray(paint(picture, saturation=saturation)))[..., 1:].mean(axis=(0, 1))
        np.testing.assert_allclose(found, saturation * 110 * np.array([0.1, -0.2]), atol=0.6)


@pytest.mark.parametrize(
    "options", [{"samples": 0}, {"saturation": -0.1}, {"saturation": float("nan")}, {"saturation": float("inf")}]
)
def test_refuses_bad_options(net_G, options):
    with pytest.raises(ValueError, match="must be at least"):
        colorizer_of(net_G)(photograph(), **options)


def test_a_network_without_dropout_gives_one_colouring_only():
    paint = colorizer_of(Paints(0.1, 0.1))
    assert not paint.has_dropout
    with pytest.raises(ValueError, match="no dropout"):
        paint(photograph(), samples=2)


def test_the_network_sees_the_size_that_is_asked_for():
    seen = []

    class Notes(Paints):
        def forward(self, L):
            seen.append(tuple(L.shape))
            return super().forward(L)

    Colorizer(Notes(0.1, 0.1), CONFIG, "cpu")(photograph())
    Colorizer(Notes(0.1, 0.1), CONFIG, "cpu", size=128)(photograph())
    assert seen == [(1, 1, 64, 64), (1, 1, 128, 128)]


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
    torch.manual_seed(0)
    config = CifarConfig()
    painted = Colorizer(build_generator(config), config, "cpu")(photograph(0, (90, 60)))
    assert painted.size == (90, 60)


def test_load_reads_a_file(net_G, tmp_path):
    save_weights(net_G, tmp_path / "net_G.safetensors", {"generator": vars(CONFIG)})
    loaded = Colorizer.load(tmp_path / "net_G.safetensors", device="cpu")
    assert loaded.size == 64
    assert (pixels(loaded(photograph())) == pixels(colorizer_of(net_G)(photograph()))).all()


# --- what goes in --------------------------------------------------------------------------------------------------


def test_a_file_a_picture_and_arrays_give_the_same(net_G, tmp_path):
    paint, picture = colorizer_of(net_G), photograph()
    array = np.asarray(picture)
    path = save(picture, tmp_path / "a.png")
    expected = pixels(paint(picture))
    alpha = np.dstack([array, np.full(array.shape[:2], 255, np.uint8)])
    for form in (path, str(path), array, array.astype(np.uint16) * 257, array / 255, alpha):
        assert (pixels(paint(form)) == expected).all()
    grey = np.asarray(grey_photograph())
    expected = pixels(paint(grey_photograph()))
    for form in (grey, grey[..., None], grey.astype(np.uint16) * 257, (grey / 255).astype(np.float32)):
        assert (pixels(paint(form)) == expected).all()


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((4, 4, 2), np.uint8), "shape"),
        (np.zeros(7, np.uint8), "shape"),
        (np.zeros((0, 4), np.uint8), "shape"),
        (np.full((4, 4), 1.5), r"\[0,1\]"),
        (np.full((4, 4), np.nan), r"\[0,1\]"),
        (np.zeros((4, 4), np.int32), "int32"),
    ],
)
def test_refuses_arrays_that_are_no_pictures(net_G, array, reason):
    with pytest.raises(ValueError, match=reason):
        colorizer_of(net_G)(array)


def test_says_why_a_file_cannot_be_read(net_G, tmp_path):
    (tmp_path / "a.jpg").write_text("<html>404</html>")
    for path, reason in (
        (tmp_path / "a.jpg", "not decodable"),
        (tmp_path / "b.jpg", "No such file"),
        (tmp_path, "dir"),
    ):
        with pytest.raises(UnusablePhoto, match=reason):
            colorizer_of(net_G)(path)


def test_colour_in_the_input_is_ignored(net_G):
    """A coloured picture and its own lightness without colour are painted alike, but for rounding to 8 bits."""
    L = rgb2lab(np.asarray(photograph()))
    L[..., 1:] = 0
    grey = (lab2rgb(L) * 255).round().astype(np.uint8)
    paint = colorizer_of(net_G)
    far = abs(pixels(paint(photograph())) - pixels(paint(grey)))
    assert far.mean() < 1 and np.quantile(far, 0.99) <= 4


# --- lightness and colour of the result ----------------------------------------------------------------------------


@pytest.mark.parametrize("ab", [(0.1, -0.2), (-0.15, 0.1), (0.25, 0.2)])
def test_lightness_stays_wherever_the_colour_is_in_gamut(ab):
    picture = photograph(3, (150, 110))
    L = rgb2lab(np.asarray(picture))[..., 0]
    painted = rgb2lab(np.asarray(colorizer_of(Paints(*ab))(picture)))
    lab = torch.from_numpy(np.dstack([L, np.full_like(L, 110 * ab[0]), np.full_like(L, 110 * ab[1])]))
    rgb = color.lab_to_unclipped_rgb(lab.permute(2, 0, 1)[None].float())
    shown = ((rgb >= 0) & (rgb <= 1)).all(dim=1)[0].numpy()
    assert shown.mean() > 0.3
    assert (abs(painted[..., 0] - L)[shown] * 2.55).max() <= 1
    np.testing.assert_allclose(painted[..., 1:][shown].mean(axis=0), 110 * np.array(ab), atol=0.5)


def test_colour_beyond_what_lab_holds_is_clamped():
    for ab in ((5.0, 5.0), (float("inf"), 1.0)):
        assert (
            pixels(colorizer_of(Paints(*ab))(photograph())) == pixels(colorizer_of(Paints(1.0, 1.0))(photograph()))
        ).all()


def test_strips_do_not_show(net_G, monkeypatch):
    picture = photograph(1, (130, 170))
    whole = pixels(colorizer_of(net_G)(picture))
    for strip in (1, 1000):
        monkeypatch.setattr(enlarging, "STRIP_PIXELS", strip)
        assert (pixels(colorizer_of(net_G)(picture)) == whole).all()


@pytest.mark.parametrize("size", [(200, 150), (40, 90)])
def test_without_a_guide_colour_is_brought_back_by_bilinear_interpolation(size):
    torch.manual_seed(0)
    picture = photograph(2, size)
    L, _ = to_lab(torch.from_numpy(resize(picture, 64).copy())[None])
    ab = 0.1 * torch.randn(1, 2, 64, 64)
    large = F.interpolate(ab, size=size[::-1], mode="bilinear", align_corners=False)
    L_large, _ = to_lab(torch.from_numpy(np.array(picture))[None])
    expected = color.to_uint8(color.lab_to_rgb(L_large, large))[0].numpy()
    assert abs(pixels(enlarge(picture, L, ab, guided=False)) - expected).max() <= 1


def test_the_guide_moves_borders_of_colour_to_borders_of_lightness():
    """A bright red disc on dark green: its colour, from a quarter of the size, ends nearer to where the disc ends."""
    y, x = np.mgrid[:256, :256] - 128
    inside = (x**2 + y**2 < 80**2)[..., None]
    truth = np.where(inside, (240, 120, 110), (20, 70, 30)).astype(np.uint8)
    table = compare_enlarging(
        [Image.fromarray(truth)], 64, {"bilinear": partial(enlarge, guided=False), "guided": enlarge}
    )
    assert (table.loc["guided"] < 0.7 * table.loc["bilinear"]).all()
    assert (table > 0).all(axis=None)


def test_where_the_small_copy_lacks_nothing_the_guide_changes_nothing():
    picture = photograph(4, (64, 64))
    L, ab = to_lab(torch.from_numpy(np.array(picture))[None])
    plain, guided = (pixels(enlarge(picture, L, ab, on)) for on in (False, True))
    assert abs(plain - guided).max() <= 1
    assert abs(guided - pixels(picture)).max() <= 1


def test_colour_that_follows_lightness_does_so_at_full_size():
    picture = photograph(5, (256, 256))
    painted = rgb2lab(np.asarray(colorizer_of(PaintsByLightness())(picture)))
    L = rgb2lab(np.asarray(picture))[..., 0] / 50 - 1
    middle = abs(L) < 0.5  # in gamut
    far = abs(painted[..., 1] - 110 * 0.3 * L)[middle]
    assert far.mean() < 1.5


# --- saving --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png", ".webp", ".tif", ".tiff"])
def test_saves_each_format_with_what_was_known_of_the_photograph(tmp_path, suffix):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Artist] = "Ansel"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.LensModel] = "a lens"
    if suffix.startswith(".tif"):  # Pillow writes TIFF's own EXIF data from a file's alone
        exif = Image.open(save(photograph(), tmp_path / "exif.jpg", exif=exif)).getexif()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    source = save(photograph(), tmp_path / f"source{suffix}", exif=exif, icc_profile=profile, dpi=(300, 300))
    picture = read_photograph(source)
    assert picture.size == (80, 96)  # upright
    save_picture(picture, tmp_path / f"target{suffix}", source)
    with Image.open(tmp_path / f"target{suffix}") as saved:
        assert saved.format == images.FORMATS[suffix.lower()]
        assert saved.size == (80, 96)
        assert saved.getexif().get(ExifTags.Base.Artist) == "Ansel"
        assert saved.getexif().get(ExifTags.Base.Orientation, 1) == 1
        kept = ImageCms.ImageCmsProfile(io.BytesIO(saved.info["icc_profile"]))
        assert "sRGB" in ImageCms.getProfileDescription(kept)
        assert saved.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.LensModel] == "a lens"
        if suffix != ".webp":  # has no place for it
            assert saved.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert np.abs(pixels(read_photograph(tmp_path / f"target{suffix}")) - pixels(picture)).mean() < 3


def test_broken_exif_is_left_out(tmp_path):
    source = save(photograph(), tmp_path / "a.jpg", exif=b"Exif\0\0MM\0\x2a\0\0\0\x08\xff\xffgarbage")
    save_picture(photograph(), tmp_path / "b.jpg", source)
    assert Image.open(tmp_path / "b.jpg").size == photograph().size


def test_refuses_a_format_that_is_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"a\.gif: pictures are saved as \.jpg"):
        save_picture(photograph(), tmp_path / "a.gif")


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def full(self, partial, **_):
        partial.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space left"):
        save_picture(photograph(), path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
