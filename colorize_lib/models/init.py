"""Weight initialisation of pix2pix (arXiv:1611.07004, section 6.2) and two alternatives."""

from torch import nn
from torch.nn.utils.parametrize import is_parametrized


def init_weights(net: nn.Module, init: str = "norm", gain: float = 0.02) -> nn.Module:
    """Initialise every convolution and BatchNorm of `net` in place and return it.

    init: `norm` (N(0, gain)), `xavier` (normal, with this gain) or `kaiming` (normal, fan in) for convolution weights.
    Convolution biases become 0, BatchNorm weights N(1, gain), BatchNorm biases 0.
    Raises ValueError for an unknown `init`.
    """
    fill = {
        "norm": lambda w: nn.init.normal_(w, 0.0, gain),
        "xavier": lambda w: nn.init.xavier_normal_(w, gain=gain),
        "kaiming": lambda w: nn.init.kaiming_normal_(w, a=0, mode="fan_in"),
    }
    if init not in fill:
        raise ValueError(f"init {init!r} is unknown; choose one of {', '.join(fill)}")
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            # Under spectral normalisation `weight` is computed; what can be set is the tensor that it comes from.
            fill[init](module.parametrizations.weight.original if is_parametrized(module) else module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, gain)
            nn.init.zeros_(module.bias)
    return net
