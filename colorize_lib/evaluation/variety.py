"""How different several colourings of one photograph are."""

from collections.abc import Callable
from itertools import combinations

import torch
from torch import nn

from ..color import AB_SCALE, lab_to_rgb
from ..models.painting import colorize_batch


def has_dropout(net_G: nn.Module) -> bool:
    """Whether dropout can make a generator's colourings of one picture differ."""
    return any(isinstance(module, nn.Dropout) for module in net_G.modules())


def colorings(net_G: nn.Module, L: torch.Tensor, n: int) -> torch.Tensor:
    """n colourings of each picture with dropout left on, the noise of pix2pix: L (N,1,H,W) to ab (n,N,2,H,W)."""
    return torch.stack([colorize_batch(net_G, L, dropout=True) for _ in range(n)])


def variety(ab: torch.Tensor) -> torch.Tensor:
    """The mean ab distance, in Lab units, over pixels and all pairs of colourings, (N,). ab: (n,N,2,H,W), n > 1."""
    distances = [(one - other).square().sum(dim=1).sqrt().mean(dim=(1, 2)) for one, other in combinations(ab, 2)]
    return torch.stack(distances).mean(dim=0) * AB_SCALE


def perceptual_variety(lpips: Callable, L: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:
    """The mean of `perceptual.load_lpips` over all pairs of colourings, (N,). L (N,1,H,W), ab (n,N,2,H,W)."""
    pictures = [lab_to_rgb(L, one) for one in ab]
    return torch.stack([lpips(one, other) for one, other in combinations(pictures, 2)]).mean(dim=0)
