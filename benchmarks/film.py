"""What steadying does to a film's colours: flicker, and what it costs.

    python benchmarks/film.py --photos DIR[,DIR]

Clips are pans and zooms of *judge* photographs that ImageNet's encoders have not seen, and a rendered one: a disc cut
from one photograph crosses another that moves the other way. How each pixel moves is known, and the measures use that,
never the flow that steadying works with. In brackets 95 % bootstrap intervals over clips.

- flicker: mean |difference| of a pixel's ab from where it was in the frame before, in Lab units, where it was in sight.
- warp error: the same of RGB, in levels of 255; grey's is what the moving itself leaves.
- CDC: the Jensen-Shannon divergence of a channel's levels between frames 1, 2 and 4 apart, mean, times 1,000.
"""

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image
from scipy.spatial.distance import jensenshannon
from steering import pictures

from colorize_lib.color import AB_SCALE, to_lab
from colorize_lib.colorizing.colorizer import Colorizer
from colorize_lib.colorizing.steadying import Steadier
from colorize_lib.data.manifest import PhotoConfig, find_photographs
from colorize_lib.evaluation.metrics import colorfulness
from colorize_lib.evaluation.tables import draw_counts, interval
from colorize_lib.files import DATA_DIR, OUTPUTS, write_text
from colorize_lib.runs.run import environment

SIDE, SOURCE, APART = 192, 320, (1, 2, 4)  # pixels a side of a frame and of a photograph, frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, help="folders of photographs, separated by commas")
    parser.add_argument("--count", type=int, default=60, help="photographs at most, a clip of each (%(default)s)")
    parser.add_argument("--frames", type=int, default=12, help="of a clip (%(default)s)")
    parser.add_argument("--output", type=Path, default=OUTPUTS / "published", help="folder (%(default)s)")
    options = parser.parse_args()
    colorizer = Colorizer.load(device="cpu")
    photos = find_photographs(PhotoConfig(source="folder", folder=options.photos, n_images=0), DATA_DIR)
    truths = [np.array(picture) for picture in pictures(photos, "judge", options.count, SOURCE)]
    rows, kinds = [], ("pan", "zoom")
    for number, truth in enumerate(truths):
        rows += judged(colorizer, kinds[number % 2], *clip(truth, kinds[number % 2], options.frames, number))
    rows += judged(colorizer, "rendered", *rendered(truths[0], truths[1], options.frames))
    found = pd.DataFrame(rows)
    record = {"environment": environment(), "size": colorizer.size, "clips": len(truths) + 1, "frames": options.frames}
    record["clip by clip"] = summary(found)
    write_text(options.output / "film.json", json.dumps(record, indent=1) + "\n")
    print(pd.DataFrame(record["clip by clip"]).map(_text).to_string(index=False))


def clip(picture: np.ndarray, kind: str, count: int, seed: int) -> tuple[np.ndarray, list]:
    """Frames (T,S,S,3) of a window that slides or grows, and of each but the first where its pixels were (S,S,2)."""
    rng, spare = np.random.default_rng(seed), SOURCE - SIDE
    if kind == "pan":
        step = rng.uniform(1, 4, 2) * rng.choice([-1, 1], 2)
        corners = [np.where(step > 0, 2, spare - 2) + t * step for t in range(count)]
        windows = [(*corner.clip(0, spare), 1.0) for corner in corners]
    else:
        scales = 1.6 * 0.985 ** np.arange(count)
        windows = [((SOURCE - s * SIDE) / 2, (SOURCE - s * SIDE) / 2, s) for s in scales]
    return np.stack([_window(picture, *window) for window in windows]), [
        _before(now, then) for then, now in zip(windows, windows[1:], strict=False)
    ]


def rendered(back: np.ndarray, front: np.ndarray, count: int) -> tuple[np.ndarray, list]:
    """As `clip`: a disc of one picture moves over another; what it uncovers was nowhere (NaN)."""
    frames, came, inside = [], [], []
    windows = [(20 + 2.0 * t, 30.0, 1.0) for t in range(count)]
    for t, window in enumerate(windows):
        centre = np.array([130 - 5.0 * t, 90 + 1.5 * t])
        inside.append(np.linalg.norm(_grid() - centre, axis=2) < 40)
        disc = _window(front, *(110 - centre), 1.0)
        frames.append(np.where(inside[t][..., None], disc, _window(back, *window)))
        if t:
            to = np.where(inside[t][..., None], _grid() + np.array([5.0, -1.5]), _before(window, windows[t - 1]))
            at = to.round().astype(int).clip(0, SIDE - 1)
            to[inside[t - 1][at[..., 1], at[..., 0]] != inside[t]] = np.nan
            came.append(to)
    return np.stack(frames), came


