"""A U-Net on a ResNet18 encoder: torchvision's ResNet18 (arXiv:1512.03385) without its last two layers, inside fastai's
`DynamicUnet` (U-Net, arXiv:1505.04597, with sub-pixel upsampling, arXiv:1609.05158).

The network has no final tanh: its ab is unbounded, so clamp (as `color.lab_to_rgb` does after conversion) before
showing it.
"""

import warnings
from pathlib import Path

from torch import nn

from .encoders import load_resnet18

with warnings.catch_warnings():  # fastai calls torch.jit.script at import, which torch has deprecated
    warnings.simplefilter("ignore", FutureWarning)
    from fastai.vision.learner import create_body
    from fastai.vision.models.unet import DynamicUnet


def build_res_unet(
    n_input: int = 1, n_output: int = 2, size: int = 256, weights: str | Path | None = "imagenet"
) -> nn.Module:
    """Build the ResNet18 generator: L (N,n_input,size,size) in [-1,1] to ab (N,n_output,size,size), unbounded.

    weights: of the encoder, as in `encoders.classifier_state`. The first convolution is adapted to `n_input` channels
    by summing its weights over RGB. The network comes back in train mode: a fresh DynamicUnet leaves most of its
    BatchNorm in eval mode.
    Raises WeightsUnavailable if the weights cannot be downloaded or read.
    """
    encoder = load_resnet18(weights)
    # `pretrained` only tells create_body to keep the first convolution's weights when it changes the channel count.
    body = create_body(encoder, pretrained=weights not in (None, "random"), n_in=n_input, cut=-2)
    return DynamicUnet(body, n_output, (size, size)).train()
