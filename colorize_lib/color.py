"""sRGB <-> CIE L*a*b* as torch operations, and the networks' normalised (L, ab).

Formulas: IEC 61966-2-1 (sRGB transfer function) and CIE 15:2004 section 8.2.1 (L*a*b*), with the D65 / 2 degree
white point and the rounded constants of `skimage.color`, so that both agree to float32 precision. All arithmetic is
elementwise: no matrix product, hence the same float32 result under autocast and with TF32 switched on.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache

import torch

L_CENTER, L_SCALE, AB_SCALE = 50.0, 50.0, 110.0

# Linear sRGB -> XYZ for D65, its inverse, and the D65 / 2 degree white, as in skimage.color.
_XYZ_FROM_RGB = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_RGB_FROM_XYZ = torch.linalg.inv(torch.tensor(_XYZ_FROM_RGB, dtype=torch.float64)).tolist()
_WHITE = (0.95047, 1.0, 1.08883)
_DARK = 0.008856  # share of white below which the cube root of L*a*b* gives way to a straight line


def rgb_to_lab(rgb: torch.Tensor) -> torch.Tensor:
    """sRGB (N,3,H,W), uint8 or float in [0,1], to CIE L*a*b*, float32 (N,3,H,W): L* in [0,100], a* and b* in about
    [-110,110]. Differentiable, also at black."""
    if rgb.dtype == torch.uint8:
        return _levels_to_lab(rgb)
    linear = _linear(rgb.float())
    # The clamp keeps the unused branch of `where` finite, so that its gradient is 0 and not NaN.
    x, y, z = (_dot(row, linear) / white for row, white in zip(_XYZ_FROM_RGB, _WHITE, strict=True))
    fx, fy, fz = (torch.where(t > _DARK, t.clamp(min=_DARK) ** (1 / 3), 7.787 * t + 16 / 116) for t in (x, y, z))
    return torch.stack((116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)), dim=1)


def _levels_to_lab(rgb: torch.Tensor) -> torch.Tensor:
    """`rgb_to_lab` of uint8 in half the time (docs/speed.md): linear light from a table, cube roots from logarithms,
    all else in place, on a CPU one picture at a time, which its cache can hold."""
    lab = torch.empty(rgb.shape, device=rgb.device)
    for levels, out in zip(*(x.split(1 if rgb.device.type == "cpu" else len(x)) for x in (rgb, lab)), strict=True):
        linear = _linear_table(rgb.device).index_select(0, levels.flatten().int()).view(levels.shape)
        for k, channel in enumerate((1, 0, 2)):  # Y first, which becomes L
            weights = [weight / _WHITE[channel] for weight in _XYZ_FROM_RGB[channel]]
            torch.mul(linear[:, 0], weights[0], out=out[:, k])
            out[:, k].add_(linear[:, 1], alpha=weights[1]).add_(linear[:, 2], alpha=weights[2])
        # The straight line touches the cube root from above at the bend: the smaller of the two is the right one.
        straight = (out * 7.787).add_(16 / 116)
        torch.minimum(out.clamp_(min=_DARK).log_().mul_(1 / 3).exp_(), straight, out=out)
        fy, fx, fz = out.unbind(dim=1)
        fx.sub_(fy).mul_(500)
        fz.sub_(fy).mul_(-200)
        fy.mul_(116).sub_(16)
    return lab


def lab_to_unclipped_rgb(lab: torch.Tensor) -> torch.Tensor:
    """CIE L*a*b* (N,3,H,W) to sRGB float32 (N,3,H,W), left outside [0,1] where Lab is out of gamut."""
    L, a, b = lab.float().unbind(dim=1)
    fy = (L + 16) / 116
    # A negative fz has no XYZ; skimage sets it to zero too.
    roots = (a / 500 + fy, fy, (fy - b / 200).clamp(min=0))
    cubes = [torch.where(f > 0.2068966, f**3, (f - 16 / 116) / 7.787) for f in roots]
    xyz = torch.stack([white * t for white, t in zip(_WHITE, cubes, strict=True)], dim=1)
    linear = torch.stack([_dot(row, xyz) for row in _RGB_FROM_XYZ], dim=1)
    return torch.where(linear > 0.0031308, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055, 12.92 * linear)


def normalize(lab: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Split L*a*b* (N,3,H,W) into the networks' L = L*/50 - 1, (N,1,H,W), and ab = ab*/110, (N,2,H,W)."""
    return lab[:, :1] / L_SCALE - L_CENTER / L_SCALE, lab[:, 1:] / AB_SCALE


