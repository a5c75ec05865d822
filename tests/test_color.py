"""Colour conversion against scikit-image."""

import numpy as np
import pytest
import skimage.color
import torch

from colorize_lib import color
from colorize_lib.data.shipped import package_photographs
from colorize_lib.images import read_photograph


def rgb_grid() -> np.ndarray:
    """The 33 x 33 x 33 grid over the RGB cube as one image: float64 (1089,33,3)."""
    steps = np.linspace(0, 1, 33)
    return np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(1089, 33, 3)


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    """The middle of each package photograph: uint8 (200,200,3)."""
    found = [np.asarray(read_photograph(path)) for path in package_photographs().values()]
    return [one[len(one) // 2 - 100 :, one.shape[1] // 2 - 100 :][:200, :200] for one in found]


def to_batch(image: np.ndarray) -> torch.Tensor:
    """(H,W,3) to (1,3,H,W)."""
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None]


def to_image(batch: torch.Tensor) -> np.ndarray:
    """(1,3,H,W) to (H,W,3)."""
    return batch[0].permute(1, 2, 0).numpy()


def test_agrees_with_skimage_both_ways(photographs):
    for image in (rgb_grid(), *(photograph / 255 for photograph in photographs)):
        lab = skimage.color.rgb2lab(image)
        assert np.abs(to_image(color.rgb_to_lab(to_batch(image).float())) - lab).max() < 1e-3
        rgb = to_image(color.lab_to_unclipped_rgb(to_batch(lab).float()))
        assert np.abs(rgb - skimage.color.lab2rgb(lab)).max() < 1e-4


def test_8_bit_pictures_agree_with_skimage_one_by_one_and_together():
    levels = torch.arange(0, 256, 3, dtype=torch.uint8)
    pictures = torch.stack(torch.meshgrid(levels, levels, levels, indexing="ij"), dim=-1)  # dark ones among them
    lab = color.rgb_to_lab(pictures.permute(0, 3, 1, 2))
    assert np.abs(lab.permute(0, 2, 3, 1).numpy() - skimage.color.rgb2lab(pictures.numpy())).max() < 1e-3
    assert torch.equal(color.rgb_to_lab(pictures[7:8].permute(0, 3, 1, 2).contiguous()), lab[7:8])


def test_out_of_gamut_lab_is_clipped_like_skimage_and_counted():
    rng = np.random.default_rng(0)
    lab = np.stack([rng.uniform(0, 100, (64, 64)), *rng.uniform(-110, 110, (2, 64, 64))], axis=-1)
    with pytest.warns(UserWarning, match="negative Z"):  # skimage's flood of warnings, which is a number here
        expected = skimage.color.lab2rgb(lab)
    L, ab = color.normalize(to_batch(lab).float())
    assert np.abs(to_image(color.lab_to_rgb(L, ab)) - expected).max() < 1e-4
    assert 0.3 < color.out_of_gamut_share(L, ab) < 1
    L, ab = torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2, 2)
    ab[0, :, 0, 0] = 1.0  # a* = b* = 110 at mid lightness is no sRGB colour
    assert color.out_of_gamut_share(L, ab) == 0.25


def test_8_bit_colours_survive_the_round_trip(photographs):
    levels = torch.arange(256, dtype=torch.uint8)
    planes = torch.stack(torch.meshgrid(levels[::51], levels, levels, indexing="ij"), dim=-1)  # (6,256,256,3)
    for rgb in (planes, torch.from_numpy(np.stack(photographs))):
        L, ab = color.to_lab(rgb)
        assert torch.equal(color.to_uint8(color.lab_to_rgb(L, ab)), rgb)
        assert color.out_of_gamut_share(L, ab) == 0


def test_normalised_values_are_those_of_the_networks():
    lab = torch.tensor([[0.0, -110.0, 55.0], [50.0, 0.0, 0.0], [100.0, 110.0, -11.0]])[:, :, None, None]
    L, ab = color.normalize(lab)
    assert L.flatten().tolist() == [-1, 0, 1]
    torch.testing.assert_close(ab[..., 0, 0], torch.tensor([[-1.0, 0.5], [0.0, 0.0], [1.0, -0.1]]))
    torch.testing.assert_close(color.denormalize(L, ab), lab)


def test_batches_of_bytes_are_mirrored_picture_by_picture(photographs):
    rgb = torch.from_numpy(np.stack(photographs[:2]))
    L, ab = color.to_lab(rgb, flip=[True, False])
    expected = color.normalize(color.rgb_to_lab(torch.stack([rgb[0].flip(1), rgb[1]]).permute(0, 3, 1, 2)))
    assert torch.equal(L, expected[0]) and torch.equal(ab, expected[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_result_is_float32_whatever_comes_in(dtype):
    lab = color.rgb_to_lab(torch.full((1, 3, 2, 2), 0.5, dtype=dtype))
    assert lab.dtype == torch.float32
    assert color.lab_to_rgb(*(t.to(dtype) for t in color.normalize(lab))).dtype == torch.float32


def test_autocast_changes_nothing():
    rgb = to_batch(rgb_grid()).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = color.rgb_to_lab(rgb)
    assert torch.equal(inside, color.rgb_to_lab(rgb))


def test_gradients_agree_with_finite_differences_and_are_finite_at_the_corners():
    rgb = (torch.rand(1, 3, 2, 2, dtype=torch.float64) * 0.8 + 0.1).float().requires_grad_()
    weights = torch.randn(1, 3, 2, 2)
    (color.rgb_to_lab(rgb) * weights).sum().backward()
    step = 1e-2
    for index in np.ndindex(rgb.shape):
        up, down = rgb.detach().clone(), rgb.detach().clone()
        up[index] += step
        down[index] -= step
        slope = ((color.rgb_to_lab(up) - color.rgb_to_lab(down)) * weights).sum() / (2 * step)
        assert abs(slope - rgb.grad[index]) < 0.02 * abs(slope) + 1.0
    corners = to_batch(rgb_grid()).float().requires_grad_()
    color.lab_to_unclipped_rgb(color.rgb_to_lab(corners)).sum().backward()
    assert torch.isfinite(corners.grad).all()
