"""What `enlarging` does, which has the why, without torch: arrays are (C,H,W), and colour is skimage's."""

import warnings

import numpy as np
from PIL import Image
from scipy.ndimage import uniform_filter
from skimage.color import lab2rgb, rgb2lab

from ..images import resize

L_SCALE, AB_SCALE = 50, 110  # those of `color`, which needs torch: L = L* / 50 - 1, ab = ab* / 110

STRIP_PIXELS = 200_000  # of the photograph, worked on at a time: bounds the memory, and fits into the cache

# The window's radius as a share of the small copy's side, and how much variance of L (in [-1,1]) it takes to steer the
# colour. Chosen on 120 photographs whose true colour was brought back from 64 to 256 px (see docs/speed.md).
# L1 of ab in Lab units and spill: bilinear 0.984 and 0.073; this 0.955 and 0.063; a tenth of EPSILON 1.023 and 0.069;
# twice the radius 0.969 and 0.064; the plain guided filter, which blurs the small colour first, an L1 of 1.62 at best.
RADIUS, EPSILON = 1 / 64, 0.1


def small_lightness(picture: Image.Image, size: int) -> np.ndarray:
    """Normalised L (1,size,size), float32, of an RGB picture squashed to a square."""
    return _lightness(resize(picture, size))


def enlarge(picture: Image.Image, L: np.ndarray, ab: np.ndarray) -> Image.Image:
    """Lay small colour under a picture's own lightness: RGB of the picture's size, worked out in strips.

    picture: RGB, of any size; L (1,S,S) and ab (2,S,S): its small copy and the colour of that, normalised.
    """
    small = np.concatenate([_guided_slope(L, ab), ab, L])
    width, height = picture.size
    result = np.empty((height, width, 3), np.uint8)
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip = np.array(picture.crop((0, top, width, min(top + rows, height))))
        large = _lines(_lines(small, 1, top, len(strip), height), 2, 0, width, width)
        L_strip = _lightness(strip)
        colour = (large[2:4] + large[:2] * (L_strip - large[4:])).clip(-1, 1)
        lab = np.concatenate([(L_strip + 1) * L_SCALE, colour * AB_SCALE])
        with warnings.catch_warnings(action="ignore"):  # colour that sRGB does not hold is clipped, as torch's is
            result[top : top + rows] = (lab2rgb(lab, channel_axis=0) * 255).round().transpose(1, 2, 0)
    return Image.fromarray(result)


def _lightness(rgb: np.ndarray) -> np.ndarray:
    """Normalised L (1,H,W), float32, of uint8 (H,W,3)."""
    return rgb2lab(rgb.astype(np.float32) / 255)[None, ..., 0] / L_SCALE - 1


def _guided_slope(L: np.ndarray, ab: np.ndarray) -> np.ndarray:
    """A of ab = A * L + B in the windows that a pixel is in, on average: (1,S,S) and (2,S,S) to (2,S,S)."""
    window = (1, *(2 * max(1, round(L.shape[-1] * RADIUS)) + 1,) * 2)
    inside = uniform_filter(np.ones_like(L), window, mode="constant")  # the share of a window that lies in the picture

    def mean(maps: np.ndarray) -> np.ndarray:
        return uniform_filter(maps, window, mode="constant") / inside

    mean_L = mean(L)
    return mean((mean(L * ab) - mean_L * mean(ab)) / (mean(L * L) - mean_L**2 + EPSILON))


def _lines(maps: np.ndarray, axis: int, start: int, count: int, of: int) -> np.ndarray:
    """Lines `start` to `start + count` of maps (C,h,w) that are enlarged bilinearly to `of` lines along an axis."""
    last = maps.shape[axis] - 1
    at = ((np.arange(start, start + count, dtype=np.float32) + 0.5) * ((last + 1) / of) - 0.5).clip(0, last)
    low = at.astype(int)
    share = np.expand_dims(at - low, [other for other in range(3) if other != axis])
    return maps.take(low, axis) * (1 - share) + maps.take((low + 1).clip(max=last), axis) * share
