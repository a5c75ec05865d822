"""How skin of different tones fares: the error of faces that were found by eye, by tone.

    python benchmarks/faces.py FACES.csv TRUTHS COLOURED [COLOURED ...]

FACES.csv: photo (a path below TRUTHS), x, y, w, h in its pixels, tone. A COLOURED folder is what `colorize TRUTHS
--output COLOURED` makes. Error: the mean ab distance in Lab units within the box; chroma: of the box's mean colour,
beside the truth's. In brackets 95 % bootstrap intervals over faces.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from colorize_lib import color
from colorize_lib.evaluation.folders import match_files
from colorize_lib.evaluation.tables import draw_counts, interval
from colorize_lib.images import read_rgb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("truths", type=Path)
    parser.add_argument("coloured", type=Path, nargs="+")
    options = parser.parse_args()
    print(by_tone(pd.read_csv(options.faces), options.truths, options.coloured).to_string())


def by_tone(faces: pd.DataFrame, truths: Path, folders: list[Path]) -> pd.DataFrame:
    """Rows (folder, tone), with grey as a folder; columns faces, error, chroma, truth's chroma."""
    rows = {}
    places = {"grey": None} | {folder.name: dict(_by_truth(folder, truths)) for folder in folders}
    for name, of in places.items():
        found = faces.apply(lambda face, of=of: pd.Series(_face(face, truths, of)), axis=1).assign(tone=faces.tone)
        for tone, group in [("all", found), *found.groupby("tone")]:
            draws = draw_counts(len(group)) @ group.error.to_numpy() / len(group)
            low, high = interval(draws)
            error = f"{group.error.mean():.1f} [{low:.1f}, {high:.1f}]"
            rows[name, tone] = [len(group), error, round(group.chroma.mean(), 1), round(group.truth.mean(), 1)]
    return pd.DataFrame.from_dict(rows, orient="index", columns=["faces", "error", "chroma", "truth's chroma"])


def _by_truth(folder: Path, truths: Path):
    for prediction, truth in match_files(folder, truths)[0]:
        yield truth.relative_to(truths).as_posix(), prediction


def _face(face: pd.Series, truths: Path, of: dict[str, Path] | None) -> dict[str, float]:
    true = _box(truths / face.photo, face)
    ab = np.zeros_like(true) if of is None else _box(of[face.photo], face)
    distance = np.hypot(*(ab - true)).mean()
    return {"error": distance, "chroma": np.hypot(*ab.mean(axis=(1, 2))), "truth": np.hypot(*true.mean(axis=(1, 2)))}


def _box(path: Path, face: pd.Series) -> np.ndarray:
    """ab (2,h,w) in Lab units of a file's face."""
    pixels = np.array(read_rgb(path.read_bytes()))[face.y : face.y + face.h, face.x : face.x + face.w]
    return color.rgb_to_lab(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)[0, 1:].numpy()


if __name__ == "__main__":
    main()
