"""What is measured: the name of each figure of merit for readers, which way is better, its formula in one line."""

from dataclasses import dataclass

from .diagnostics import HUE_NAMES

MOST_DB = 100.0  # PSNR of equal pictures, which would be infinite


@dataclass(frozen=True)
class Measure:
    """What a figure of merit is: its name for readers, which way is better, its formula."""

    label: str
    better: str  # lower | higher | near 0 | as the truth
    formula: str


MEASURES = {
    "l1_ab": Measure("L1", "lower", "mean |difference| over pixels and both of a*, b*, Lab units"),
    "l2_ab": Measure("L2", "lower", "root of the mean squared difference over pixels and both of a*, b*, Lab units"),
    "ciede2000": Measure("CIEDE2000", "lower", "mean colour difference over pixels, metrics.ciede2000"),
    "psnr_rgb": Measure("PSNR, dB", "higher", f"of RGB; {MOST_DB:.0f} for equal pictures"),
    "ssim_rgb": Measure("SSIM", "higher", "of RGB, 11x11 Gaussian window, Wang et al. 2004"),
    "colorfulness": Measure("colourfulness", "as the truth", "Hasler and Süsstrunk 2003, signed; 0 is grey"),
    "colorfulness_truth": Measure("truth's colourfulness", "as the truth", "the same of the true pictures"),
    "colorfulness_gap": Measure("colourfulness gap, mean", "near 0", "colourfulness - truth's; errors cancel out"),
    "colorfulness_gap_per_image": Measure("colourfulness gap, per image", "lower", "mean |colourfulness - truth's|"),
    "auc": Measure("AUC, %", "higher", "area under the cumulative ab-error curve, 0 to 150, metrics.closeness"),
    "auc_rebalanced": Measure("AUC rebalanced, %", "higher", "the same, pixels weighted by 1 / share of their ab bin"),
    "intersection_a": Measure("a* intersection", "higher", "sum of min(share, truth's) over bins of 10, all images"),
    "intersection_b": Measure("b* intersection", "higher", "the same of b*"),
    "error_small_regions": Measure("error, small regions", "lower", "mean ab distance, regions of at most 1 % area"),
    "error_large_regions": Measure("error, large regions", "lower", "mean ab distance, regions of at least 10 % area"),
    "error_edges": Measure("error at edges", "lower", "mean ab distance within 1/64 side of a region's border"),
    "spill": Measure("spill", "lower", "colour edges where lightness has none, regions.spill, Lab units a pixel"),
    **{f"error_{hue}": Measure(f"error, {hue}", "lower", f"mean ab distance, truth {hue}") for hue in HUE_NAMES},
    "lpips": Measure("LPIPS", "lower", "learned perceptual distance, AlexNet, arXiv:1801.03924"),
}  # fmt: skip
