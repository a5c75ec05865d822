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
    """What a figure of merit is."""

    label: str
    formula: str
    range: str
    better: str  # lower | higher | near 0 | as the truth
    source: str = "this project"


_ZHANG, _LPIPS = "Zhang et al. 2016, arXiv:1603.08511", "Zhang et al. 2018, arXiv:1801.03924"
_HASLER, _ISOLA = "Hasler and Süsstrunk 2003", "Isola et al. 2017, arXiv:1611.07004"
_ERROR = ("0 to about 250", "lower")
_DISTANCE = "ab distance, mean over all pixels"
_ABOVE = "area under the share of pixels with ab distance up to t, t = 0 to 150"
_COLOURS = "sigma + 0.3 mu of rg = R-G, yb = (R+G)/2-B"
_SHARES = "sum of min(share, truth's share) over bins of 10, all pixels"
_SPILL = "all pixels of smooth lightness: max(0, chroma gradient - truth's)"

MEASURES = {
    "l1_ab": Measure("L1", "mean |difference| over pixels and both of a*, b*", "0 to about 200", "lower", ""),
    "l2_ab": Measure("L2", "root of the mean squared difference over pixels and a*, b*", "0 to about 200", "lower", ""),
    "ciede2000": Measure("CIEDE2000", "mean over pixels", "0 to about 120", "lower", "Sharma et al. 2005"),
    "psnr_rgb": Measure("PSNR, dB", "10 log10(1 / mean squared RGB error)", f"0 to {MOST_DB:.0f}, equal", "higher", ""),
    "ssim_rgb": Measure("SSIM", "of RGB, 11x11 Gaussian window", "-1 to 1", "higher", "Wang et al. 2004"),
    "colorfulness": Measure("colourfulness", _COLOURS, "0 to about 190", "as the truth", _HASLER),
    "colorfulness_truth": Measure("truth's colourfulness", _COLOURS, "0 to about 190", "as the truth", _HASLER),
    "colorfulness_gap": Measure("colourfulness gap, mean", "colourfulness - truth's", "-190 to 190", "near 0", _HASLER),
    "colorfulness_gap_per_image": Measure(
        "colourfulness gap, per image", "|colourfulness - truth's|", "0 to about 190", "lower", _HASLER
    ),
    "auc": Measure("AUC, %", _ABOVE, "0 to 100", "higher", _ZHANG),
    "auc_rebalanced": Measure(
        "AUC rebalanced, %", "all pixels, weighted by 1 / share of their true ab bin", "0 to 100", "higher", _ZHANG
    ),
    "intersection_a": Measure("a* intersection", _SHARES, "0 to 1", "higher", _ISOLA),
    "intersection_b": Measure("b* intersection", _SHARES, "0 to 1", "higher", _ISOLA),
    "error_small_regions": Measure("error, small regions", f"{_DISTANCE} of regions of at most 1 % area", *_ERROR),
    "error_large_regions": Measure("error, large regions", f"{_DISTANCE} of regions of at least 10 % area", *_ERROR),
    "error_edges": Measure("error at edges", f"{_DISTANCE} within 1/64 side of a region's border", *_ERROR),
    "spill": Measure("spill", _SPILL, "0 to about 100", "lower"),
    **{f"error_{hue}": Measure(f"error, {hue}", f"{_DISTANCE} whose truth is {hue}", *_ERROR) for hue in HUE_NAMES},
    "lpips": Measure("LPIPS", "distance of AlexNet features", "0 to about 1", "lower", _LPIPS),
}
