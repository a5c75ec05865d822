"""The ResNet18 encoder (arXiv:1512.03385) of the two ResNet18 generators, and where its weights come from."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torchvision.models import ResNet, ResNet18_Weights, resnet18

from ..runs import processes

IMAGENET_WEIGHTS = ResNet18_Weights.IMAGENET1K_V1


class WeightsUnavailable(RuntimeError):
    """Pretrained weights could not be had; the message says which file, from where, and what to do."""


def load_encoder(weights: str | Path | None) -> ResNet:
    """torchvision's ResNet18, for RGB.

    weights: `"imagenet"` (torchvision's IMAGENET1K_V1, downloaded on first use), `None` (random), or the path of a
    ResNet18 `state_dict` (.pth or .safetensors).
    Raises WeightsUnavailable if the weights cannot be downloaded or read.
    """
    encoder = resnet18()
    if weights is not None:
        encoder.load_state_dict(_load_encoder_weights(weights))
    return encoder


def sum_first_convolution(encoder: ResNet) -> ResNet:
    """The encoder with a first convolution that takes one channel: its weights are summed over RGB, so that a grey
    picture in one channel gives what it gave in three."""
    rgb = encoder.conv1
    encoder.conv1 = nn.Conv2d(1, rgb.out_channels, rgb.kernel_size, rgb.stride, rgb.padding, bias=False)
    encoder.conv1.weight = nn.Parameter(rgb.weight.detach().sum(dim=1, keepdim=True))
    return encoder


def _load_encoder_weights(weights: str | Path) -> dict[str, torch.Tensor]:
    """The ResNet18 state_dict named by `weights`, on the CPU."""
    if weights == "imagenet":
        return _download_imagenet_weights()
    path = Path(weights)
    if not path.is_file():
        raise WeightsUnavailable(
            f"ResNet18 weights file {path} does not exist. "
            "Give the path of a state_dict (.pth or .safetensors), imagenet, or none to train from random weights."
        )
    try:
        state = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
        resnet18().load_state_dict(state)
    except Exception as error:
        raise WeightsUnavailable(f"{path} is not a ResNet18 state_dict: {error}") from error
    return state


def _download_imagenet_weights() -> dict[str, torch.Tensor]:
    """torchvision's ImageNet weights, from its cache or the network; a file with a wrong hash is refused."""
    try:
        return IMAGENET_WEIGHTS.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong hash raises RuntimeError
        file_name = IMAGENET_WEIGHTS.url.rsplit("/", 1)[-1]
        raise WeightsUnavailable(
            f"{file_name} could not be downloaded from {IMAGENET_WEIGHTS.url} ({error}). "
            f"Download it elsewhere and put it into {torch.hub.get_dir()}/checkpoints, or give its path "
            "(encoder_weights=PATH), or train from random weights (encoder_weights=none)."
        ) from error


def choose_encoder_weights(choice: str) -> str | None:
    """Turn a notebook's setting into the `weights` of `load_encoder`, and print what the encoder starts from.

    choice: `imagenet`, `none`, a path, or `if-available` (ImageNet weights if they can be had, else random).
    """
    if choice == "none":
        weights = None
    elif choice == "if-available":
        try:
            _download_imagenet_weights()
            weights = "imagenet"
        except WeightsUnavailable as error:
            processes.say(f"No ImageNet weights: {error}")
            weights = None
    else:
        weights = choice
    processes.say(f"The ResNet18 encoder starts from {'random' if weights is None else weights} weights.")
    return weights
