"""A U-Net on a ResNet18 encoder: torchvision's ResNet18 (arXiv:1512.03385) without its last two layers, inside fastai's
`DynamicUnet` (U-Net, arXiv:1505.04597, with sub-pixel upsampling, arXiv:1609.05158).

The network has no final tanh: its ab is unbounded, so clamp (as `color.lab_to_rgb` does after conversion) before
showing it.
"""

import warnings
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torchvision.models import ResNet18_Weights, resnet18

with warnings.catch_warnings():  # fastai calls torch.jit.script at import, which torch has deprecated
    warnings.simplefilter("ignore", FutureWarning)
    from fastai.vision.learner import create_body
    from fastai.vision.models.unet import DynamicUnet

IMAGENET_WEIGHTS = ResNet18_Weights.IMAGENET1K_V1


class WeightsUnavailable(RuntimeError):
    """Pretrained weights could not be had; the message says which file, from where, and what to do."""


def build_res_unet(
    n_input: int = 1, n_output: int = 2, size: int = 256, weights: str | Path | None = "imagenet"
) -> nn.Module:
    """Build the ResNet18 generator: L (N,n_input,size,size) in [-1,1] to ab (N,n_output,size,size), unbounded.

    weights: `"imagenet"` (torchvision's IMAGENET1K_V1, downloaded on first use), `None` (random), or the path of a
    ResNet18 `state_dict` (.pth or .safetensors). The first convolution is adapted to `n_input` channels by summing its
    weights over RGB. The network comes back in train mode: a fresh DynamicUnet leaves most of its BatchNorm in eval
    mode.
    Raises WeightsUnavailable if the weights cannot be downloaded or read.
    """
    encoder = resnet18()
    if weights is not None:
        encoder.load_state_dict(_load_encoder_weights(weights))
    # `pretrained` only tells create_body to keep the first convolution's weights when it changes the channel count.
    body = create_body(encoder, pretrained=weights is not None, n_in=n_input, cut=-2)
    return DynamicUnet(body, n_output, (size, size)).train()


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
    """Turn a notebook's setting into the `weights` of `build_res_unet`, and print what the encoder starts from.

    choice: `imagenet`, `none`, a path, or `if-available` (ImageNet weights if they can be had, else random).
    """
    if choice == "none":
        weights = None
    elif choice == "if-available":
        try:
            _download_imagenet_weights()
            weights = "imagenet"
        except WeightsUnavailable as error:
            print(f"No ImageNet weights: {error}")
            weights = None
    else:
        weights = choice
    print(f"The ResNet18 encoder starts from {'random' if weights is None else weights} weights.")
    return weights
