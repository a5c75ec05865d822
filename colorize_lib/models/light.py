"""Light colouring networks: any encoder, and a decoder that stops at a quarter of the resolution.

The decoder is that of a U-Net (arXiv:1505.04597) with one convolution a level. Colour is low-frequency, and the fine
levels, which cost most of a U-Net's time, add little to it: what is painted is enlarged bilinearly, and a photograph's
own edges come back with its lightness. Colour is either ab itself, unbounded (clamp before showing it), or a
distribution over ab bins (`distribution`).
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from .distribution import ColourDistribution, alpha_and_temperature
from .encoders import ENCODERS, build_encoder

HEADS = ("bins", "ab")
DROPPED = (0.1, 0.2)  # in training: shares of the channels at 1/16 and 1/32 that a picture is painted without


@dataclass(frozen=True)
class LightConfig:
    """Which light network; stored with saved weights."""

    architecture: str = "light"
    size: int = 192  # height and width that it paints at, in pixels: a multiple of 32
    encoder: str = "efficientnet_lite0"  # efficientnet_lite0 | efficientnet_lite2 | resnet18
    head: str = "bins"  # bins: a distribution over ab | ab
    widths: tuple[int, int, int] = (256, 160, 96)  # channels of the decoder at 1/16, 1/8 and 1/4
    vividness: float = 0.8  # bins: how the distribution is read unless told otherwise, from 0 faithful to 1 vivid

    def __post_init__(self):
        object.__setattr__(self, "widths", tuple(self.widths))  # a list, where it comes from JSON
        for name, choices in {"encoder": ENCODERS, "head": HEADS}.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} {getattr(self, name)!r} is unknown; choose one of {', '.join(choices)}")
        if type(self.size) is not int or self.size % 32 or not 32 <= self.size <= 4096:
            raise ValueError(f"size {self.size} must be a multiple of 32, from 32 to 4096")
        if len(self.widths) != 3 or not all(type(width) is int and 8 <= width <= 2048 for width in self.widths):
            raise ValueError(f"widths {self.widths} must be three numbers of channels, from 8 to 2048")
        alpha_and_temperature(self.vividness)


class LightUnet(nn.Module):
    """L (N,1,H,W) in [-1,1] to ab (N,2,H,W); H and W are multiples of 32.

    encoder: of `encoders`. widths: channels of the decoder at 1/16, 1/8 and 1/4. head: makes of the last features ab
    (N,2,H/4,W/4), or is a ColourDistribution.
    """

    def __init__(self, encoder: nn.Module, widths: tuple[int, int, int], head: nn.Module, vividness: float = 0.8):
        super().__init__()
        self.encoder, self.vividness = encoder, vividness
        below = (encoder.channels[4], *widths)
        skips = encoder.channels[3:0:-1]
        self.ups = nn.ModuleList(_block(below[k] + skips[k], widths[k]) for k in range(3))
        self.head = head  # after `ups`: optimisers of the first published run know the parameters in this order

    def forward(self, L: torch.Tensor, logits: bool = False) -> torch.Tensor:
        """ab, read at `self.vividness` if the head is a distribution; with `logits`, its (N,Q,H/4,W/4).

        In eval mode a distribution is the mean of the picture's and its mirror image's.
        """
        if logits:
            return self.head(self.features(L))
        if isinstance(self.head, ColourDistribution):
            return self.read(self.head(self.features(L)) if self.training else self.believe(L), L.shape[2:])
        return F.interpolate(self.head(self.features(L)), size=L.shape[2:], mode="bilinear", align_corners=False)

    def believe(self, L: torch.Tensor) -> torch.Tensor:
        """A distribution's logits (N,Q,H/4,W/4), the mean of the picture's and its mirror image's."""
        return (self.head(self.features(L)) + self.head(self.features(L.flip(3))).flip(3)) / 2

    def read(self, logits: torch.Tensor, size: tuple[int, int], vividness: float | None = None) -> torch.Tensor:
        """ab (N,2,*size) of a distribution's logits (N,Q,h,w), read at a vividness, or at `self.vividness`."""
        ab = self.head.decode(logits, *alpha_and_temperature(self.vividness if vividness is None else vividness))
        return F.interpolate(ab, size=size, mode="bilinear", align_corners=False)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *rest) -> None:
        for key in list(state_dict):
            state_dict[prefix + current_name(key.removeprefix(prefix))] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def features(self, L: torch.Tensor) -> torch.Tensor:
        """What the head sees: (N,C,H/4,W/4)."""
        return self.maps(L)[-1]

    def maps(self, L: torch.Tensor) -> list[torch.Tensor]:
        """What the decoder makes at 1/16, 1/8 and 1/4 of the resolution."""
        _, quarter, eighth, sixteenth, x = self.encoder(L)
        if isinstance(self.head, ColourDistribution):  # training overtook validation after 13 epochs without it
            sixteenth, x = (F.dropout2d(m, p, self.training) for m, p in zip((sixteenth, x), DROPPED, strict=True))
        made = []
        for up, skip in zip(self.ups, (sixteenth, eighth, quarter), strict=True):
            x = up(torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), skip], dim=1))
            made.append(x)
        return made


def build_light(config: LightConfig, encoder_weights: str | Path | None) -> LightUnet:
    """The network of a configuration, in train mode; the encoder's weights as in `encoders.build_encoder`, the
    decoder's are PyTorch's random ones."""
    last = config.widths[-1]
    head = ColourDistribution(last) if config.head == "bins" else nn.Conv2d(last, 2, kernel_size=1)
    return LightUnet(build_encoder(config.encoder, encoder_weights), config.widths, head, config.vividness)


def build_resnet_fast(encoder_weights: str | Path | None = None) -> LightUnet:
    """The light network of the first published run: a ResNet18 that paints ab."""
    return LightUnet(build_encoder("resnet18", encoder_weights), (256, 128, 64), nn.Conv2d(64, 2, 3, padding=1))


def _block(n_input: int, n_output: int) -> nn.Sequential:
    """Convolution, BatchNorm, ReLU. A convolution before BatchNorm needs no bias."""
    convolution = nn.Conv2d(n_input, n_output, kernel_size=3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(n_output), nn.ReLU(inplace=True))


def current_name(key: str) -> str:
    """The name of a weight; those of the first published run have the ResNet18's layers beside the decoder."""
    return f"encoder.{key}" if key.startswith(("stem.", "layer")) else key
