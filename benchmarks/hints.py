"""What true hints bring, beside a method without a network and beside published figures.

    python benchmarks/hints.py --photos DIR[,DIR]

Validation photographs of *judge* that ImageNet's encoders have not seen, 256 x 256 pixels. A hint is the mean colour of
a square of 1 to 9 pixels whose middle is drawn as in training; those of a smaller number are among those of a larger
one. PSNR of sRGB in dB, L1 of ab in Lab units, means with 95 % bootstrap intervals over photographs. The generator is
read faithfully (vividness 0) and at its own vividness. Published: Zhang et al. 2017, arXiv:1705.02999, table 1, on a
thousand photographs of ImageNet, with other hints; not to be compared to the digit.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from scipy.ndimage import uniform_filter
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import splu
from steering import pictures

from colorize_lib.color import AB_SCALE, lab_to_rgb, to_lab, to_uint8
from colorize_lib.colorizing.colorizer import Colorizer
from colorize_lib.colorizing.hints import Hint, points
from colorize_lib.data.manifest import PhotoConfig, find_photographs
from colorize_lib.evaluation.metrics import psnr
from colorize_lib.evaluation.tables import draw_counts, interval
from colorize_lib.files import DATA_DIR, OUTPUTS, write_text
from colorize_lib.runs.run import environment

SIZE, LARGEST = 256, 9
COUNTS = (0, 1, 2, 5, 10, 50)
PUBLISHED = dict(zip(COUNTS, (24.43, 25.37, 26.20, 27.39, 28.42, 30.42), strict=True))
LEVIN, FAITHFUL, OWN = "Levin et al. 2004", "faithful", "own vividness"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, help="folders of photographs, separated by commas")
    parser.add_argument("--count", type=int, default=100, help="photographs at most (%(default)s)")
    parser.add_argument("--weights", help="a generator with hints.safetensors beside it; else the shipped one")
    parser.add_argument("--output", type=Path, default=OUTPUTS / "published" / "hints.json", help="(%(default)s)")
    options = parser.parse_args()
    colorizer = Colorizer.load(options.weights, "cpu")
    photos = find_photographs(PhotoConfig(source="folder", folder=options.photos, n_images=0), DATA_DIR)
    record = measure(colorizer, pictures(photos, "judge", options.count, SIZE))
    shown = pd.DataFrame(record["curve"])
    print(
        shown.map(lambda v: "{:.2f} [{:.2f}, {:.2f}]".format(*v) if isinstance(v, list) else v).to_string(index=False)
    )
    write_text(options.output, json.dumps({"environment": environment()} | record, indent=1) + "\n")


def measure(colorizer: Colorizer, truths: list[Image.Image]) -> dict:
    """A row for each answer and number of hints; figures are [mean, low, high], `gain` that of PSNR over no hint."""
    rows = []
    for number, truth in enumerate(truths):
        hints = true_hints(truth, max(COUNTS), np.random.default_rng(number))
        spread = Levin(truth)
        for count in COUNTS:
            believed = colorizer.believe(truth, hints[:count])
            answers = {
                FAITHFUL: colorizer.read(truth, believed, 0.0),
                OWN: colorizer.read(truth, believed),
                LEVIN: spread(hints[:count]),
            }
            for name, answer in answers.items():
                rows.append({"answer": name, "hints": count, "photograph": number, **figures(answer, truth)})
    return {"photographs": len(truths), "published_psnr": PUBLISHED, "curve": _curve(pd.DataFrame(rows))}


def true_hints(truth: Image.Image, count: int, rng: np.random.Generator) -> list[Hint]:
    """So many hints of a photograph's own colours."""
    pixels, hints = np.asarray(truth), []
    for _ in range(count):
        side = int(rng.integers(1, LARGEST + 1))
        x, y = (np.clip(rng.normal(0.5, 0.25, 2), 0, 1) * np.array(truth.size)).astype(int).clip(0, SIZE - 1)
        left, top = max(x - side // 2, 0), max(y - side // 2, 0)
        colour = pixels[top : top + side, left : left + side].reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
        hints.append((int(x), int(y), "#" + colour.tobytes().hex()))
    return hints


def figures(answer: Image.Image, truth: Image.Image) -> dict[str, float]:
    """PSNR of sRGB in dB, and L1 of ab in Lab units."""
    levels = [torch.from_numpy(np.array(picture))[None] for picture in (answer, truth)]
    painted, true = (to_lab(one)[1] for one in levels)
    decibels = psnr(*(one.permute(0, 3, 1, 2) / 255 for one in levels))
    return {"psnr": decibels.item(), "L1": (painted - true).abs().mean().item() * AB_SCALE}


class Levin:
    """Hints spread over a photograph without a network: "Colorization using Optimization" (Levin et al. 2004).

    A pixel's colour is the mean of its eight neighbours', weighted by exp(-difference of lightness^2 / (2 variance of
    the window)); in the square of 3 pixels at a hint it is the hint's. Without hints: grey.
    """

    def __init__(self, truth: Image.Image):
        self.picture, (self.L, _) = truth, to_lab(torch.from_numpy(np.array(truth))[None])
        Y = (self.L[0, 0].double().numpy() + 1) / 2
        height, width = Y.shape
        index = np.arange(Y.size).reshape(Y.shape)
        variance = np.maximum(uniform_filter(Y**2, 3) - uniform_filter(Y, 3) ** 2, 1e-4)
        parts = []
        for down, right in [(d, r) for d in (-1, 0, 1) for r in (-1, 0, 1) if d or r]:
            here = np.s_[max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)]
            there = np.s_[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
            weight = np.exp(-((Y[here] - Y[there]) ** 2) / (2 * variance[here]))
            parts.append((weight.ravel() + 1e-6, index[here].ravel(), index[there].ravel()))
        weights, rows, columns = (np.concatenate(part) for part in zip(*parts, strict=True))
        means = csr_array((weights, (rows, columns)), shape=(Y.size, Y.size))
        self.equations = diags_array(np.ones(Y.size)) - diags_array(1 / means.sum(axis=1)) @ means
        self.index = index

    def __call__(self, hints: list[Hint]) -> Image.Image:
        told = np.zeros((self.index.size, 2))
        known = np.zeros(self.index.size, dtype=bool)
        for hint in hints:
            x, y, _ = hint
            at = self.index[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].ravel()
            told[at], known[at] = points([hint], self.picture.size)[1][0, 0].numpy(), True
        if hints:
            system = diags_array((~known).astype(float)) @ self.equations + diags_array(known.astype(float))
            told = splu(system.tocsc(), permc_spec="MMD_AT_PLUS_A").solve(told)
        ab = torch.from_numpy(told.T.reshape(1, 2, *self.index.shape)).float()
        return Image.fromarray(to_uint8(lab_to_rgb(self.L, ab))[0].numpy())


def _curve(rows: pd.DataFrame) -> list[dict]:
    wide = rows.pivot(index="photograph", columns=["answer", "hints"], values=["psnr", "L1"])
    counts, found = draw_counts(len(wide)) / len(wide), []
    for answer in (FAITHFUL, OWN, LEVIN):
        for count in COUNTS:
            own, none = (wide["psnr"][answer][n].to_numpy() for n in (count, 0))
            values = {"psnr": own, "gain": own - none, "L1": wide["L1"][answer][count].to_numpy()}
            sure = {name: [float(v.mean()), *interval(counts @ v)] for name, v in values.items()}
            found.append({"answer": answer, "hints": count, **sure})
    return found


if __name__ == "__main__":
    main()
