"""The conversion of 8-bit pictures to Lab beside that of floats and beside scikit-image's, in turns.

python benchmarks/lab.py [--size 256] [--batch-size 16] [--device auto]

Prints milliseconds a picture (medians), the ratio to ours, and the largest difference from scikit-image.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import pandas as pd
import torch
from PIL import Image
from skimage.color import rgb2lab

from colorize_lib import color
from colorize_lib.data.shipped import package_photographs
from colorize_lib.runs.device import make_accelerator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--device", default="auto", help="auto | cpu")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    device = make_accelerator(options.device).device
    image = package_photographs()["astronaut"]
    with Image.open(image) as opened:
        picture = np.array(opened.convert("RGB").resize((options.size, options.size)))
    pixels = torch.from_numpy(np.stack([np.roll(picture, k, axis=1) for k in range(options.batch_size)]))
    levels = pixels.permute(0, 3, 1, 2).to(device)
    ways: dict[str, Callable[[], object]] = {
        "ours, 8-bit": lambda: color.rgb_to_lab(levels),
        "ours, float": lambda: color.rgb_to_lab(levels / 255),
        "scikit-image": lambda: [rgb2lab(one) for one in pixels.numpy()],
    }
    took: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(options.rounds):
        for way, convert in ways.items():
            begin = time.perf_counter()
            convert()
            if device.type == "cuda":
                torch.cuda.synchronize()
            took[way].append(1000 * (time.perf_counter() - begin) / options.batch_size)
    truth = rgb2lab(picture)
    rows = []
    for way, seconds in took.items():
        row = {
            "conversion": way,
            "ms a picture": median(seconds),
            "ratio": median(seconds) / median(took["ours, 8-bit"]),
        }
        if way != "scikit-image":
            lab = color.rgb_to_lab(levels[:1] if way == "ours, 8-bit" else levels[:1] / 255)[0]
            row["largest difference"] = np.abs(lab.permute(1, 2, 0).cpu().numpy() - truth).max()
        rows.append(row)
    print(f"{options.size} px on {device}, {torch.get_num_threads()} threads")
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.3g}".format))


if __name__ == "__main__":
    main()
