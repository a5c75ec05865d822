"""The PatchGAN discriminator of pix2pix (arXiv:1611.07004, section 6.1.2)."""

import torch
from torch import nn


class PatchDiscriminator(nn.Module):
    """Judges every patch of [L, ab] as real or generated: (N,input_c,H,W) to logits (N,1,H',W').

    With the defaults: C64-C128-C256 with stride 2, C512 and the final 1-channel convolution with stride 1, all 4x4;
    no BatchNorm on the first and last layer. 256x256 gives 30x30 logits, each seeing a 70x70 patch; 2,765,633
    parameters.
    """

    def __init__(self, input_c: int = 3, num_filters: int = 64, n_down: int = 3):
        super().__init__()
        layers = [self.get_layers(input_c, num_filters, norm=False)]
        for i in range(n_down):
            stride = 1 if i == n_down - 1 else 2
            layers.append(self.get_layers(num_filters * 2**i, num_filters * 2 ** (i + 1), stride=stride))
        layers.append(self.get_layers(num_filters * 2**n_down, 1, stride=1, norm=False, act=False))
        self.model = nn.Sequential(*layers)

    @staticmethod
    def get_layers(ni: int, nf: int, stride: int = 2, norm: bool = True, act: bool = True) -> nn.Sequential:
        """A 4x4 convolution with padding 1, then BatchNorm if `norm`, then LeakyReLU(0.2) if `act`."""
        layers: list[nn.Module] = [nn.Conv2d(ni, nf, kernel_size=4, stride=stride, padding=1, bias=not norm)]
        layers += [nn.BatchNorm2d(nf)] if norm else []
        layers += [nn.LeakyReLU(0.2, True)] if act else []
        return nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)
