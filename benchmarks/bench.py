"""Ours beside the reference recipe, in one run on one machine: the data path, training, memory. `make bench`.

python benchmarks/bench.py [--photos DIR] [--size 64] [--data-size 256] [--batch-size 16] [--device auto] [--json FILE]

Both take turns, `--rounds` times; a row has the medians in images per second, the ratio of the medians, and the range
of the ratios over rounds. Without --photos the photographs are the crops of the source `sample`, as JPEG files.
"""

import argparse
import gc
import itertools
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from memory import peak_memory
from PIL import Image
from reference import ReferenceGan, ReferenceRegression, reference_loader
from torch import nn
from turns import own_process, prepare, turn

from colorize_lib.data.loader import LabLoader, make_dataloaders
from colorize_lib.data.manifest import PhotoConfig, PhotoSet, find_photographs
from colorize_lib.data.sources import list_images, sample
from colorize_lib.files import DATA_DIR, write_text
from colorize_lib.models import build_generator, fitting_config
from colorize_lib.models.init import init_weights
from colorize_lib.models.patchgan import PatchDiscriminator
from colorize_lib.runs.device import make_accelerator, seed_everything
from colorize_lib.runs.run import environment
from colorize_lib.training.gan import GanConfig, MainModel
from colorize_lib.training.trainable import RegressionModel, TrainableModel

