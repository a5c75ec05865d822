"""More colour than a generator was trained to paint."""

import copy

from torch import nn

from .distribution import ColourDistribution
from .unet import Unet


def with_gain(net_G: nn.Module, gain: float) -> nn.Module:
    """A copy of a generator of ab that paints `gain` times as far from grey.

    The factor goes into its last layer, so that it has to be a convolution and nothing after it: that of both ResNet18
    generators is. Raises ValueError for the U-Net, which ends in a tanh, and for a gain that is not positive.
    """
    if not gain > 0:
        raise ValueError(f"colour gain {gain} must be more than 0")
    painter = copy.deepcopy(net_G)
    if gain == 1:
        return painter
    if isinstance(getattr(net_G, "head", None), ColourDistribution):
        raise ValueError("a colour distribution is not multiplied but read at another vividness: leave its gain at 1")
    if isinstance(net_G, Unet):
        raise ValueError("the U-Net's colour ends in a tanh and cannot be multiplied: leave its colour gain at 1")
    last = [module for module in painter.modules() if isinstance(module, nn.Conv2d)][-1]
    for parameter in last.parameters():
        parameter.data *= gain
    return painter