def denormalize(L: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:
    """Join normalised L (N,1,H,W) and ab (N,2,H,W) to L*a*b* (N,3,H,W); the inverse of `normalize`."""
    return torch.cat((L.float() * L_SCALE + L_CENTER, ab.float() * AB_SCALE), dim=1)


def to_lab(rgb: torch.Tensor, flip: Iterable[bool] | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 (N,H,W,3) to L (N,1,H,W) and ab (N,2,H,W), on the same device; mirrored where `flip` (N) is true."""
    if flip is not None and len(rgb):
        rgb = torch.stack([one.flip(1) if mirrored else one for one, mirrored in zip(rgb, flip, strict=True)])
    return normalize(rgb_to_lab(rgb.permute(0, 3, 1, 2)))


def lab_to_rgb(L: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:
    """Normalised L (N,1,H,W) and ab (N,2,H,W) to sRGB (N,3,H,W), clipped to [0,1] (see `out_of_gamut_share`)."""
    return lab_to_unclipped_rgb(denormalize(L, ab)).clamp(0, 1)


def rgb_to_ab(rgb: torch.Tensor) -> torch.Tensor:
    """The normalised ab (N,2,H,W) of sRGB (N,3,H,W) in [0,1]; its lightness is dropped."""
    return normalize(rgb_to_lab(rgb))[1]


def hex_to_ab(colours: Sequence[str]) -> torch.Tensor:
    """The normalised ab (K,2) of colours #rrggbb. Raises ValueError naming one that is written otherwise."""
    for colour in colours:
        if not re.fullmatch("#[0-9a-fA-F]{6}", colour):
            raise ValueError(f"{colour!r} is no colour: write it as #rrggbb, such as #c03028")
    levels = torch.tensor([list(bytes.fromhex(colour[1:])) for colour in colours], dtype=torch.uint8)
    return rgb_to_ab(levels.T[None, :, :, None])[0, :, :, 0].T


def to_uint8(rgb: torch.Tensor) -> torch.Tensor:
    """sRGB (N,3,H,W) in [0,1] as images: uint8 (N,H,W,3) on the CPU."""
    return (rgb.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu()


def out_of_gamut_share(L: torch.Tensor, ab: torch.Tensor) -> float:
    """Share of pixels, in [0,1], whose (L, ab) lies outside the sRGB cube by more than half an 8-bit step."""
    rgb = lab_to_unclipped_rgb(denormalize(L, ab))
    half = 0.5 / 255
    return ((rgb < -half) | (rgb > 1 + half)).any(dim=1).float().mean().item()


def _linear(rgb: torch.Tensor) -> torch.Tensor:
    """Linear light, of any shape, of sRGB in [0,1]; differentiable, also at black."""
    return torch.where(rgb > 0.04045, ((rgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4, rgb / 12.92)


@cache
def _linear_table(device: torch.device) -> torch.Tensor:
    """Linear light of the 256 levels of 8-bit sRGB: (256,)."""
    with torch.inference_mode(False):  # it is kept, and used outside of inference too
        return _linear(torch.arange(256, device=device) / 255)


def _dot(row: Sequence[float], channels: torch.Tensor) -> torch.Tensor:
    """One row of a colour matrix times the channels of (N,3,H,W): (N,H,W)."""
    return row[0] * channels[:, 0] + row[1] * channels[:, 1] + row[2] * channels[:, 2]