def judged(colorizer: Colorizer, kind: str, frames: np.ndarray, came: list) -> list[dict]:
    """A row of figures for each way to colour a clip."""
    steady, seconds = Steadier(), {}
    pictures = [Image.fromarray(frame) for frame in frames]
    answers = {
        "truth": frames,
        "grey": np.stack([np.array(picture.convert("L").convert("RGB")) for picture in pictures]),
    }
    for name, options in {"frame by frame": {}, "steadied": {"steady": steady}}.items():
        began = time.process_time()
        answers[name] = np.stack([np.array(colorizer(picture, **options)) for picture in pictures])
        seconds[name] = (time.process_time() - began) / len(frames)
    true_ab = _ab(frames)
    rows = []
    for name, rgb in answers.items():
        ab = _ab(rgb)
        row = {"kind": kind, "answer": name, "flicker": _moved(ab, came), "warp error": _moved(rgb, came)}
        row |= {f"CDC {apart}": cdc(rgb, apart) for apart in APART} | {"L1": np.abs(ab - true_ab).mean()}
        vivid = colorfulness(torch.from_numpy(rgb.copy()).permute(0, 3, 1, 2) / 255).mean().item()
        rows.append(row | {"colourfulness": vivid, "ms": 1000 * seconds.get(name, np.nan)})
    return rows


def cdc(frames: np.ndarray, apart: int) -> float:
    """Color distribution consistency (Liu et al., 2021) of uint8 (T,H,W,3), times 1,000."""
    levels = np.array([[np.bincount(frame[..., c].ravel(), minlength=256) for c in range(3)] for frame in frames])
    return 1000 * float(np.mean(jensenshannon(levels[:-apart], levels[apart:], axis=2) ** 2))


def summary(rows: pd.DataFrame) -> list[dict]:
    """Means of each answer over clips, of all and of each kind; those over all with intervals, and what steadying
    changes, as a share of frame by frame's."""
    found = []
    for kind, part in [("all", rows), *rows.groupby("kind", sort=False)]:
        by = {name: group.drop(columns=["kind", "answer"]) for name, group in part.groupby("answer", sort=False)}
        counts = draw_counts(len(by["truth"])) / len(by["truth"])
        for name, group in by.items():
            row = {column: [of.mean(), *interval(counts @ of.to_numpy())] for column, of in group.items()}
            found.append({"clips": kind, "answer": name} | row)
        before, after = by["frame by frame"], by["steadied"]
        change = {}
        for name in before:
            was, is_now = before[name].to_numpy(), after[name].to_numpy()
            change[name] = [is_now.mean() / was.mean() - 1, *interval((counts @ is_now) / (counts @ was) - 1)]
        found.append({"clips": kind, "answer": "change"} | change)
    return [{k: v if isinstance(v, str) else [round(float(x), 4) for x in v] for k, v in row.items()} for row in found]


def _grid() -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=2).astype(float)


def _window(picture: np.ndarray, x: float, y: float, scale: float) -> np.ndarray:
    """The frame whose pixel (column, row) is the picture's at (x + scale column, y + scale row)."""
    to = np.float32([[scale, 0, x], [0, scale, y]])
    return cv2.warpAffine(picture, to, (SIDE, SIDE), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)


def _before(now: tuple, then: tuple) -> np.ndarray:
    return (np.array(now[:2]) + now[2] * _grid() - np.array(then[:2])) / then[2]


def _moved(values: np.ndarray, came: list) -> float:
    """Mean |difference| of (T,S,S,C) from where each pixel was in the frame before, if that was in sight."""
    found = []
    for then, now, to in zip(values, values[1:], came, strict=False):
        then, now, to = then.astype(np.float32), now.astype(np.float32), to.astype(np.float32)
        seen = ((to >= 0) & (to <= SIDE - 1)).all(axis=2)  # NaN is neither
        found.append(np.abs(cv2.remap(then, np.nan_to_num(to), None, cv2.INTER_LINEAR) - now)[seen].mean())
    return float(np.mean(found))


def _ab(frames: np.ndarray) -> np.ndarray:
    _, ab = to_lab(torch.from_numpy(frames.copy()))
    return ab.permute(0, 2, 3, 1).numpy() * AB_SCALE


def _text(value) -> str:
    return "{:.2f} [{:.2f}, {:.2f}]".format(*value) if isinstance(value, list) else str(value)


if __name__ == "__main__":
    main()
