"""The U-Net generator of pix2pix (arXiv:1611.07004, section 6.1.1).

The module tree is nested from the inside out, each block holding one `nn.Sequential` named `model`, so that weights
saved from the well-known tutorial architecture load unchanged. As there, the in-place LeakyReLU at the head of a block
also acts on the tensor that the block passes on as its skip connection.
"""

import torch
from torch import nn


class UnetBlock(nn.Module):
    """One level: 4x4 stride-2 convolution down, `submodule`, 4x4 stride-2 transposed convolution up.

    nf: channels that leave the block on the way up; ni: channels inside it, below; input_c: channels that enter
    (`nf` if None). An outer block ends in tanh and has no skip; every other block concatenates its input: (N,nf,H,W) to
    (N,2*nf,H,W).
    """

    def __init__(
        self,
        nf: int,
        ni: int,
        submodule: nn.Module | None = None,
        input_c: int | None = None,
        dropout: bool = False,
        innermost: bool = False,
        outermost: bool = False,
    ):
        super().__init__()
        self.outermost = outermost
        input_c = nf if input_c is None else input_c
        # A convolution before BatchNorm needs no bias.
        down = nn.Conv2d(input_c, ni, kernel_size=4, stride=2, padding=1, bias=False)
        up = nn.ConvTranspose2d(ni if innermost else ni * 2, nf, kernel_size=4, stride=2, padding=1, bias=outermost)
        if outermost:
            layers = [down, submodule, nn.ReLU(True), up, nn.Tanh()]
        elif innermost:
            layers = [nn.LeakyReLU(0.2, True), down, nn.ReLU(True), up, nn.BatchNorm2d(nf)]
        else:
            layers = [nn.LeakyReLU(0.2, True), down, nn.BatchNorm2d(ni), submodule]
            layers += [nn.ReLU(True), up, nn.BatchNorm2d(nf)]
            layers += [nn.Dropout(0.5)] if dropout else []
        self.model = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], dim=1)


class Unet(nn.Module):
    """U-Net generator: L (N,input_c,H,W) in [-1,1] to ab (N,output_c,H,W) in (-1,1).

    n_down: number of halvings; the innermost map is H/2**n_down high, so H and W must be multiples of 2**n_down.
    num_filters: channels of the outermost level; they double up to 8 times that. With the defaults and 256x256 images
    the network is C64-C128-C256-C512-C512-C512-C512-C512 with 54,409,858 parameters.
    Raises ValueError if n_down is under 5 (the four widening levels and the innermost one), or for a size that does not
    fit.
    """

    def __init__(self, input_c: int = 1, output_c: int = 2, n_down: int = 8, num_filters: int = 64):
        super().__init__()
        if n_down < 5:
            raise ValueError(f"n_down is {n_down}; the U-Net needs at least 5 levels (32 pixels)")
        self.n_down = n_down
        widest = num_filters * 8
        block = UnetBlock(widest, widest, innermost=True)
        for _ in range(n_down - 5):
            block = UnetBlock(widest, widest, submodule=block, dropout=True)
        for nf in (widest // 2, widest // 4, widest // 8):
            block = UnetBlock(nf, nf * 2, submodule=block)
        self.model = UnetBlock(output_c, num_filters, input_c=input_c, submodule=block, outermost=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        step = 2**self.n_down
        if x.shape[-2] % step or x.shape[-1] % step:
            raise ValueError(
                f"images of {x.shape[-2]}x{x.shape[-1]} do not halve {self.n_down} times: "
                f"use multiples of {step}, or a smaller n_down"
            )
        return self.model(x)
