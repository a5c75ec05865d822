"""What may be asked of a belief about colours: certain colours, several answers, and where it is a guess.

A photograph's logits (1,Q,h,w) are moved by one number for each bin, the same in the whole picture, so that what is
then read of them stays coherent. The pull is the correction of a classifier for other shares of its classes of Saerens
et al., "Adjusting the outputs of a classifier to new a priori probabilities" (2002), in one step: a pixel's belief
times wanted / believed share of each bin, renormalised. The constants were chosen on *tune* photographs.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..color import hex_to_ab
from ..images import UnusablePhoto, as_picture, is_greyscale
from ..models.distribution import REACH, ColourDistribution, alpha_and_temperature, bin_centres, soft_encode
from .enlarging import small_copy

SEEN = 256  # pixels a side of the small copy of a reference
LEAST_SHARE, LEAST_FACTOR = 1e-3, 1e-2  # added to believed shares, and to factors: no colour is ruled out
TILT = 3.0  # change of the logits from a grey bin to one of chroma REACH
SLOPE, OFFSET = 1.5, -8.1  # of the error over the spread: bins and soft targets spread the surest belief too
LEVELS = 5  # of 255, for each Lab unit of expected error


def wanted(palette: str | Sequence[str] | None = None, like: object = None, strength=1.0) -> torch.Tensor | None:
    """The share that each bin should have, (Q,) with sum 1; None if nothing is asked for.

    palette: colours #rrggbb, in a list or separated by commas, with equal shares. like: a picture in whose colours to
    paint, as `images.as_picture` takes it, or what this function returned. Both: half each. strength: of `pull`.
    Raises ValueError for a palette of no colours, a reference without any and a negative strength, and UnusablePhoto
    for what is no picture.
    """
    if not 0 <= strength < math.inf:
        raise ValueError(f"strength {strength} must be at least 0")
    parts = [] if palette is None else [shares(_colours(palette))]
    if like is not None:
        parts.append(like if isinstance(like, torch.Tensor) else shares(_reference(like)))
    return torch.stack(parts).mean(dim=0) if parts else None


def shares(ab: torch.Tensor) -> torch.Tensor:
    """The share of each bin in normalised ab (1,2,H,W): (Q,), with sum 1."""
    index, weight = soft_encode(ab)
    return torch.bincount(index.flatten(), weight.flatten(), len(bin_centres())) / ab[0, 0].numel()


def pull(
    head: ColourDistribution, logits: torch.Tensor, vividness: float, palette=None, like=None, strength=1.0
) -> torch.Tensor:
    """Logits (1,Q,h,w) that, read at a vividness, come nearer to what is `wanted`; strength: 0 not at all, 1 fully."""
    if (to := wanted(palette, like, strength)) is None:
        return logits
    own = head.belief(logits, alpha_and_temperature(vividness)[0], 1.0).mean(dim=(0, 2, 3))
    factor = to.to(own) / (own + LEAST_SHARE) + LEAST_FACTOR
    return logits + strength * factor.log()[:, None, None]


def directions(count: int) -> torch.Tensor:
    """What to add to logits for so many colourings, (count,Q,1,1): preferences for as many hues, evenly apart, the
    first by torch's random generator; nothing for one."""
    if count == 1:
        return torch.zeros(1, len(bin_centres()), 1, 1)
    hue = 2 * math.pi * (torch.rand(()) + torch.arange(count) / count)
    towards = torch.stack([hue.cos(), hue.sin()], dim=1) @ bin_centres().T  # (count,Q), Lab units
    return (TILT / REACH * towards)[:, :, None, None]


def expected_error(head: ColourDistribution, logits: torch.Tensor) -> torch.Tensor:
    """The root mean square error to expect, in Lab units, of what is painted at the default vividness, (N,1,h,w) of
    logits (N,Q,h,w): from the root mean square distance of a belief's colours from their mean, by a straight line."""
    belief, centres = head.belief(logits, 1.0, 1.0), head.centres
    mean, square = (torch.einsum("nqhw,qc->nchw", belief, of) for of in (centres, centres.square().sum(1, True)))
    spread = (square - mean.square().sum(dim=1, keepdim=True)).clamp(min=0).sqrt()
    return (SLOPE * spread + OFFSET).clamp(min=0)


def as_map(error: np.ndarray) -> Image.Image:
    """Expected errors (H,W) as a grey picture, white where the colour is known: (255 - level) / 5, up to 51."""
    return Image.fromarray((255 - LEVELS * error).round().clip(0, 255).astype(np.uint8))


def _colours(palette: str | Sequence[str]) -> torch.Tensor:
    colours = [colour.strip() for colour in (palette.split(",") if isinstance(palette, str) else palette)]
    try:
        return hex_to_ab(colours or [""]).T[None, :, None]  # (1,2,1,K)
    except ValueError as error:
        given = ",".join(colours)
        raise ValueError(f"palette {given!r}: give colours as #rrggbb, with commas between: #e8d5b0,#203a5c") from error


def _reference(like: str | Path | Image.Image | np.ndarray) -> torch.Tensor:
    name = f"the reference {like}" if isinstance(like, str | Path) else "the reference"
    try:
        picture = as_picture(like)
    except UnusablePhoto as error:
        raise UnusablePhoto(f"{name}: {error}") from error
    if is_greyscale(picture):
        raise ValueError(f"{name} is grey: give a picture that has colours to paint in")
    return small_copy(picture, SEEN)[1]
