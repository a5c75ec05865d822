"""Errors by hue: which colours a generator gets right, and which it paints as others.

Chroma is hypot(a*, b*), hue the angle atan2(b*, a*) (CIE 15:2004, section 8.2.2). ab are normalised, (N,2,H,W).
"""

import torch

from ..color import AB_SCALE
from ..data.loader import LabLoader

# Hue angles in degrees: from here to the next. sRGB's red lies at 40, yellow at 103, green at 136, cyan at 196, blue at
# 306 and magenta at 328; skies and seas of photographs lie between 220 and 290.
HUES = {"red": -15, "orange/yellow": 45, "green": 112, "cyan": 170, "blue": 215, "purple": 310}
NEAR_GREY = 10.0  # chroma below which a colour has no hue worth the name, in Lab units
HUE_NAMES = (*HUES, "near-grey")


def hue_of(ab: torch.Tensor) -> torch.Tensor:
    """The hue of every pixel as an index into HUE_NAMES: (N,H,W)."""
    a, b = ab.float().unbind(dim=1)
    starts = list(HUES.values())
    angle = (torch.rad2deg(torch.atan2(b, a)) - starts[0]) % 360 + starts[0]
    hue = torch.bucketize(angle, torch.tensor(starts[1:], dtype=angle.dtype, device=angle.device), right=True)
    return torch.where(torch.hypot(a, b) * AB_SCALE < NEAR_GREY, len(HUES), hue)


def hue_errors(ab_hat: torch.Tensor, ab: torch.Tensor) -> dict[str, float]:
    """Mean distance of generated from true ab, in Lab units, over the pixels of each TRUE hue of HUE_NAMES; NaN for a
    hue without pixels."""
    distance = (ab_hat.float() - ab).square().sum(dim=1).sqrt() * AB_SCALE  # (N,H,W)
    hue = hue_of(ab)
    return {name: distance[hue == index].mean().item() for index, name in enumerate(HUE_NAMES)}


def grey_hue_errors(dl: LabLoader) -> dict[str, float]:
    """`hue_errors` of the grey answer, ab = 0, over all images of a loader."""
    ab = torch.cat([batch["ab"] for batch in dl])
    return hue_errors(torch.zeros_like(ab), ab)


def share_painted(ab_hat: torch.Tensor, ab: torch.Tensor, true: str, painted: str) -> float:
    """Of the pixels whose true hue is `true`, the share, in [0,1], painted in the hue `painted`; NaN if none is."""
    return (hue_of(ab_hat)[hue_of(ab) == HUE_NAMES.index(true)] == HUE_NAMES.index(painted)).float().mean().item()
