"""Where in a picture the colour errs: regions of the truth, small and large, their borders, and colour that spills.

Everything here is taken from the true picture alone, so that all answers are judged on the same pixels.
"""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import maximum_filter, minimum_filter
from skimage.segmentation import felzenszwalb

SMALL, LARGE = 0.01, 0.10  # share of the picture's area up to which a region counts as small, and from which as large
SMOOTH = 5.0  # where the gradient of L* is smaller than this, in Lab units a pixel, lightness has no edge
BORDER = 1 / 64  # width of the band along borders of regions, to either side, as a share of the picture's side


def region_masks(rgb: torch.Tensor) -> dict[str, torch.Tensor]:
    """Which pixels of true pictures lie in small regions, in large ones, and along their borders: each bool (N,H,W).

    rgb: (N,3,H,W) in [0,1]. Regions are those of Felzenszwalb and Huttenlocher, "Efficient graph-based image
    segmentation" (2004), by scikit-image. Keys: `small_regions`, `large_regions`, `edges`.
    """
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
    """Where the lightness has no edge, `SMOOTH`: bool (N,H,W). lab: (N,3,H,W)."""
    return gradient(lab[:, :1]) < SMOOTH


def spill(lab_hat: torch.Tensor, lab: torch.Tensor) -> torch.Tensor:
    """Colour edges where there are none to see: max(0, gradient of (a*, b*) - the truth's), (N,H,W), in Lab units.

    Averaged over the pixels where the true lightness is smooth it is the figure `spill`: a colour that stops at the
    border of a thing adds nothing, one that runs over it and fades in the smooth area behind does; so do blotches. 0 is
    best, and grey has it. It depends on the pictures' size: compare at one size only. lab_hat, lab: (N,3,H,W).
    """
    return (gradient(lab_hat[:, 1:]) - gradient(lab[:, 1:])).clamp(min=0)
