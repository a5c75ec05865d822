"""The networks. `build_generator` builds any of the generators from its configuration."""

from dataclasses import dataclass
from typing import TypeAlias

from torch import nn

from .cifar import CifarConfig, CifarDiscriminator, CifarGenerator
from .init import init_weights
from .light import LightConfig, build_light, build_resnet_fast
from .unet import Unet

AnyConfig: TypeAlias = "GeneratorConfig | LightConfig | CifarConfig"
MOST_HALVINGS, MOST_PIXELS, MOST_FILTERS = 12, 4096, 1024
ARCHITECTURES = ("unet", "resnet18_dynamic_unet", "resnet18_fast")


@dataclass(frozen=True)
class GeneratorConfig:
    """Which generator, and its size. Stored with saved weights, so that the network can be built again."""

    architecture: str = "unet"  # unet | resnet18_dynamic_unet | resnet18_fast
    size: int = 256  # height and width of the images, in pixels
    n_down: int = 8  # unet: halvings; 2**n_down must divide `size`
    num_filters: int = 64  # unet: channels of the first level
    init: str = "norm"  # unet: norm | xavier | kaiming

    def __post_init__(self):
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f"architecture {self.architecture!r} is unknown; choose one of {', '.join(ARCHITECTURES)}")
        for name, most in {"size": MOST_PIXELS, "n_down": MOST_HALVINGS, "num_filters": MOST_FILTERS}.items():
            if type(value := getattr(self, name)) is not int or not 1 <= value <= most:
                raise ValueError(f"{name} is {value!r}; it must be a whole number from 1 to {most}")
        if self.architecture == "unet" and self.size % 2**self.n_down:
            raise ValueError(f"size {self.size} does not halve {self.n_down} times: use n_down <= log2(size)")


def fitting_config(architecture: str, size: int) -> GeneratorConfig | LightConfig:
    """The configuration of an architecture for pictures of this size; a U-Net has as many levels as halve it (<= 8)."""
    if architecture == "light":
        return LightConfig(size=size)
    if architecture != "unet":
        return GeneratorConfig(architecture, size)
    halvings = (size & -size).bit_length() - 1
    return GeneratorConfig(architecture, size, min(halvings, 8))


def generator_config(values: dict) -> AnyConfig:
    """The configuration that saved weights carry, as a dataclass. Raises TypeError or ValueError for one unknown."""
    kind = {"cifar": CifarConfig, "light": LightConfig}.get(values.get("architecture"), GeneratorConfig)
    return kind(**values)


def is_fixed(config: AnyConfig) -> bool:
    """Whether a generator takes pictures of its configuration's size alone."""
    return isinstance(config, CifarConfig)


def size_step(config: AnyConfig) -> int:
    """The sides that a generator takes are multiples of this number of pixels."""
    return config.size if is_fixed(config) else 2**config.n_down if config.architecture == "unet" else 32


def build_generator(config: AnyConfig, encoder_weights: str | None = None) -> nn.Module:
    """Build a generator, L (N,1,size,size) to ab (N,2,size,size) or RGB (N,3,size,size), with fresh weights.

    encoder_weights: of the encoder, as in `encoders.classifier_state`; None or "random" for fresh ones.
    """
    if isinstance(config, CifarConfig):
        return init_weights(CifarGenerator(config))
    if isinstance(config, LightConfig):
        return build_light(config, encoder_weights)
    if config.architecture == "unet":
        return init_weights(Unet(1, 2, config.n_down, config.num_filters), config.init)
    if config.architecture == "resnet18_fast":
        return build_resnet_fast(encoder_weights)
    from .resnet_unet import build_res_unet  # fastai takes seconds to import and only this network needs it

    return build_res_unet(1, 2, config.size, encoder_weights)


def build_discriminator(config: CifarConfig) -> nn.Module:
    """Build the discriminator of 32x32 pictures, [L, colour] (N,1+C,32,32) to logits (N,1), with fresh weights."""
    return init_weights(CifarDiscriminator(config))
