"""How the user's hand steers the shipped generator: palettes and references, several answers, certainty.

    python benchmarks/steering.py --photos DIR[,DIR]

On *judge* photographs that ImageNet's encoders have not seen, at the generator's own size. L1, best of and variety are
in Lab units: the mean |difference| of ab, the least of them over the colourings of a photograph, and the ab distance
between two colourings. Distance: half the sum of |differences| between the shares of ab bins, 0 for equal colours, 1
for others altogether. In brackets 95 % bootstrap intervals over photographs.
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from claims.photographs import IMAGENET
from PIL import Image
from scipy.stats import rankdata

from colorize_lib.color import AB_SCALE, to_lab
from colorize_lib.colorizing import steering
from colorize_lib.colorizing.colorizer import Colorizer
from colorize_lib.data.judging import tune_or_judge
from colorize_lib.data.manifest import PhotoConfig, PhotoSet, find_photographs
from colorize_lib.evaluation.answers import variety
from colorize_lib.evaluation.tables import draw_counts, interval
from colorize_lib.figures.beliefs import reliability
from colorize_lib.files import DATA_DIR, OUTPUTS, write_text
from colorize_lib.images import read_square
from colorize_lib.runs.run import environment

COUNTS, STRENGTHS, BINS, EVERY = (1, 2, 4, 8), (0.5, 1.0), 10, 4  # every fourth pixel is asked how certain it is


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, help="folders of photographs, separated by commas")
    parser.add_argument("--count", type=int, default=200, help="photographs at most (%(default)s)")
    parser.add_argument("--output", type=Path, default=OUTPUTS / "published", help="folder (%(default)s)")
    options = parser.parse_args()
    colorizer = Colorizer.load(device="cpu")
    photos = find_photographs(PhotoConfig(source="folder", folder=options.photos, n_images=0), DATA_DIR)
    record = measure(colorizer, pictures(photos, "judge", options.count, colorizer.size))
    for name in ("pull", "samples", "certainty"):
        print(f"\n{pd.DataFrame(record[name]).map(_text).to_string(index=False)}")
    print(f"\nrank correlation: {pd.Series(record['rank correlation']).map(_text).to_dict()}")
    about = {"environment": environment(), "size": colorizer.size}
    write_text(options.output / "steering.json", json.dumps(about | record, indent=1) + "\n")
    figure = reliability(*(np.array([row[name] for row in record["certainty"]]) for name in ("expected", "error")))
    figure.savefig(options.output / "steering.png", dpi=80)


def pictures(photos: PhotoSet, part: str, count: int, size: int) -> list[Image.Image]:
    """So many validation photographs of a part, squashed to a square, in the order of their digests."""
    rows = photos.usable
    rows = rows[(rows.split == "val") & ~rows.path.str.contains(IMAGENET) & (rows.sha256.map(tune_or_judge) == part)]
    rows = rows.sort_values("sha256")[:count]
    return [Image.fromarray(read_square(photos.root / row.path, row.sha256, size)) for row in rows.itertuples()]


def measure(colorizer: Colorizer, truths: list[Image.Image]) -> dict:
    """All figures; each is [mean, low, high]. The reference that is none of a photograph's own is the next one."""
    pulls, samples, expected, errors = [], [], [], []
    for seed, (truth, other) in enumerate(pairwise([*truths, truths[0]])):
        torch.manual_seed(seed)
        with torch.no_grad():
            L, ab = to_lab(torch.from_numpy(np.array(truth))[None])
            _, logits = believed = colorizer.believe(truth)
            pulls.append(pulled(colorizer, logits, ab, truth, other))
            samples.append(sampled(colorizer.net_G, L, logits, ab))
            error = (colorizer.net_G.read(logits, ab.shape[2:]) - ab).norm(dim=1)[0] * AB_SCALE
        expected.append(colorizer.certainty(truth, believed)[::EVERY, ::EVERY].ravel())
        errors.append(error[::EVERY, ::EVERY].flatten().numpy())
    counts = draw_counts(len(truths)) / len(truths)
    return {
        "photographs": len(truths),
        "pull": _means(pd.concat(pulls), ["reference", "strength"], counts),
        "samples": _means(pd.concat(samples), ["by", "N"], counts),
        **certain(np.stack(expected), np.stack(errors), counts),
    }


