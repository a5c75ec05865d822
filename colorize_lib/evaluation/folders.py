"""Score a folder of coloured pictures, whoever made them, against the true ones, by the figures of `scores`."""

import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from .. import color
from ..data.sources import list_images
from ..images import UnusablePhoto, read_rgb, resize
from ..runs.progress import Progress
from .answers import paint_grey
from .perceptual import load_distances
from .scores import TRUTH_HALVES, Scores, judge
from .tables import estimates, real_floor

NAMED = 10  # files that a message names at most


class NothingToScore(ValueError):
    """Two folders that cannot be scored against each other; the message says why."""


def match_files(predictions: Path, truths: Path) -> tuple[list[tuple[Path, Path]], list[Path], list[Path]]:
    """Match pictures by name: (prediction, truth) pairs, predictions without a truth, truths without a prediction.

    `sub/a.png` or `sub/a_anything.png` belongs to the truth `sub/a.jpg`; of `a` and `a_b`, `a_b_fake` to the longer.
    Raises FileNotFoundError for a missing folder, and NothingToScore if two files claim one truth or one name, or if
    nothing matches.
    """
    for folder in (predictions, truths):
        if not folder.is_dir():
            raise FileNotFoundError(f"the folder {folder} does not exist")
    by_name: dict[str, str] = {}
    for path in list_images(truths):
        if (first := by_name.setdefault(_name(path), path)) != path:
            raise NothingToScore(f"{first} and {path} in {truths} have the same name; remove one")
    claimed: dict[str, str] = {}
    lone: list[Path] = []
    for path in list_images(predictions):
        name = _name(path)
        while name not in by_name and "_" in name.rsplit("/", 1)[-1]:
            name = name.rsplit("_", 1)[0]
        if name not in by_name:
            lone.append(predictions / path)
        elif (first := claimed.setdefault(name, path)) != path:
            both = f"{first} and {path} in {predictions} both belong to {by_name[name]}"
            raise NothingToScore(f"{both}; remove one of them")
    if not claimed:
        what = f"no picture in {predictions} has the name of one in {truths}"
        raise NothingToScore(f"{what}: a prediction of a.jpg is called a.png or a_anything.png (or .jpg, .webp, .tif)")
    matched = [(predictions / claimed[name], truths / by_name[name]) for name in sorted(claimed)]
    return matched, lone, [truths / path for name, path in by_name.items() if name not in claimed]


def _name(path: str) -> str:
    """A file's name without its ending, in one form of Unicode: an umlaut can be one sign or two."""
    return unicodedata.normalize("NFC", path.rsplit(".", 1)[0])


def score_folders(
    predictions: Path, truths: Path, size: int = 256, download: bool = False, tell: Callable[[str], None] = print
) -> tuple[Scores, dict]:
    """Score every picture of one folder against its namesake in the other: the scores, and a report for JSON.

    size: both are squashed to size x size first, as the notebooks' photographs are. download: fetch the weights of
    FID. tell: takes messages about files without a partner or unreadable. The report has `n`, `size`, each
    figure's mean, its 95 % interval over images as `..._ci` [low, high], and `fd_lite0`, `FID` where they can be had;
    `grey`, the same of the grey answer; `floor`, what two halves of the truth have between them in the figures of sets.
    Raises FileNotFoundError or NothingToScore, also if both folders are one.
    """
    if predictions.resolve() == truths.resolve():
        raise NothingToScore(f"{predictions} is given for both: put the coloured pictures into a folder of their own")
    pairs, *lones = match_files(predictions, truths)
    for lone, what in zip(lones, ("without a truth", "without a prediction"), strict=True):
        if lone:
            more = f" and {len(lone) - NAMED:,} more" if len(lone) > NAMED else ""
            tell(f"{len(lone):,} {what}: {', '.join(map(str, lone[:NAMED]))}{more}")
    perceptual, sets = load_distances(download)
    used = []

    def read() -> Iterator[tuple[torch.Tensor, dict[str, torch.Tensor]]]:
        with Progress(len(pairs), "scoring pictures") as progress:
            for pair in pairs:
                progress.update()
                try:
                    rgb_hat, rgb = (read_picture(path, size) for path in pair)
                except UnusablePhoto as error:
                    tell(f"skipped: {error}")
                    continue
                used.append(pair)
                yield rgb, {"prediction": rgb_hat, "grey": paint_grey(color.normalize(color.rgb_to_lab(rgb))[0])}

    scores = judge(read(), perceptual)
    if not used:
        raise NothingToScore("not one pair of pictures could be read")
    table = estimates(scores)
    report = {"n": len(used), "size": size}
    for figure, row in table.xs("prediction").iterrows():
        report |= {figure: row.value, f"{figure}_ci": [row.low, row.high]}
    report["grey"] = table.xs("grey").value.to_dict()
    report["floor"] = real_floor(scores["grey"]).xs(TRUTH_HALVES).value.to_dict() if len(used) > 1 else {}
    painted, real = zip(*used, strict=True)
    for name, distance in sets.items() if len(used) >= 4 else ():
        for where, one, other in ((report, real, painted), (report["floor"], real[::2], real[1::2])):
            where[name] = distance(*((read_picture(path, size) for path in paths) for paths in (one, other)))
    return scores["prediction"], report


def read_picture(path: Path, size: int) -> torch.Tensor:
    """One file squashed to size x size: sRGB (1,3,size,size) in [0,1]. Raises UnusablePhoto naming the file."""
    try:
        pixels = resize(read_rgb(path.read_bytes()), size)
    except (OSError, UnusablePhoto) as error:
        raise UnusablePhoto(f"{path}: {error}") from error
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None] / 255
