"""How much colour survives what old photographs suffer: prints that are damaged in one way each, and plates of 1910.

    python benchmarks/old.py --photos DIR[,DIR] [--plates DIR] [--weights W]

Photographs of *judge* are made grey and damaged, the generator colours what is left of their lightness, its levels
stretched first as the command does, and its colours are judged on the true lightness: the damage itself is not counted.
Plates, of three colours, go in as their lightness, and as the green plate alone, which is what film of that time saw.
Figures, with 95 % bootstrap intervals over photographs, are written to outputs/published/old.json.
"""

import argparse
import io
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.filters import gaussian

from colorize_lib import color
from colorize_lib.colorizing.levels import stretched
from colorize_lib.data.judging import tune_or_judge
from colorize_lib.data.manifest import PhotoConfig, find_photographs
from colorize_lib.data.sources import list_images
from colorize_lib.evaluation.answers import paint_grey
from colorize_lib.evaluation.folders import read_picture
from colorize_lib.evaluation.scores import Scores, judge
from colorize_lib.evaluation.tables import differences, estimates
from colorize_lib.files import DATA_DIR, ROOT, write_text
from colorize_lib.models.painting import colorize_batch
from colorize_lib.models.weights import find_weights, read_generator
from colorize_lib.runs.run import environment

FIGURES = ["l1_ab", "auc_rebalanced", "colorfulness", "colorfulness_gap_per_image"]
RECORD = ROOT / "outputs" / "published" / "old.json"
WHOLE, PLAIN = "as it is", ", levels not stretched"
FLAT = (WHOLE, "contrast of 40 %", "faded, one side more")  # are coloured without `levels.stretched` too


def lightness(rgb: torch.Tensor) -> np.ndarray:
    """The grey picture of sRGB (1,3,H,W): levels in [0,1], (H,W)."""
    L, _ = color.normalize(color.rgb_to_lab(rgb))
    return color.lab_to_rgb(L, torch.zeros_like(rgb[:, :2]))[0, 0].numpy()


def as_jpeg(grey: np.ndarray) -> np.ndarray:
    """A JPEG file of quality 30."""
    file = io.BytesIO()
    Image.fromarray((grey * 255).round().astype(np.uint8)).save(file, "JPEG", quality=30)
    return np.asarray(Image.open(file), dtype=np.float32) / 255


def faded(grey: np.ndarray) -> np.ndarray:
    """Blacks and whites are gone, on one side more than on the other."""
    left = np.linspace(0.25, 0.75, grey.shape[1], dtype=np.float32)
    return grey + (0.7 - grey) * left


def noisy(grey: np.ndarray) -> np.ndarray:
    """Grain, of the same spread on every photograph."""
    return grey + np.random.default_rng(0).normal(0, 0.06, grey.shape)


# What is done to the grey picture, levels (H,W) in [0,1].
DAMAGES = {
    WHOLE: np.asarray,
    "JPEG, quality 30": as_jpeg,
    "blur, sigma 1.5 px": partial(gaussian, sigma=1.5),
    "noise, 6 % of the range": noisy,
    "contrast of 40 %": lambda grey: 0.3 + 0.4 * grey,
    "faded, one side more": faded,
}
# What is done before there is a grey picture, sRGB (1,3,H,W) in [0,1].
PAPER = torch.tensor([1.0, 0.86, 0.66]).view(1, 3, 1, 1)
FILMS = {
    "a sepia scan": lambda rgb: torch.from_numpy(lightness(rgb)) * PAPER + 0.06,
    "orthochromatic film": lambda rgb: (0.6 * rgb[:, 1:2] + 0.4 * rgb[:, 2:]).expand_as(rgb),  # sees no red
    "the green plate alone": lambda rgb: rgb[:, 1:2].expand_as(rgb),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, help="a folder of photographs, or several: A,B")
    parser.add_argument("--plates", type=Path, help="a folder of plates in three colours")
    parser.add_argument("--weights", help="as of the command colorize; else the shipped generator")
    parser.add_argument("--photographs", type=int, default=300, help="how many of *judge* (%(default)s)")
    parser.add_argument("--size", type=int, default=192, help="pixels a side (%(default)s)")
    options = parser.parse_args()
    net, _ = read_generator(find_weights(options.weights))
    photos = find_photographs(PhotoConfig("folder", options.photos, 0), DATA_DIR)
    rows = photos.usable[photos.usable.split == "val"]
    rows = rows[rows.sha256.map(tune_or_judge) == "judge"].sort_values("sha256")[: options.photographs]
    sets = {"photographs": ([photos.root / path for path in rows.path], {**DAMAGES, **FILMS})}
    if options.plates:
        plates = [options.plates / path for path in list_images(options.plates)]
        sets["plates"] = (plates, {WHOLE: np.asarray, "the green plate alone": FILMS["the green plate alone"]})
    found = {"environment": environment(), "size": options.size, "weights": options.weights or "shipped"}
    for name, (paths, damages) in sets.items():
        scores = judged(net.eval(), paths, damages, options.size)
        found[name] = {"n": len(paths), "answers": report(scores)}
        print(f"\n{len(paths)} {name}\n" + shown(found[name]["answers"]))
    write_text(RECORD, json.dumps(found, indent=1) + "\n")


def judged(net: torch.nn.Module, paths: list[Path], damages: dict[str, Callable], size: int) -> dict[str, Scores]:
    """Scores of grey, and of the network given each damage."""

    def answers() -> Iterator[tuple[torch.Tensor, dict[str, torch.Tensor]]]:
        for path in paths:
            rgb = read_picture(path, size)
            L, _ = color.normalize(color.rgb_to_lab(rgb))
            with torch.no_grad():
                seen = {name: damaged(rgb, name, how) for name, how in damages.items()}
                plain = {name + PLAIN: of for name, of in seen.items() if name in FLAT}
                seen = {name: torch.from_numpy(stretched(of.numpy())) for name, of in seen.items()} | plain
                ab = {name: colorize_batch(net, of) for name, of in seen.items()}
            yield rgb, {"grey": paint_grey(L)} | {name: color.lab_to_rgb(L, one) for name, one in ab.items()}

    return judge(answers())


def damaged(rgb: torch.Tensor, name: str, how: Callable) -> torch.Tensor:
    """L (1,1,H,W), as networks take it, of sRGB (1,3,H,W) in [0,1] that suffered something."""
    if name in FILMS:
        left = how(rgb)
    else:
        left = torch.from_numpy(np.array(how(lightness(rgb)), dtype=np.float32)).expand_as(rgb)
    return color.normalize(color.rgb_to_lab(left.clamp(0, 1).float()))[0]


def report(scores: dict[str, Scores]) -> dict:
    """By answer: its figures as [value, low, high], and its error minus that of the whole picture's."""
    values, beside = estimates(scores), differences(scores, WHOLE)
    found = {}
    for name in scores:
        found[name] = {figure: values.loc[name, figure].tolist() for figure in FIGURES}
        if name != WHOLE:
            found[name]["l1_ab_more"] = beside.loc[name, "l1_ab"][["difference", "low", "high"]].tolist()
    return found


def shown(answers: dict) -> str:
    """The report as a table in Markdown."""
    columns = [*FIGURES, "l1_ab_more"]
    lines = [f"| input | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, of in answers.items():
        cells = ["{:.2f} [{:.2f}, {:.2f}]".format(*of[figure]) if figure in of else "" for figure in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
