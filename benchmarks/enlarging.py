"""How colour is best brought back to full size, and how a photograph is best made square: quality, on true photographs.

python benchmarks/enlarging.py [--photos DIR] [--weights W ...]

Two tables of means over photographs. The first takes the true colour of small copies, so that nothing but the
enlarging errs. The second lets trained generators colour photographs that are at least 1.3 times as long as wide (or
the other way round), squashed to a square or padded to one; it needs weights.
"""

import argparse
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image

from colorize_lib import color
from colorize_lib.color import to_lab
from colorize_lib.colorizing import enlarging
from colorize_lib.colorizing.colorizer import Colorizer
from colorize_lib.colorizing.enlarging import enlarge
from colorize_lib.data.shipped import package_photographs
from colorize_lib.data.sources import list_images
from colorize_lib.evaluation.bootstrap import draw_counts, interval
from colorize_lib.evaluation.borders import Truth, compare_enlarging, enlarge_bilinear
from colorize_lib.images import read_photograph

SMALL, LARGE = 64, 256  # pixels of the small copy's side, and of the shorter side of what it is brought back to
LONG = 1.3  # how many times as long as wide a photograph must be to tell squashing from padding


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--photos", type=Path, help="a folder of colour photographs; else those that packages ship")
    parser.add_argument("--count", type=int, default=50, help="how many of the folder's (%(default)s)")
    parser.add_argument("--weights", nargs="*", default=[], help="generators for the second table")
    options = parser.parse_args()
    if options.photos:
        paths = [options.photos / path for path in list_images(options.photos)]
        paths = [paths[i] for i in np.random.default_rng(0).permutation(len(paths))[: options.count]]
    else:
        paths = list(package_photographs().values())
    photographs = [_shrunk(read_photograph(path)) for path in paths]
    print(f"{len(photographs)} photographs, shorter side {LARGE} px, their true colour at {SMALL}x{SMALL} brought back")
    print(_enlarging(photographs).to_string(float_format="{:.3f}".format))
    long = [photograph for photograph in photographs if max(photograph.size) >= LONG * min(photograph.size)]
    for name in options.weights:
        print(f"\n{len(long)} photographs that are not nearly square, coloured by {name}")
        print(pd.DataFrame(_squaring(Colorizer.load(name), long)).T.to_string(float_format="{:.3f}".format))


def _enlarging(photographs: list[Image.Image]) -> pd.DataFrame:
    ways = {"bilinear": enlarge_bilinear, "guided, as in enlarging.py": enlarge}
    for radius, epsilon in ((1 / 64, 0.01), (1 / 32, 0.03), (1 / 32, 0.1), (1 / 16, 0.1)):
        ways[f"guided, radius 1/{1 / radius:.0f}, epsilon {epsilon}"] = patch.multiple(
            enlarging, RADIUS=radius, EPSILON=epsilon
        )(enlarge)
    for epsilon in (0.0001, 0.001, 0.01):
        ways[f"fast guided filter, radius 1/64, epsilon {epsilon}"] = lambda *a, e=epsilon: _fast_guided(*a, e)
    return compare_enlarging(photographs, SMALL, ways)


def _squaring(paint: Colorizer, photographs: list[Image.Image]) -> dict[str, dict[str, float]]:
    found = {"squashed": [], "padded, edges repeated": [], "padded, mirrored": []}
    for photograph in photographs:
        truth = Truth(photograph)
        found["squashed"].append(truth.errors(paint(photograph)))
        for way, mode in (("padded, edges repeated", "edge"), ("padded, mirrored", "symmetric")):
            (width, height), side = photograph.size, max(photograph.size)
            left, top = (side - width) // 2, (side - height) // 2
            around = ((top, side - height - top), (left, side - width - left), (0, 0))
            square = paint(Image.fromarray(np.pad(np.asarray(photograph), around, mode)))
            found[way].append(truth.errors(square.crop((left, top, left + width, top + height))))
    tables = {way: pd.DataFrame(rows) for way, rows in found.items()}
    result = {way: table.mean().to_dict() for way, table in tables.items()}
    draws = draw_counts(len(photographs)) / len(photographs)
    for way, table in tables.items():
        low, high = interval(draws @ (table - tables["squashed"])["L1 of ab"].to_numpy())
        result[way] |= {"L1 minus squashed's, from": low, "to": high}
    return result


def _fast_guided(picture: Image.Image, L: torch.Tensor, ab: torch.Tensor, epsilon: float) -> Image.Image:
    """The fast guided filter as published (arXiv:1505.00996): A and B are enlarged, and ab = A * L + B."""
    radius = max(1, round(SMALL * enlarging.RADIUS))

    def mean(values: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(values, 2 * radius + 1, 1, radius, count_include_pad=False)

    A = (mean(L * ab) - mean(L) * mean(ab)) / (mean(L * L) - mean(L) ** 2 + epsilon)
    B = mean(ab) - A * mean(L)
    both = F.interpolate(torch.cat([mean(A), mean(B)], dim=1), size=picture.size[::-1], mode="bilinear")
    full_L, _ = to_lab(torch.from_numpy(np.array(picture))[None])
    rgb = color.lab_to_rgb(full_L, (both[:, :2] * full_L + both[:, 2:]).clamp(-1, 1))
    return Image.fromarray(color.to_uint8(rgb)[0].numpy())


def _shrunk(photograph: Image.Image) -> Image.Image:
    scale = LARGE / min(photograph.size)
    return photograph.resize([round(side * scale) for side in photograph.size], Image.Resampling.BICUBIC)


if __name__ == "__main__":
    main()