def pulled(colorizer: Colorizer, logits: torch.Tensor, ab: torch.Tensor, truth: Image.Image, other: Image.Image):
    """A row for each reference and strength: L1 and the distance to the reference's colours, before and after."""
    net_G, rows = colorizer.net_G, []
    five = truth.quantize(5).getpalette()[:15]
    palette = ["#" + bytes(five[k : k + 3]).hex() for k in range(0, len(five), 3)]
    plain = net_G.read(logits, ab.shape[2:])
    for name, options in {
        "five colours of the truth": {"palette": palette},
        "the truth": {"like": truth},
        "another photograph": {"like": other},
    }.items():
        goal = steering.wanted(like=other if name.startswith("another") else truth)
        for strength in STRENGTHS:
            moved = steering.pull(net_G.head, logits, net_G.vividness, **options, strength=strength)
            row = {"reference": name, "strength": strength}
            for when, painted in {"before": plain, "after": net_G.read(moved, ab.shape[2:])}.items():
                row[f"L1 {when}"] = _L1(painted, ab)
                row[f"distance {when}"] = (steering.shares(painted) - goal).abs().sum().item() / 2
            rows.append(row)
    return pd.DataFrame(rows)


def sampled(net_G, L: torch.Tensor, logits: torch.Tensor, ab: torch.Tensor) -> pd.DataFrame:
    """A row for each number of colourings, by hues that are preferred and by the channels that training drops."""
    net_G.training = True  # the network's own flag, which drops channels; its layers stay in eval mode
    dropped = torch.cat([net_G(L, logits=True) for _ in range(max(COUNTS))])
    net_G.training, rows = False, []
    for count in COUNTS:
        for by, of in {"hue": logits + steering.directions(count), "dropout": dropped[:count]}.items():
            painted = net_G.read(of, ab.shape[2:])
            found = [_L1(one[None], ab) for one in painted]
            apart = variety(painted[:, None])["variety"] if count > 1 else 0.0
            rows.append({"by": by, "N": count, "L1": np.mean(found), "best of": min(found), "variety": apart})
    return pd.DataFrame(rows)


def certain(expected: np.ndarray, error: np.ndarray, counts: np.ndarray) -> dict:
    """Tenths of the pixels by their expected error, with the root mean squares of it and of the true one; and rank
    correlations of both over pixels and, of their root mean squares, over photographs. (N,P), (N,P), counts (B,N)."""
    tenth = np.searchsorted(np.quantile(expected, np.linspace(0, 1, BINS + 1)[1:-1]), expected, side="right")
    rows = []
    for number in range(BINS):
        inside = tenth == number
        squares, pixels = (error**2 * inside).sum(axis=1), inside.sum(axis=1)
        draws = np.sqrt((counts @ squares) / np.maximum(counts @ pixels, 1e-9))
        known = float(np.sqrt((expected[inside] ** 2).mean()))
        rows.append(
            {"tenth": number + 1, "expected": known, "error": _sure(np.sqrt(squares.sum() / pixels.sum()), draws)}
        )
    means = [np.sqrt((of**2).mean(axis=1, keepdims=True)) for of in (expected, error)]
    correlations = {"pixels": _correlation(expected, error, counts), "photographs": _correlation(*means, counts)}
    return {"certainty": rows, "rank correlation": correlations}


def _correlation(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> list[float]:
    """Spearman's, of (N,P) and (N,P), with an interval over N; the ranks are those among all."""
    x, y = (rankdata(of).reshape(of.shape) for of in (x, y))
    x, y = x - x.mean(), y - y.mean()
    sums = np.stack([of.sum(axis=1) for of in (np.ones_like(x), x, y, x * x, y * y, x * y)], axis=1)  # (N,6)
    means = np.vstack([np.full(len(sums), 1 / len(sums)), counts]) @ sums  # (1+B,6): all, and the draws
    x, y, xx, yy, xy = (means[:, 1:] / means[:, :1]).T
    found = (xy - x * y) / np.sqrt(np.maximum((xx - x * x) * (yy - y * y), 1e-9))  # a draw can be of one alone
    return _sure(found[0], found[1:])


def _means(rows: pd.DataFrame, by: list[str], counts: np.ndarray) -> list[dict]:
    found = []
    for key, group in rows.groupby(by, sort=False):
        figures = group.drop(columns=by)
        found.append(dict(zip(by, key, strict=True)) | {k: _sure(v.mean(), counts @ v) for k, v in figures.items()})
    return found


def _sure(value: float, draws: np.ndarray) -> list[float]:
    return [float(value), *interval(draws)]


def _L1(painted: torch.Tensor, ab: torch.Tensor) -> float:
    return (painted - ab).abs().mean().item() * AB_SCALE


def _text(value) -> str:
    if isinstance(value, list):
        return "{:.2f} [{:.2f}, {:.2f}]".format(*value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
