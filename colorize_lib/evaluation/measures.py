"""What is measured: for each figure of merit its name for readers, formula, range, better side and source.

Pictures are compared as 8-bit sRGB; a*, b* and distances are in CIE L*a*b* units, ab distance is hypot of the
differences in a* and b*. A figure is a mean over images unless its formula says "all pixels": then it is a mean over
those pixels of all images together.
"""

from dataclasses import dataclass

from .hues import HUE_NAMES

MOST_DB = 100.0  # PSNR of equal pictures, which would be infinite


@dataclass(frozen=True)
class Measure:
    label: str
    formula: str
    range: str
    better: str  # lower | higher | near 0 | as the truth
    source: str = "this project"


_ZHANG = "Zhang et al. 2016, arXiv:1603.08511"
_LPIPS = "after LPIPS, Zhang et al. 2018, arXiv:1801.03924"
_SHARES = "sum of min(share, truth's share) over bins of 10, all pixels"
_ISOLA = (_SHARES, "0 to 1", "higher", "Isola et al. 2017, arXiv:1611.07004")
_VIVID = ("sigma + 0.3 mu of rg = R-G, yb = (R+G)/2-B", "0 to about 190", "as the truth", "Hasler and Süsstrunk 2003")
_DISTANCE, _ERROR = "ab distance, mean over all pixels", ("0 to about 250", "lower")
_ABOVE = "area under the share of pixels with ab distance up to t, t = 0 to 150"
_WEIGHTED = "all pixels, weighted by 1 / share of their true ab bin"
_GAP = "|colourfulness - truth's|"
_SPILL = "all pixels of smooth lightness: max(0, chroma gradient - truth's)"
_ROWS = {
    "l1_ab": ("L1", "mean |difference| over pixels and both of a*, b*", "0 to about 200", "lower", ""),
    "l2_ab": ("L2", "root of the mean squared difference over pixels and a*, b*", "0 to about 200", "lower", ""),
    "ciede2000": ("CIEDE2000", "mean over pixels", "0 to about 120", "lower", "Sharma et al. 2005"),
    "psnr_rgb": ("PSNR, dB", "10 log10(1 / mean squared RGB error)", f"0 to {MOST_DB:.0f}, equal", "higher", ""),
    "ssim_rgb": ("SSIM", "of RGB, 11x11 Gaussian window", "-1 to 1", "higher", "Wang et al. 2004"),
    "colorfulness": ("colourfulness", *_VIVID),
    "colorfulness_truth": ("truth's colourfulness", *_VIVID),
    "colorfulness_gap": ("colourfulness gap, mean", "colourfulness - truth's", "-190 to 190", "near 0", _VIVID[-1]),
    "colorfulness_gap_per_image": ("colourfulness gap, per image", _GAP, "0 to about 190", "lower", _VIVID[-1]),
    "auc": ("AUC, %", _ABOVE, "0 to 100", "higher", _ZHANG),
    "auc_rebalanced": ("AUC rebalanced, %", _WEIGHTED, "0 to 100", "higher", _ZHANG),
    "intersection_a": ("a* intersection", *_ISOLA),
    "intersection_b": ("b* intersection", *_ISOLA),
    "error_small_regions": ("error, small regions", f"{_DISTANCE} of regions of at most 1 % area", *_ERROR),
    "error_large_regions": ("error, large regions", f"{_DISTANCE} of regions of at least 10 % area", *_ERROR),
    "error_edges": ("error at edges", f"{_DISTANCE} within 1/64 side of a region's border", *_ERROR),
    "spill": ("spill", _SPILL, "0 to about 100", "lower"),
    **{f"error_{hue}": (f"error, {hue}", f"{_DISTANCE} whose truth is {hue}", *_ERROR) for hue in HUE_NAMES},
    "perceptual_lite0": ("perceptual_lite0", "distance of Lite0's features", "0 to 8", "lower", _LPIPS),
}
MEASURES = {name: Measure(*row) for name, row in _ROWS.items()}
