"""Ours beside the reference recipe, in one run on one machine: the data path, training, memory. `make bench`.

python benchmarks/bench.py [--photos DIR] [--size 64] [--batch-size 16] [--precision no bf16] [--json FILE]

All sides take turns, `--rounds` times; a row has the medians in images per second, the ratio of the medians, and the
range of the ratios over rounds. The reference trains in fp32, ours in each precision. Without --photos the photographs
are the crops of the source `sample`.
"""

import argparse
import itertools
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import torch
from reference import ReferenceGan, ReferenceRegression, reference_loader
from turns import own_process, peak_memory, prepare, timed, turn

from colorize_lib.data.loader import LabLoader, make_dataloaders
from colorize_lib.data.manifest import PhotoConfig, find_photographs
from colorize_lib.data.sources import folder_tree, sample
from colorize_lib.files import DATA_DIR, write_text
from colorize_lib.models import build_generator, fitting_config
from colorize_lib.models.init import init_weights
from colorize_lib.models.patchgan import PatchDiscriminator
from colorize_lib.runs.device import make_accelerator, seed_everything
from colorize_lib.runs.run import environment
from colorize_lib.training.distribution import DistributionConfig, DistributionModel
from colorize_lib.training.gan import GanConfig, MainModel
from colorize_lib.training.trainable import RegressionModel, TrainableModel

