"""Random crops with a varied lightness, made on the device: what training on colour as a distribution sees.

Colour is never changed, only where it is seen: the target stays the photograph's.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from .. import color


@dataclass(frozen=True)
class Augment:
    """How a photograph is varied. A range is drawn from uniformly, for each photograph and epoch anew."""

    size: int = 128  # height and width of what comes out, in pixels
    area: tuple[float, float] = (0.25, 1.0)  # share of the photograph that is seen
    aspect: float = 4 / 3  # widest and, turned over, narrowest shape of it
    brightness: float = 0.06  # of L, in half its range, up or down
    contrast: float = 0.2  # of L, a factor 1 +- this
    gamma: float = 0.3  # of L, an exponent 2 ** (+- this)
    blur: float = 0.3  # share of photographs whose L is blurred a little, as old prints are


def vary(rgb: torch.Tensor, how: Augment, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 (N,H,W,3) to L (N,1,size,size) and ab (N,2,size,size): cropped, mirrored, L varied."""
    n = len(rgb)
    area, log_aspect = rng.uniform(*how.area, n), rng.uniform(-1, 1, n) * np.log(how.aspect)
    width = np.minimum(np.sqrt(area * np.exp(log_aspect)), 1)
    height = np.minimum(np.sqrt(area * np.exp(-log_aspect)), 1)
    x, y = (rng.uniform(-1, 1, n) * (1 - side) for side in (width, height))  # of the middle, in [-1,1]
    theta = np.zeros((n, 2, 3), dtype=np.float32)
    theta[:, 0, 0], theta[:, 1, 1] = width * np.where(rng.random(n) < 0.5, -1, 1), height
    theta[:, 0, 2], theta[:, 1, 2] = x, y
    brightness = rng.uniform(-how.brightness, how.brightness, n)
    contrast = 1 + rng.uniform(-how.contrast, how.contrast, n)
    gamma = 2 ** rng.uniform(-how.gamma, how.gamma, n)
    blur = np.where(rng.random(n) < how.blur, rng.random(n), 0)
    grid = F.affine_grid(torch.from_numpy(theta).to(rgb.device), [n, 3, how.size, how.size], align_corners=False)
    levels = rgb.permute(0, 3, 1, 2).float() / 255
    seen = F.grid_sample(levels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    L, ab = color.normalize(color.rgb_to_lab(seen.clamp(0, 1)))
    jitter = torch.from_numpy(np.stack([brightness, contrast, gamma, blur]).astype(np.float32))
    brightness, contrast, gamma, blur = jitter.to(rgb.device)[:, :, None, None, None]
    L = L + blur * (F.avg_pool2d(F.pad(L, (1, 1, 1, 1), mode="replicate"), 3, stride=1) - L)
    L = ((L * contrast + brightness).clamp(-1, 1) + 1) / 2
    return L**gamma * 2 - 1, ab
