"""What tar shards cost beside the memory-mapped cache: disk, processor time, memory, fidelity; all ImageNet's too.

python benchmarks/shards.py --photos DIR [--count 2000] [--short-side 375] [--manifest-rows 1281167]

One process does everything, so that images per second are per core: once by the clock, once by processor time, which
other work on the machine disturbs less. What is read was just written and comes from the system's file cache: a disk
can be slower. Reading is decoding to uint8; conversion to Lab belongs to the device and is left out.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from memory import peak_memory
from PIL import Image

from colorize_lib.color import to_lab
from colorize_lib.data.cache import cached_photographs
from colorize_lib.data.loader import ColorizationDataset, LabLoader
from colorize_lib.data.manifest import COLUMNS, PhotoConfig, PhotoSet, find_photographs, read_manifest
from colorize_lib.data.shard_loader import ShardLoader
from colorize_lib.data.shard_making import make_shards
from colorize_lib.data.shards import ENCODINGS, ShardConfig, ShardSet, open_shards
from colorize_lib.data.sources import list_images

BATCH = 16
EPOCHS = (4000, 16_000)  # photographs, at least, by which memory is compared
IMAGENET = 1_281_167  # photographs in the training set of ILSVRC 2012


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--photos", type=Path, required=True, help="a folder of colour photographs")
    parser.add_argument("--count", type=int, default=2000, help="how many of them (%(default)s)")
    parser.add_argument("--size", type=int, default=256, help="pixels a side (%(default)s)")
    parser.add_argument("--encodings", nargs="+", default=list(ENCODINGS), choices=list(ENCODINGS))
    parser.add_argument(
        "--short-side", type=int, help="first enlarge the photographs to this, as JPEGs of quality 90, to decode more"
    )
    parser.add_argument("--manifest-rows", type=int, help="also: memory that a manifest of so many rows takes")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    options = parser.parse_args()
    torch.set_num_threads(1)
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name, spawn.Pool(1, maxtasksperchild=1) as new:
        home = Path(name)
        folder = _enlarged(options, home / "photos") if options.short_side else options.photos
        drawn = PhotoConfig(source="folder", folder=str(folder.resolve()), n_images=options.count)
        photos, examining = timed(lambda: find_photographs(drawn, home / "data"))
        n = len(photos.usable)
        sizes = photos.usable[["width", "height"]].mean().round().astype(int)
        examined = " ".join(f"{name} {seconds * 1e3:.2f}" for name, seconds in per_image(examining, n).items())
        print(f"{n:,} photographs, {sizes.width}x{sizes.height} on average, to {options.size}x{options.size}")
        print(f"examining them for the manifest, ms each: {examined}")
        rows = {"cache": cache_figures(photos, options.size, home)}
        for encoding in options.encodings:
            config = ShardConfig(options.size, encoding, per_shard=250)
            rows[encoding] = shard_figures(photos, drawn, config, home / encoding)
        table = pd.DataFrame(rows).T
        print(table.to_string(float_format="{:,.1f}".format))
        true = LabLoader(ColorizationDataset(cached_photographs(photos, options.size, home / "data")), BATCH, False)
        errors = {encoding: fidelity(open_shards(home / encoding), photos, true) for encoding in options.encodings}
        print("\nmean difference from the photographs in the cache")
        print(pd.DataFrame(errors).T.to_string(float_format="{:.5f}".format))
        n_train = open_shards(home / options.encodings[0]).count("train")
        multiples = {k * n_train: k for k in (-(-many // n_train) for many in EPOCHS)}
        memory = {many: new.apply(reading_memory, (home / options.encodings[0], k)) for many, k in multiples.items()}
        print("\nmemory of one process before and while it reads an epoch of so many photographs, GB")
        print(pd.DataFrame(memory).T)
        whole = imagenet(table, examining[1] / n)
        print(f"\nfor {IMAGENET:,} photographs, by processor time")
        print(whole.to_string(float_format="{:,.1f}".format))
        if options.manifest_rows:
            figures = new.apply(manifest_memory, (home / "manifest.csv", options.manifest_rows))
            print(f"\na manifest of {options.manifest_rows:,} rows: {figures}")
    if options.json:
        parts = {"measured": table, "differences": pd.DataFrame(errors).T, "imagenet": whole}
        figures = {part: frame.to_dict("index") for part, frame in parts.items()}
        options.json.write_text(json.dumps(figures | {"n": n, "memory": memory}, indent=1) + "\n")


def timed(work: Callable) -> tuple[object, tuple[float, float]]:
    """What `work` gives, and the seconds it took: by the clock, and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    result = work()
    return result, (time.perf_counter() - clock, time.process_time() - processor)


def per_image(seconds: tuple[float, float], n: int) -> dict[str, float]:
    return {"by the clock": seconds[0] / n, "by processor": seconds[1] / n}


