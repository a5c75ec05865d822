"""The networks of the reports' fourth system, for 32x32 pictures: a U-Net with 2x2 kernels, and a discriminator that
gives one logit for the whole picture.

The options beside the reports' choices are those that the reports argue about: activation, downsampling,
normalisation, the last activation, and whether RGB or ab is painted. The reports' sigmoid is inside the loss.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"leaky_relu": lambda: nn.LeakyReLU(0.2), "relu": nn.ReLU}
FINALS: dict[str, Callable[[], nn.Module]] = {"tanh": nn.Tanh, "linear": nn.Identity}
CHANNELS = {"rgb": 3, "ab": 2}
CHOICES = {
    "architecture": ("cifar",),
    "output": tuple(CHANNELS),
    "activation": tuple(ACTIVATIONS),
    "downsample": ("stride", "maxpool"),
    "norm": ("batch", "spectral", "none"),
    "final": tuple(FINALS),
}


@dataclass(frozen=True)
class CifarConfig:
    """The options of both networks; the defaults are the reports' system S4."""

    architecture: str = "cifar"  # says in saved weights which networks these are
    output: str = "rgb"  # rgb: RGB in [-1,1] | ab: ab / 110
    activation: str = "leaky_relu"  # leaky_relu (slope 0.2) | relu
    downsample: str = "stride"  # stride: 2x2 convolutions of stride 2 | maxpool: of stride 1, then 2x2 max pooling
    norm: str = "batch"  # batch: BatchNorm | spectral: spectral normalisation of all weights | none
    final: str = "tanh"  # tanh | linear; of the generator
    size: ClassVar[int] = 32  # height and width of the images, in pixels

    def __post_init__(self):
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} {getattr(self, name)!r} is unknown; choose one of {', '.join(choices)}")

    @property
    def channels(self) -> int:
        """How many channels the generator paints."""
        return CHANNELS[self.output]


class CifarGenerator(nn.Module):
    """L (N,1,32,32) to RGB (N,3,32,32) in [-1,1], or to ab (N,2,32,32).

    Encoder 64 (1x1), then 128, 256, 512, 512, each halving, down to 2x2x512; decoder 512, 256, 128, 64, each doubling
    by a transposed convolution, with skip connections by concatenation and dropout 0.5 after the first two; a 1x1
    convolution at the end. No BatchNorm on the first and last layer.
    """

    def __init__(self, config: CifarConfig | None = None):
        super().__init__()
        config = config or CifarConfig()
        encoder, decoder = [64, 128, 256, 512, 512], [512, 256, 128, 64]
        self.first = nn.Sequential(_weights(nn.Conv2d(1, encoder[0], 1), config), ACTIVATIONS[config.activation]())
        self.down = nn.ModuleList(_halving(ni, nf, config) for ni, nf in zip(encoder, encoder[1:], strict=False))
        self.up = nn.ModuleList()
        ni = encoder[-1]
        for level, (nf, skip) in enumerate(zip(decoder, encoder[-2::-1], strict=True)):
            self.up.append(_doubling(ni, nf, config, dropout=level < 2))
            ni = nf + skip
        self.last = nn.Sequential(_weights(nn.Conv2d(ni, config.channels, 1), config), FINALS[config.final]())

    def forward(self, L: torch.Tensor) -> torch.Tensor:
        maps = [self.first(L)]
        for down in self.down:
            maps.append(down(maps[-1]))
        x = maps.pop()
        for up in self.up:
            x = torch.cat([up(x), maps.pop()], dim=1)
        return self.last(x)


class CifarDiscriminator(nn.Module):
    """[L, colour] (N,1+C,32,32), C = 3 for RGB and 2 for ab, to one logit for each picture, (N,1).

    Halving convolutions 64, 128, 256, 512 (no BatchNorm on the first), then dense layers 128 and 1.
    """

    def __init__(self, config: CifarConfig | None = None):
        super().__init__()
        config = config or CifarConfig()
        self.model = nn.Sequential(
            _halving(1 + config.channels, 64, config, normalize=False),
            _halving(64, 128, config),
            _halving(128, 256, config),
            _halving(256, 512, config),
            nn.Flatten(),  # (N,512,2,2) to (N,2048)
            _weights(nn.Linear(2048, 128), config),
            ACTIVATIONS[config.activation](),
            _weights(nn.Linear(128, 1), config),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


def _halving(ni: int, nf: int, config: CifarConfig, normalize: bool = True) -> nn.Sequential:
    """(N,ni,H,W) to (N,nf,H/2,W/2)."""
    bias = not (normalize and config.norm == "batch")  # BatchNorm would take it away again
    if config.downsample == "stride":
        layers = [_weights(nn.Conv2d(ni, nf, 2, stride=2, bias=bias), config)]
    else:
        layers = [nn.ZeroPad2d((0, 1, 0, 1)), _weights(nn.Conv2d(ni, nf, 2, bias=bias), config), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, *_norm(nf, config, normalize), ACTIVATIONS[config.activation]())


def _doubling(ni: int, nf: int, config: CifarConfig, dropout: bool) -> nn.Sequential:
    """(N,ni,H,W) to (N,nf,2H,2W)."""
    convolution = _weights(nn.ConvTranspose2d(ni, nf, 2, stride=2, bias=config.norm != "batch"), config)
    layers = [convolution, *_norm(nf, config), *([nn.Dropout(0.5)] if dropout else [])]
    return nn.Sequential(*layers, ACTIVATIONS[config.activation]())


def _norm(channels: int, config: CifarConfig, normalize: bool = True) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels)] if normalize and config.norm == "batch" else []


def _weights(layer: nn.Module, config: CifarConfig) -> nn.Module:
    return spectral_norm(layer) if config.norm == "spectral" else layer
