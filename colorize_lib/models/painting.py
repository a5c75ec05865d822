"""What a generator paints, as ab or as pictures, in evaluation mode."""

import torch
from torch import nn

from .. import color


@torch.no_grad()
def colorize_batch(net_G: nn.Module, L: torch.Tensor, dropout: bool = False) -> torch.Tensor:
    """ab_hat (N,2,H,W) for L (N,1,H,W), in eval mode (BatchNorm's running statistics); the network's mode is restored.

    Of a generator that paints RGB the ab is taken, and its lightness dropped; `paint_batch` keeps it.
    dropout: leave dropout on, the noise z of pix2pix, so that every call gives another colouring.
    """
    return as_ab(_generate(net_G, L, dropout))


@torch.no_grad()
def paint_batch(net_G: nn.Module, L: torch.Tensor, keep_L: bool = True) -> torch.Tensor:
    """The generator's pictures, sRGB (N,3,H,W) in [0,1].

    keep_L: with the lightness L of the input. Without it, the pictures of a generator that paints RGB are its own.
    """
    painted = _generate(net_G, L)
    if keep_L or painted.shape[1] == 2:
        return color.lab_to_rgb(L, as_ab(painted))
    return _unsigned(painted)


def as_ab(painted: torch.Tensor) -> torch.Tensor:
    """What a generator painted, ab (N,2,H,W) or RGB (N,3,H,W) in [-1,1], as ab (N,2,H,W)."""
    return painted if painted.shape[1] == 2 else color.rgb_to_ab(_unsigned(painted))


def _unsigned(rgb: torch.Tensor) -> torch.Tensor:
    """RGB from [-1,1] to [0,1]."""
    return (rgb.float().clamp(-1, 1) + 1) / 2


def _generate(net_G: nn.Module, L: torch.Tensor, dropout: bool = False) -> torch.Tensor:
    """G(L) in eval mode, dropout apart; the mode of every layer is restored."""
    modes = {module: module.training for module in net_G.modules()}
    net_G.eval()
    if dropout:
        for module in net_G.modules():
            if isinstance(module, nn.Dropout):
                module.train()
    try:
        return net_G(L)
    finally:
        for module, training in modes.items():
            module.training = training