IMAGES = 320  # photographs of the data path
LATER = 5  # later epochs that are timed together, as one is over in a moment
TRAININGS = {  # what is trained: the reference's generator, ours, and on what; the reference has L1 in place of bins
    "S1: U-Net, GAN": ("unet", "unet", "GAN"),
    "S3: ResNet18 DynamicUnet, L1": ("resnet18_dynamic_unet", "resnet18_dynamic_unet", "L1"),
    "S3: ResNet18 DynamicUnet, GAN": ("resnet18_dynamic_unet", "resnet18_dynamic_unet", "GAN"),
    "S3's L1 stage by the light generator": ("resnet18_dynamic_unet", "resnet18_fast", "L1"),
    "S3's GAN stage by the light generator": ("resnet18_dynamic_unet", "resnet18_fast", "GAN"),
    "a distribution of colours by the light generator": ("resnet18_dynamic_unet", "light", "bins"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--photos", type=Path, help="a folder of photographs")
    parser.add_argument("--size", type=int, default=64, help="pixels a side in training (%(default)s)")
    parser.add_argument("--data-size", type=int, default=256, help="pixels a side of the data path (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="of the reference's loader (%(default)s)")
    parser.add_argument("--device", default="auto", help="auto | cpu")
    parser.add_argument("--precision", nargs="+", help="no, bf16, fp16 (no, and bf16 where the device computes it)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=5, help="of training in each round (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    options = parser.parse_args()
    device = options.device = torch.device("cuda" if options.device == "auto" and torch.cuda.is_available() else "cpu")
    options.precision = options.precision or ["no", *(["bf16"] if has_bf16(device) else [])]
    with tempfile.TemporaryDirectory() as folder:
        listing = folder_tree(str(options.photos.resolve()), DATA_DIR, 0) if options.photos else sample("", DATA_DIR, 0)
        paths = [listing.root / path for path in listing.paths]
        paths = linked(paths[:: max(1, len(paths) // IMAGES)][:IMAGES], Path(folder) / "chosen")  # from all of them
        table = pd.DataFrame(data_path(paths, Path(folder), options) + training(paths, Path(folder), options))
        memory = pd.DataFrame(memory_use(paths, options))
    settings = ("size", "data_size", "batch_size", "workers", "rounds", "iterations")
    record = {"environment": environment(), "device": str(device)} | {name: vars(options)[name] for name in settings}
    print("\nimages per second;", record)
    print(table.drop(columns="rounds").to_string(index=False, float_format="{:.3g}".format))
    print("\npeak memory of an epoch of the data path\n", memory.to_string(index=False, float_format="{:.3f}".format))
    if options.json:
        record |= {"speed": table.to_dict("records"), "memory": memory.to_dict("records")}
        write_text(options.json, json.dumps(record, indent=1) + "\n")


def has_bf16(device: torch.device) -> bool:
    """Whether the device has units for it; a CPU without them is some twenty times slower in bf16."""
    on_gpu = device.type == "cuda"
    return torch.cuda.is_bf16_supported() if on_gpu else bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def data_path(paths: list[Path], scratch: Path, options: argparse.Namespace) -> list[dict]:
    """Photograph to batch on the device: the first epoch, in which ours checks and caches each file, and later ones."""
    speed: dict[str, list[float]] = defaultdict(list)
    for number in range(options.rounds):
        for side, *more in ((reference_epoch,), (our_epochs, scratch / f"data-{number}")):
            with own_process() as process:
                for way, rate in process.submit(side, paths, options, *more).result().items():
                    speed[way].append(rate)
    reference = speed.pop("reference")
    return [row(way, reference, rates) for way, rates in speed.items()]


def reference_epoch(paths: list[Path], options: argparse.Namespace) -> dict[str, float]:
    loader = reference_loader(paths, options.data_size, options.batch_size, options.workers, train=False)
    batches = ((batch["L"].to(options.device), batch["ab"].to(options.device)) for batch in loader)
    return {"reference": len(paths) / timed(batches, None, options.device)}


def our_epochs(paths: list[Path], options: argparse.Namespace, data_dir: Path) -> dict[str, float]:
    size, epochs = options.batch_size, LATER * len(paths)

    def first() -> Iterator:
        loaders.extend(our_loaders(paths, options.data_size, options, data_dir))
        yield from itertools.chain(*loaders)

    def read() -> Iterator:
        for pixels in (loader.dataset for loader in loaders * LATER):
            yield from (pixels.rgb(np.arange(k, min(k + size, len(pixels)))) for k in range(0, len(pixels), size))

    loaders: list[LabLoader] = []
    seconds = timed(first(), None, options.device)
    later = timed(itertools.chain(*loaders * LATER), None, options.device)
    return {
        "data path, first epoch": len(paths) / seconds,
        "data path, later epochs": epochs / later,
        "later epochs, what stays on the CPU beside a GPU": epochs / timed(read(), None, options.device),
    }


def training(paths: list[Path], scratch: Path, options: argparse.Namespace) -> list[dict]:
    """End to end, photograph to updated weights: images per second after the first epoch has filled the cache.

    The reference's workers have a few batches ready when a turn begins, as at its end. Where loading is what it waits
    for (a GPU), a turn needs many more iterations than those.
    """
    rows = []
    for label, (theirs, ours, objective) in TRAININGS.items():
        makers = {"reference": (reference_training, (theirs, objective, "no"))}
        makers |= {precision: (our_training, (ours, objective, precision)) for precision in options.precision}
        speed: dict[str, list[float]] = {name: [] for name in makers}
        with ExitStack() as stack:
            sides = {name: stack.enter_context(own_process()) for name in makers}
            for name, (make, what) in makers.items():
                prepare(sides[name], make, what, paths, scratch / "data-0", options, device=options.device)
            for _ in range(options.rounds):
                for name, side in sides.items():
                    speed[name].append(options.iterations * options.batch_size / turn(side, options.iterations))
        for name in options.precision:
            rows.append(row(label + ("" if name == "no" else f", {name}"), speed["reference"], speed[name]))
            print(f"{rows[-1]['what']}: {rows[-1]['ratio']:.2f}", flush=True)
    return rows


def reference_training(what: tuple, paths: list[Path], data_dir: Path, options: argparse.Namespace) -> Iterator:
    """Its losses, iteration by iteration."""
    generator, objective, _ = what
    loader = reference_loader(paths, options.size, options.batch_size, options.workers)
    net_G, device = fresh(generator, options.size), options.device
    gan = objective == "GAN"
    model = ReferenceGan(net_G, device, 3 if options.size >= 256 else 1) if gan else ReferenceRegression(net_G, device)
    while True:
        for batch in loader:
            yield model.step(batch)


def our_training(what: tuple, paths: list[Path], data_dir: Path, options: argparse.Namespace) -> Iterator:
    """Our losses, iteration by iteration."""
    generator, objective, precision = what
    accelerator = make_accelerator("cpu" if options.device.type == "cpu" else "auto", precision)
    net_G, train_dl = fresh(generator, options.size), our_loaders(paths, options.size, options, data_dir)[0]
    if objective == "GAN":
        config = GanConfig(n_down_D=3 if options.size >= 256 else 1)
        net_D = init_weights(PatchDiscriminator(input_c=3, n_down=config.n_down_D))
        model: TrainableModel = MainModel(net_G, config, accelerator, net_D)
    elif objective == "bins":
        model = DistributionModel(net_G, DistributionConfig(steps=1_000), accelerator)
    else:
        model = RegressionModel(net_G, accelerator=accelerator)
    model.set_modes()
    for number in itertools.count():
        train_dl.set_epoch(number)
        for batch in train_dl:
            model.setup_input(batch)
            model.step()
            yield model.losses()


def memory_use(paths: list[Path], options: argparse.Namespace) -> list[dict]:
    """Peak resident set of one epoch, each in a process of its own; ours with a quarter of the photographs too."""
    rows = []
    for name, count in (("reference", len(paths)), ("ours", len(paths)), ("ours", len(paths) // 4)):
        with own_process() as process:
            peak = process.submit(_peak, name, paths[:count], options).result()
        rows.append({"data path": name, "photographs": count, "peak memory, GB": peak})
    return rows


def _peak(name: str, paths: list[Path], options: argparse.Namespace) -> float:
    options.device = torch.device("cpu")
    with tempfile.TemporaryDirectory() as scratch:
        if name == "reference":
            loaders = [reference_loader(paths, options.data_size, options.batch_size, 0, train=False)]
        else:
            paths = linked(paths, Path(scratch) / "chosen")
            loaders = our_loaders(paths, options.data_size, options, Path(scratch) / "data")
        timed(itertools.chain(*loaders), None, options.device)
    return peak_memory()


def our_loaders(paths: list[Path], size: int, options: argparse.Namespace, data_dir: Path) -> Sequence[LabLoader]:
    """Training and validation batches of the folder in which all the photographs lie."""
    config = PhotoConfig(source="folder", folder=str(paths[0].parent), n_images=0, min_side=1)
    photos = find_photographs(config, data_dir)
    return make_dataloaders(photos, size, options.batch_size, 0, options.device, data_dir=data_dir)


def fresh(generator: str, size: int) -> torch.nn.Module:
    seed_everything(0)
    return build_generator(fitting_config(generator, size)).train()


def row(label: str, reference: list[float], ours: list[float]) -> dict:
    """Medians over the rounds, their ratio, and the range of the rounds' ratios."""
    ratios = [b / a for a, b in zip(reference, ours, strict=True)]
    found = {"what": label, "reference": median(reference), "ours": median(ours)}
    found |= {"ratio": median(ours) / median(reference), "from": min(ratios), "to": max(ratios)}
    return found | {"rounds": {"reference": reference, "ours": ours}}


def linked(paths: list[Path], folder: Path) -> list[Path]:
    """Links to these files, in a folder of their own."""
    folder.mkdir(parents=True)
    links = [folder / f"{k:05d}{path.suffix}" for k, path in enumerate(paths)]
    for link, path in zip(links, paths, strict=True):
        link.symlink_to(path.resolve())
    return links


if __name__ == "__main__":
    main()
