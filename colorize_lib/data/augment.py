"""Batches of random crops with a varied lightness, made on the device: what training on colour as a distribution sees.

Colour is never changed, only where it is seen: the target stays the photograph's.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from .. import color
from .loader import LabLoader


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


class CropLoader(LabLoader):
    """A training `LabLoader` of random crops. They are a function of (seed, epoch, batch) alone, as its order is."""

    def __init__(self, *arguments, augment: Augment, **options):
        super().__init__(*arguments, train=True, **options)
        self.augment = augment

    def share(self, process_index: int, num_processes: int) -> "CropLoader":
        """As of a LabLoader."""
        if self.batch_size < num_processes:
            raise ValueError(f"a batch of {self.batch_size} cannot be shared by {num_processes} processes")
        return CropLoader(
            self.dataset,
            self.batch_size,
            seed=self.seed,
            device=self.device,
            process_index=process_index,
            num_processes=num_processes,
            augment=self.augment,
        )

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        start, self.start = self.start, 0
        order = np.random.default_rng((self.seed, self.epoch)).permutation(len(self.dataset))
        mine = slice(self.process_index, None, self.num_processes)
        for batch in range(start, len(self)):
            positions = order[batch * self.batch_size : (batch + 1) * self.batch_size][mine]
            rng = np.random.default_rng((self.seed, self.epoch, batch, self.process_index))
            rgb = self.dataset.rgb(positions)
            yield dict(zip(("L", "ab"), vary(rgb.to(self.device, non_blocking=True), self.augment, rng), strict=True))


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
    jitter = np.stack(
        [
            rng.uniform(-how.brightness, how.brightness, n),
            1 + rng.uniform(-how.contrast, how.contrast, n),
            2 ** rng.uniform(-how.gamma, how.gamma, n),
            np.where(rng.random(n) < how.blur, rng.random(n), 0),
        ]
    ).astype(np.float32)
    grid = F.affine_grid(torch.from_numpy(theta).to(rgb.device), [n, 3, how.size, how.size], align_corners=False)
    levels = rgb.permute(0, 3, 1, 2).float() / 255
    seen = F.grid_sample(levels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    L, ab = color.normalize(color.rgb_to_lab(seen.clamp(0, 1)))
    brightness, contrast, gamma, blur = torch.from_numpy(jitter).to(rgb.device)[:, :, None, None, None]
    L = L + blur * (F.avg_pool2d(F.pad(L, (1, 1, 1, 1), mode="replicate"), 3, stride=1) - L)
    L = ((L * contrast + brightness).clamp(-1, 1) + 1) / 2
    return L**gamma * 2 - 1, ab
