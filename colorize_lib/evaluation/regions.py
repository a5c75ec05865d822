"""Where in a picture the colour errs: small and large regions, their borders, and colour that spills. They are taken
from the true picture alone, so that all answers are judged on the same pixels."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter
from skimage.segmentation import felzenszwalb

from .. import color
from ..images import resize

SMALL, LARGE = 0.01, 0.10  # share of the picture's area up to which a region counts as small, and from which as large
SMOOTH = 5.0  # where the gradient of L* is smaller than this, in Lab units a pixel, lightness has no edge
BORDER = 1 / 64  # width of the band along borders of regions, to either side, as a share of the picture's side


def region_masks(rgb: torch.Tensor) -> dict[str, torch.Tensor]:
    """Which pixels of true pictures, (N,3,H,W) in [0,1], lie in `small_regions`, in `large_regions`, and along borders
    of regions, `edges`: each bool (N,H,W). Regions: Felzenszwalb and Huttenlocher (2004), by scikit-image."""
    found: dict[str, list[np.ndarray]] = {"small_regions": [], "large_regions": [], "edges": []}
    for picture in rgb.permute(0, 2, 3, 1).cpu().numpy():
        side = min(picture.shape[:2])
        segments = felzenszwalb(picture, scale=side, sigma=0.5, min_size=max(4, side**2 // 1000))
        area = np.bincount(segments.ravel())[segments] / segments.size
        found["small_regions"].append(area <= SMALL)
        found["large_regions"].append(area >= LARGE)
        window = 2 * max(1, round(side * BORDER)) + 1
        found["edges"].append(maximum_filter(segments, window) != minimum_filter(segments, window))
    return {name: torch.from_numpy(np.stack(masks)).to(rgb.device) for name, masks in found.items()}


def gradient(channels: torch.Tensor) -> torch.Tensor:
    """Length of the gradient over all channels, a pixel, by Sobel's operator: (N,C,H,W) to (N,H,W)."""
    along = channels.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    kernels = torch.stack([along, along.T])[:, None]  # (2,1,3,3)
    N, C, H, W = channels.shape
    padded = F.pad(channels.reshape(N * C, 1, H, W), (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, kernels).reshape(N, 2 * C, H, W).square().sum(dim=1).sqrt()


def is_smooth(lab: torch.Tensor) -> torch.Tensor:
    """Where the lightness of (N,3,H,W) has no edge, `SMOOTH`: bool (N,H,W)."""
    return gradient(lab[:, :1]) < SMOOTH


def spill(lab_hat: torch.Tensor, lab: torch.Tensor) -> torch.Tensor:
    """Colour edges where there are none to see: max(0, gradient of (a*, b*) - the truth's), (N,3,H,W) to (N,H,W).

    Its mean over the pixels of smooth true lightness is the figure `spill`, in Lab units: a colour that stops at the
    border of a thing adds nothing, one that runs over it and fades behind does; so do blotches. 0 is best, and grey has
    it. Compare at one size of pictures only.
    """
    return (gradient(lab_hat[:, 1:]) - gradient(lab[:, 1:])).clamp(min=0)


def picture_errors(truth: Image.Image, pictures: dict[str, Image.Image]) -> pd.DataFrame:
    """How far pictures of the same size are from a true one, RGB: a row each, in Lab units. The mean of |a* - true a*|
    and |b* - true b*|, everywhere and along borders of the truth's regions, and `spill`."""

    def pixels(picture: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]  # uint8 (1,3,H,W)

    lab, edges = color.rgb_to_lab(pixels(truth)), region_masks(pixels(truth) / 255)["edges"]
    smooth, rows = is_smooth(lab), {}
    for name, picture in pictures.items():
        lab_hat = color.rgb_to_lab(pixels(picture))
        error, spilled = (lab_hat - lab)[:, 1:].abs().mean(dim=1), spill(lab_hat, lab)[smooth]
        rows[name] = [one.mean().item() for one in (error, error[edges], spilled)]
    return pd.DataFrame.from_dict(rows, orient="index", columns=["L1 of ab", "L1 at borders", "spill"])


def compare_enlarging(
    photographs: list[Image.Image], size: int, ways: dict[str, Callable[..., Image.Image]]
) -> pd.DataFrame:
    """Means over true photographs, RGB, of the `picture_errors` of each way of enlarging, name -> a function (picture,
    L, ab): a row each. It brings back their own colour, of a copy of size x size: nothing but the enlarging errs."""
    tables = []
    for photograph in photographs:
        small = color.to_lab(torch.from_numpy(resize(photograph, size).copy())[None])
        tables.append(picture_errors(photograph, {name: way(photograph, *small) for name, way in ways.items()}))
    return sum(tables) / len(tables)