def figures(size: float, making: tuple[float, float], n: int, reading: tuple[float, float], n_read: int) -> dict:
    """A row of the table; images per second, by the clock and per second of processor time."""
    return {
        "kB an image": size / n / 1e3,
        "made/s, clock": n / making[0],
        "made/s, processor": n / making[1],
        "read/s, clock": n_read / reading[0],
        "read/s, processor": n_read / reading[1],
    }


def cache_figures(photos: PhotoSet, size: int, home: Path) -> dict[str, float]:
    n = len(photos.usable)
    cache, making = timed(lambda: cached_photographs(photos, size, home / "data"))
    dataset, order = ColorizationDataset(cache), np.random.default_rng(0).permutation(n)
    _, reading = timed(lambda: [dataset.rgb(order[i : i + BATCH]) for i in range(0, n, BATCH)])
    return figures(cache.nbytes, making, n, reading, n)


def shard_figures(photos: PhotoSet, drawn: PhotoConfig, config: ShardConfig, folder: Path) -> dict[str, float]:
    n = len(photos.usable)
    shards, making = timed(lambda: make_shards(photos, folder, config, drawn, processes=1))
    size = sum(shard.bytes for split in shards.shards.values() for shard in split)
    loader = ShardLoader(shards, "train", BATCH, True, workers=0)
    read, reading = timed(lambda: sum(len(rgb) for rgb in loader.stream(0)))
    return figures(size, making, n, reading, read)


def fidelity(shards: ShardSet, photos: PhotoSet, true: LabLoader) -> dict[str, float]:
    """Mean absolute differences on the validation photographs: in levels of 255 and in ab / 110."""
    rows = np.flatnonzero(photos.usable.split == "val")
    stored = ShardLoader(shards, "val", BATCH, False, workers=0).dataset
    levels, ab, same = [], [], []
    for start in range(0, len(rows), BATCH):
        span = range(start, min(start + BATCH, len(rows)))
        mine, theirs = stored.rgb(span), true.dataset.rgb(rows[list(span)])
        levels.append((mine.float() - theirs.float()).abs().mean(dim=(1, 2, 3)))
        ab.append((to_lab(mine)[1] - to_lab(theirs)[1]).abs().mean(dim=(1, 2, 3)))
        same.append((mine == theirs).float().mean(dim=(1, 2, 3)))
    named = {"RGB levels": levels, "L1 of ab / 110": ab, "share of equal values": same}
    return {name: torch.cat(values).mean().item() for name, values in named.items()}


def reading_memory(folder: Path, times: int) -> dict[str, int]:
    """Peak memory in GB of a process that reads an epoch of a data set that is `times` as large."""
    before = peak_memory()
    loader = ShardLoader(open_shards(folder), "train", BATCH, True, workers=0)
    loader.files = loader.files * times
    loader.dataset = type(loader.dataset)(loader.files, loader.dataset.size)
    for _ in loader.stream(0):
        pass
    return {"before": round(before, 2), "peak": round(peak_memory(), 2)}


def manifest_memory(path: Path, rows: int) -> str:
    """Seconds and peak memory of what making does with a manifest: rows gathered, written, read, digested."""
    before, begin = peak_memory(), time.perf_counter()
    of_one = {"width": 500, "height": 375, "split": "train", "reason": ""}
    names = ((f"n{i % 1000:08d}/n{i % 1000:08d}_{i}.JPEG", f"{i:064x}") for i in range(rows))
    gathered = [{"path": name, "sha256": sha256, **of_one} for name, sha256 in names]
    pd.DataFrame(gathered, columns=COLUMNS).to_csv(path, index=False)
    PhotoSet(path.parent, read_manifest(path), path).digest()
    seconds, size = time.perf_counter() - begin, path.stat().st_size / 1e6
    return f"{size:.0f} MB, {seconds:.0f} s, peak memory {peak_memory():.2f} GB (before: {before:.2f})"


def imagenet(table: pd.DataFrame, examining: float) -> pd.DataFrame:
    """Disk in GB, and core hours: of making, the examination of every file included, and of reading an epoch."""
    return pd.DataFrame(
        {
            "disk, GB": table["kB an image"] * IMAGENET / 1e6,
            "making, core hours": (1 / table["made/s, processor"] + examining) * IMAGENET / 3600,
            "an epoch's reading, core hours": IMAGENET / table["read/s, processor"] / 3600,
        }
    )


def _enlarged(options: argparse.Namespace, folder: Path) -> Path:
    """Copies of the photographs with a larger shorter side, in `folder`."""
    paths = list_images(options.photos)
    folder.mkdir()
    for i in np.random.default_rng(0).permutation(len(paths))[: options.count]:
        with Image.open(options.photos / paths[i]) as image:
            scale = options.short_side / min(image.size)
            large = image.convert("RGB").resize([round(side * scale) for side in image.size], Image.Resampling.BICUBIC)
        large.save(folder / f"{i:06d}.jpg", quality=90)
    return folder


if __name__ == "__main__":
    main()
