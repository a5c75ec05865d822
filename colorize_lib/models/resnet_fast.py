"""A light colouring network on a ResNet18 encoder: ours, made to train several times faster than the `DynamicUnet`.

The encoder is torchvision's ResNet18 (arXiv:1512.03385) without its last two layers. The decoder is that of a U-Net
(arXiv:1505.04597) with one convolution a level, and it stops at a quarter of the resolution: colour is low-frequency,
and the fine levels, which cost most of a U-Net's time, add little to it. What it paints is enlarged bilinearly; a
photograph's own edges come back with its lightness. As in the DynamicUnet there is no final tanh: ab is unbounded, so
clamp before showing it.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import ResNet

from .encoders import load_encoder, sum_first_convolution

WIDTHS = (256, 128, 64, 64)  # channels of the decoder at 1/16, 1/8, 1/4 and 1/2 of the resolution


class ResnetFast(nn.Module):
    """L (N,1,H,W) in [-1,1] to ab (N,n_output,H,W), unbounded; H and W are multiples of 32.

    encoder: a ResNet18 whose first convolution takes one channel. stop: the decoder's last level is at 1/stop of the
    resolution, 2, 4 or 8.
    """

    def __init__(self, encoder: ResNet, n_output: int = 2, stop: int = 4):
        super().__init__()
        self.stem = nn.Sequential(encoder.conv1, encoder.bn1, encoder.relu)  # 64 channels at 1/2
        self.layer1 = nn.Sequential(encoder.maxpool, encoder.layer1)  # 64 at 1/4
        self.layer2, self.layer3, self.layer4 = encoder.layer2, encoder.layer3, encoder.layer4  # 128, 256, 512
        levels = {2: 4, 4: 3, 8: 2}[stop]
        inputs = (512, *WIDTHS)
        skips = (256, 128, 64, 64)
        self.ups = nn.ModuleList(_block(inputs[k] + skips[k], WIDTHS[k]) for k in range(levels))
        self.head = nn.Conv2d(WIDTHS[levels - 1], n_output, kernel_size=3, padding=1)

    def forward(self, L: torch.Tensor) -> torch.Tensor:
        half = self.stem(L)
        quarter = self.layer1(half)
        eighth = self.layer2(quarter)
        sixteenth = self.layer3(eighth)
        x = self.layer4(sixteenth)
        for up, skip in zip(self.ups, (sixteenth, eighth, quarter, half), strict=False):
            x = up(torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), skip], dim=1))
        return F.interpolate(self.head(x), size=L.shape[2:], mode="bilinear", align_corners=False)


def build_resnet_fast(weights: str | Path | None = "imagenet") -> ResnetFast:
    """Build the network, for L (N,1,H,W) to ab (N,2,H,W), in train mode. weights: of the encoder, as in
    `load_encoder`, which raises WeightsUnavailable; the decoder starts from PyTorch's random weights."""
    return ResnetFast(sum_first_convolution(load_encoder(weights))).train()


def _block(n_input: int, n_output: int) -> nn.Sequential:
    """Convolution, BatchNorm, ReLU. A convolution before BatchNorm needs no bias."""
    convolution = nn.Conv2d(n_input, n_output, kernel_size=3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(n_output), nn.ReLU(inplace=True))
