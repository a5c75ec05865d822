"""Bring the colour of a small copy back to a photograph's full size, so that it ends where the lightness has edges.

He, Sun and Tang, "Guided image filtering", 2010. No library has it in the form that `enlarge` needs.
`enlarging_numpy` is the same without torch, and slower.
"""

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ..color import lab_to_rgb, to_lab, to_uint8
from ..images import resize
from .enlarging_numpy import EPSILON, RADIUS, STRIP_PIXELS


def small_copy(picture: Image.Image, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """An RGB picture squashed to a square: normalised L (1,1,size,size) and ab (1,2,size,size)."""
    return to_lab(torch.from_numpy(resize(picture, size).copy())[None])


@torch.inference_mode()
def enlarge(picture: Image.Image, L: torch.Tensor, ab: torch.Tensor, guided: bool = True) -> Image.Image:
    """Lay small colour under a picture's own lightness: RGB of the picture's size, worked out in strips.

    picture: RGB, of any size; L (1,1,S,S) and ab (1,2,S,S): its small copy and the colour of that, normalised. guided:
    with the guided filter, else by bilinear interpolation alone.
    In every small window the filter takes ab = A * L + B. As in its fast form (He and Sun, arXiv:1505.00996) A is
    enlarged; but it is applied to that detail of L alone which the small copy lacks: ab = up(ab) + up(A) *
    (L - up(small L)). So the network's colours stay as they are, and only their borders move.
    """
    slope = _guided_slope(L, ab) if guided else torch.zeros_like(ab)
    small = torch.cat([slope, ab, L], dim=1)  # (1,5,S,S)
    width, height = picture.size
    result = Image.new("RGB", picture.size)
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip = np.array(picture.crop((0, top, width, min(top + rows, height))))  # (rows,W,3)
        L_strip, _ = to_lab(torch.from_numpy(strip)[None])
        slope, ab, L = _enlarged_rows(small, top, len(strip), height, width).split([2, 2, 1], dim=1)
        rgb = lab_to_rgb(L_strip, (ab + slope * (L_strip - L)).clamp(-1, 1))
        result.paste(Image.fromarray(to_uint8(rgb)[0].numpy()), (0, top))
    return result


def _guided_slope(L: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:
    """A of ab = A * L + B in the windows that a pixel is in, on average: (1,1,S,S) and (1,2,S,S) to (1,2,S,S)."""
    radius = max(1, round(L.shape[-1] * RADIUS))
    mean = partial(F.avg_pool2d, kernel_size=2 * radius + 1, stride=1, padding=radius, count_include_pad=False)
    mean_L = mean(L)
    return mean((mean(L * ab) - mean_L * mean(ab)) / (mean(L * L) - mean_L**2 + EPSILON))


def _enlarged_rows(small: torch.Tensor, top: int, rows: int, height: int, width: int) -> torch.Tensor:
    """Rows `top` to `top + rows` of `small` (1,C,S,S) enlarged bilinearly to (1,C,height,width): (1,C,rows,width)."""
    S = small.shape[2]
    at = ((torch.arange(top, top + rows) + 0.5) * S / height - 0.5).clamp(0, S - 1)
    above = at.floor().long()
    below, share = (above + 1).clamp(max=S - 1), (at - above)[None, None, :, None]
    lines = small[:, :, above] * (1 - share) + small[:, :, below] * share  # (1,C,rows,S)
    return F.interpolate(lines, size=(rows, width), mode="bilinear", align_corners=False)
