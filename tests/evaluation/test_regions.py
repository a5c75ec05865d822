"""Regions and spill on pictures whose regions are known."""

import torch
from torch.nn.functional import avg_pool2d

from colorize_lib import color
from colorize_lib.evaluation.regions import gradient, is_smooth, region_masks, spill


def two_halves(size: int = 64, chroma: float = 40.0) -> torch.Tensor:
    """Lab (1,3,size,size): dark and yellow at the left, light and blue at the right."""
    lab = torch.zeros(1, 3, size, size)
    lab[:, 0], lab[:, 2] = 40, chroma
    lab[..., size // 2 :] = torch.tensor([70.0, 0.0, -chroma])[None, :, None, None]
    return lab


def blurred(lab: torch.Tensor, reach: int) -> torch.Tensor:
    """The same lightness, its colour averaged over squares of 2 * reach + 1 pixels."""
    return torch.cat([lab[:, :1], avg_pool2d(lab[:, 1:], 2 * reach + 1, 1, reach, count_include_pad=False)], dim=1)


def test_a_small_square_is_a_small_region_and_its_background_a_large_one():
    lab = torch.zeros(1, 3, 64, 64)
    lab[:, 0] = 50
    lab[:, :, 20:25, 30:35] = torch.tensor([70.0, 60.0, 40.0])[None, :, None, None]
    masks = region_masks(color.lab_to_unclipped_rgb(lab).clamp(0, 1))
    inside = torch.zeros(64, 64, dtype=torch.bool)
    inside[20:25, 30:35] = True
    assert (masks["small_regions"][0] == inside).float().mean() > 0.98
    assert (masks["large_regions"][0] == ~inside).float().mean() > 0.98
    edges = masks["edges"][0]
    assert edges[20, 30] and edges[19, 29] and not edges[22, 32] and not edges[5, 5]


def test_a_plain_picture_has_one_large_region_and_no_edge():
    masks = region_masks(torch.full((2, 3, 32, 32), 0.4))
    assert masks["large_regions"].all() and not masks["small_regions"].any() and not masks["edges"].any()


def test_the_gradient_of_a_ramp_is_its_slope():
    lab = torch.zeros(1, 3, 8, 8)
    lab[:, 1] = 3 * torch.arange(8.0)
    lab[:, 2] = 4 * torch.arange(8.0)
    torch.testing.assert_close(gradient(lab[:, 1:])[0, 1:-1, 1:-1], torch.full((6, 6), 5.0))
    assert is_smooth(lab).all()
    lab[:, 0] = 6 * torch.arange(8.0)[:, None]
    assert not is_smooth(lab)[0, 1:-1, 1:-1].any()


def test_colour_that_runs_over_an_edge_spills_and_more_the_wider_it_runs():
    lab = two_halves()
    smooth = is_smooth(lab)
    assert not smooth[0, :, 31:33].any() and smooth[0, :, :30].all()  # beside edges of lightness, not on them
    narrow, wide = (spill(blurred(lab, reach), lab)[smooth].mean() for reach in (2, 8))
    assert 0 < narrow < wide
    dull = two_halves(chroma=20.0)  # too weak a colour, but it ends where the thing ends
    assert spill(dull, lab)[smooth].mean() == 0
    grey = lab * torch.tensor([1.0, 0.0, 0.0])[None, :, None, None]
    assert spill(lab, lab).max() == spill(grey, lab).max() == 0