IMAGES = 320  # photographs of the data path
LATER = 5  # later epochs that are timed together, as one is over in a moment
TRAININGS = {  # what is trained: the reference's generator, ours, and whether with a GAN
    "S1: U-Net, GAN": ("unet", "unet", True),
    "S3: ResNet18 DynamicUnet, L1": ("resnet18_dynamic_unet", "resnet18_dynamic_unet", False),
    "S3: ResNet18 DynamicUnet, GAN": ("resnet18_dynamic_unet", "resnet18_dynamic_unet", True),
    "S3's L1 stage by the light generator": ("resnet18_dynamic_unet", "resnet18_fast", False),
    "S3's GAN stage by the light generator": ("resnet18_dynamic_unet", "resnet18_fast", True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--photos", type=Path, help="a folder of photographs")
    parser.add_argument("--size", type=int, default=64, help="pixels a side in training (%(default)s)")
    parser.add_argument("--data-size", type=int, default=256, help="pixels a side of the data path (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="of the reference's loader (%(default)s)")
    parser.add_argument("--device", default="auto", help="auto | cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=5, help="of training in each round (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    options = parser.parse_args()
    for generator in {name for theirs, ours, _ in TRAININGS.values() for name in (theirs, ours)}:
        try:
            _generator(generator, options.size)
        except ValueError as error:
            parser.error(f"--size {options.size} is none for the generator {generator}: {error}")
    accelerator = make_accelerator(options.device)
    with tempfile.TemporaryDirectory() as folder:
        photos = options.photos or _sample_as_jpeg(Path(folder) / "photographs")
        paths = [photos / path for path in list_images(photos)]
        if not paths:
            parser.error(f"{photos} holds no photographs")
        paths = paths[:: max(1, len(paths) // IMAGES)][:IMAGES]  # from all of the folder
        linked = _linked(paths, Path(folder) / "chosen")
        rows = data_path(linked, Path(folder), options, accelerator)
        rows += training(linked, Path(folder), options)
        table = pd.DataFrame(rows)
        memory = pd.DataFrame(memory_use(linked, options))
    print(f"\nimages per second on {accelerator.device}, batches of {options.batch_size}, {options.workers} workers;")
    print(f"the data path at {options.data_size} px, training at {options.size} px;")
    print(f"mixed precision: none in the reference, {accelerator.mixed_precision} in ours")
    print(table.drop(columns="rounds").to_string(index=False, float_format="{:.3g}".format))
    print("\npeak memory of an epoch of the data path, GB, Python and packages included")
    print(memory.to_string(index=False, float_format="{:.3f}".format))
    if options.json:
        record = {"environment": environment(), "size": options.size, "batch_size": options.batch_size}
        record |= {"data_size": options.data_size, "device": str(accelerator.device), "workers": options.workers}
        record |= {"rounds": options.rounds, "iterations": options.iterations}
        record |= {"speed": table.to_dict("records"), "memory": memory.to_dict("records")}
        write_text(options.json, json.dumps(record, indent=1) + "\n")


# --- the data path -------------------------------------------------------------------------------------------------


def data_path(folder: Path, scratch: Path, options: argparse.Namespace, accelerator: Accelerator) -> list[dict]:
    """Photograph to batch on the device: the first epoch, in which ours checks and caches every file, and later
    ones. Per core: images per second of CPU time, workers included. The reference has a process of its own."""
    paths, size = [folder / path for path in list_images(folder)], options.data_size
    found: dict[str, list[tuple[float, float]]] = {"reference": [], "first": [], "later": [], "read": []}
    for number in range(options.rounds):
        with own_process() as process:
            found["reference"].append(process.submit(_reference_cost, paths, options).result())
        loaders: list[LabLoader] = []

        def first(number: int = number, loaders: list[LabLoader] = loaders) -> None:
            photos = _found(folder, scratch / f"data-{number}")
            loaders += _loaders(photos, size, options.batch_size, accelerator, scratch / f"data-{number}")
            _epoch(loaders)

        def later(loaders: list[LabLoader] = loaders) -> None:
            for _ in range(LATER):
                _epoch(loaders)

        def read(loaders: list[LabLoader] = loaders) -> None:
            for loader in loaders * LATER:
                for start in range(0, len(loader.dataset), options.batch_size):
                    loader.dataset.rgb(np.arange(start, min(start + options.batch_size, len(loader.dataset))))

        found["first"].append(_cost(first, len(paths)))
        found["later"].append(_cost(later, LATER * len(paths)))
        found["read"].append(_cost(read, LATER * len(paths)))
    rows = []
    ways = (("data path, first epoch", "first"), ("data path, later epochs", "later"))
    for label, key in (*ways, ("later epochs, what stays on the CPU beside a GPU", "read")):
        for k, per in ((0, ""), (1, ", per core")):
            rows.append(_row(label + per, [pair[k] for pair in found["reference"]], [pair[k] for pair in found[key]]))
    return rows


def _reference_cost(paths: list[Path], options: argparse.Namespace) -> tuple[float, float]:
    """`_cost` of an epoch of the reference's data path."""
    device = _device_of(options)

    def epoch() -> None:
        for batch in reference_loader(paths, options.data_size, options.batch_size, options.workers, train=False):
            batch["L"].to(device), batch["ab"].to(device)

    return _cost(epoch, len(paths))


def _device_of(options: argparse.Namespace) -> torch.device:
    return torch.device("cuda" if options.device == "auto" and torch.cuda.is_available() else "cpu")


def _found(folder: Path, data_dir: Path) -> PhotoSet:
    return find_photographs(PhotoConfig(source="folder", folder=str(folder), n_images=0, min_side=1), data_dir)


def _loaders(
    photos: PhotoSet, size: int, batch_size: int, accelerator: Accelerator, data_dir: Path
) -> tuple[LabLoader, LabLoader]:
    return make_dataloaders(photos, size, batch_size, 0, accelerator.device, data_dir=data_dir)


def _epoch(loaders: Sequence[LabLoader]) -> None:
    for loader in loaders:
        for _ in loader:
            pass


def _cost(work: Callable[[], None], images: int) -> tuple[float, float]:
    """Images per second, and per second of CPU time of this process and its children."""
    gc.collect()
    cpu, begin = _cpu_seconds(), time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return images / (time.perf_counter() - begin), images / max(_cpu_seconds() - cpu, 1e-6)


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


# --- training ------------------------------------------------------------------------------------------------------


def training(folder: Path, scratch: Path, options: argparse.Namespace) -> list[dict]:
    """End to end, photograph to updated weights: images per second after the first epoch has filled the cache.

    The reference's workers have a few batches ready when a turn begins, as at its end. Where loading is what it waits
    for (a GPU), a turn needs many more iterations than those.
    """
    rows = []
    device = _device_of(options)
    for label, (theirs, ours, gan) in TRAININGS.items():
        speed: dict[str, list[float]] = {"reference": [], "ours": []}
        with ExitStack() as stack:
            sides = {name: stack.enter_context(own_process()) for name in speed}
            makers = {"reference": (_reference_training, theirs), "ours": (_our_training, ours)}
            memory = {
                name: prepare(sides[name], make, generator, gan, folder, scratch / "data-0", options, device=device)
                for name, (make, generator) in makers.items()
            }
            for _ in range(options.rounds):
                for name, side in sides.items():
                    speed[name].append(options.iterations * options.batch_size / turn(side, options.iterations))
        rows.append(_row(label, speed["reference"], speed["ours"]))
        if device.type == "cuda":
            rows[-1] |= {f"step's GPU memory, GB, {name}": gb for name, gb in memory.items()}
        print(f"{label}: {rows[-1]['ratio']:.2f}", flush=True)
    return rows


def _reference_training(
    generator: str, gan: bool, folder: Path, data_dir: Path, options: argparse.Namespace
) -> Iterator:
    device, net_G = _device_of(options), _generator(generator, options.size)
    paths = [folder / path for path in list_images(folder)]
    loader = reference_loader(paths, options.size, options.batch_size, options.workers)
    model = ReferenceGan(net_G, device, _n_down_D(options)) if gan else ReferenceRegression(net_G, device)
    while True:
        for batch in loader:
            yield model.step(batch)


def _our_training(generator: str, gan: bool, folder: Path, data_dir: Path, options: argparse.Namespace) -> Iterator:
    accelerator, net_G = make_accelerator(options.device), _generator(generator, options.size)
    train_dl = _loaders(_found(folder, data_dir), options.size, options.batch_size, accelerator, data_dir)[0]
    if gan:
        net_D = init_weights(PatchDiscriminator(input_c=3, n_down=_n_down_D(options)))
        model: TrainableModel = MainModel(net_G, GanConfig(n_down_D=_n_down_D(options)), accelerator, net_D)
    else:
        model = RegressionModel(net_G, accelerator=accelerator)
    for network in model.networks.values():
        network.train()
    for epoch in itertools.count():
        train_dl.set_epoch(epoch)
        for batch in train_dl:
            model.setup_input(batch)
            model.step()
            yield model.losses()


def _n_down_D(options: argparse.Namespace) -> int:
    return 3 if options.size >= 256 else 1


def _generator(name: str, size: int) -> nn.Module:
    seed_everything(0)
    return build_generator(fitting_config(name, size)).train()


def _row(label: str, reference: list[float], ours: list[float]) -> dict[str, float | str]:
    ratios = [b / a for a, b in zip(reference, ours, strict=True)]
    row = {"what": label, "reference": median(reference), "ours": median(ours)}
    row |= {"ratio": median(ours) / median(reference), "from": min(ratios), "to": max(ratios)}
    return row | {"rounds": {"reference": reference, "ours": ours}}


# --- memory --------------------------------------------------------------------------------------------------------


def memory_use(folder: Path, options: argparse.Namespace) -> list[dict]:
    """Peak resident set of one epoch, each in a process of its own; ours with a quarter of the photographs too."""
    rows = []
    for name, share in (("reference", 1.0), ("ours", 1.0), ("ours", 0.25)):
        with multiprocessing.get_context("spawn").Pool(1) as process:
            peak = process.apply(_peak, (name, folder, share, options))
        rows.append({"data path": name, "photographs": int(share * len(list_images(folder))), "peak memory, GB": peak})
    return rows


def _peak(name: str, folder: Path, share: float, options: argparse.Namespace) -> float:
    paths = [folder / path for path in list_images(folder)]
    paths = paths[: int(share * len(paths))]
    with tempfile.TemporaryDirectory() as scratch:
        if name == "reference":
            for _ in reference_loader(paths, options.data_size, options.batch_size, 0, train=False):
                pass
        else:
            chosen = _linked(paths, Path(scratch) / "chosen")
            photos = _found(chosen, Path(scratch) / "data")
            data_dir = Path(scratch) / "data"
            _epoch(_loaders(photos, options.data_size, options.batch_size, Accelerator(cpu=True), data_dir))
    return peak_memory()


# --- photographs ---------------------------------------------------------------------------------------------------


def _linked(paths: list[Path], folder: Path) -> Path:
    """A folder with links to these files alone."""
    folder.mkdir(parents=True)
    for k, path in enumerate(paths):
        (folder / f"{k:05d}{path.suffix}").symlink_to(path.resolve())
    return folder


def _sample_as_jpeg(folder: Path) -> Path:
    """The crops of `sample` as JPEG files of 400 x 300 or so, like those of data sets."""
    folder.mkdir(parents=True)
    listing = sample("", DATA_DIR, 0)
    for k in np.linspace(0, len(listing.paths) - 1, IMAGES).astype(int):
        with Image.open(listing.root / listing.paths[k]) as image:
            image.convert("RGB").resize((400, 300)).save(folder / f"{k:05d}.jpg", quality=90)
    return folder


if __name__ == "__main__":
    main()
