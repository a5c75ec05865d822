"""Seconds and memory that colouring large photographs takes, each in a process of its own.

python benchmarks/full_size.py [--weights W] [--megapixels 12 48]

The photographs are china.jpg of scikit-learn, enlarged. Seconds are of the second colouring, as in a folder of many;
memory is the largest resident set of the whole process, Python and its packages included.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from pathlib import Path

import pandas as pd
from memory import peak_memory
from PIL import Image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--weights", help="as for `python -m colorize_lib colorize`")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[12, 48])
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    options = parser.parse_args()
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as new,
    ):
        for megapixels in options.megapixels:
            path = Path(folder) / f"{megapixels}.jpg"
            size = new.apply(make, (path, megapixels))
            rows.append({"picture": f"{size[0]}x{size[1]}"} | new.apply(measure, (path, options.weights)))
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.2f}".format))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def measure(source: Path, weights: str | None) -> dict[str, float | str]:
    """Colour one photograph twice; the times of the second are told."""
    begin = time.perf_counter()
    from colorize_lib.colorizing.colorizer import Colorizer
    from colorize_lib.images import read_photograph, save_picture

    paint = Colorizer.load(weights)
    seconds = {"loading": time.perf_counter() - begin}
    idle = peak_memory()
    for _ in range(2):
        start = time.perf_counter()
        picture = read_photograph(source)
        read = time.perf_counter()
        painted = paint(picture)
        coloured = time.perf_counter()
        save_picture(painted, source.with_name("coloured.jpg"), source)
        saved = time.perf_counter()
    seconds |= {"reading": read - start, "colouring": coloured - read, "saving": saved - coloured}
    seconds["all but loading"] = saved - start
    return {
        "device": str(paint.device),
        **{f"{name}, s": value for name, value in seconds.items()},
        "memory after loading, GB": idle,
        "peak memory, GB": peak_memory(),
    }


def make(path: Path, megapixels: float) -> tuple[int, int]:
    """Save a photograph of about this size and return its width and height."""
    from colorize_lib.data.shipped import package_photographs

    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    size = (height * 4 // 3, height)
    Image.open(package_photographs()["china"]).resize(size, Image.Resampling.BICUBIC).save(path, quality=90)
    return size


if __name__ == "__main__":
    main()
