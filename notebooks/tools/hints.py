"""Teach the shipped generator to take hints: `make hints PHOTOS=A,B`.

The generator is not changed; what is learnt goes to outputs/hints/hints.safetensors and, copied beside
weights/generator.safetensors, ships with it. The run can be stopped and goes on.
"""

import argparse
import copy
from pathlib import Path

import numpy as np

from colorize_lib.data.augment import Augment
from colorize_lib.data.cache import cached_photographs
from colorize_lib.data.judging import tune_or_judge
from colorize_lib.data.loader import ColorizationDataset, LabLoader
from colorize_lib.data.manifest import PhotoConfig, find_photographs
from colorize_lib.files import DATA_DIR, OUTPUTS, SHIPPED_WEIGHTS, sha256
from colorize_lib.models.hints import HintNet
from colorize_lib.models.weights import load_generator, save_weights
from colorize_lib.runs.device import make_accelerator, seed_everything
from colorize_lib.runs.run import start_run
from colorize_lib.training.hints import HintModel, with_hints
from colorize_lib.training.loop import train_model

CACHE, N_VAL = 128, 100  # px of the photographs; of *tune*, looked at after each epoch


def main(arguments: list[str] | None = None) -> Path:
    """The command; returns the file of weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, help="a folder of photographs, or several: A,B")
    parser.add_argument("--epochs", type=int, default=2, help="(%(default)s)")
    parser.add_argument("--batch", type=int, default=16, help="(%(default)s)")
    parser.add_argument("--lr", type=float, default=2e-3, help="(%(default)s)")
    parser.add_argument("--size", type=int, default=128, help="pixels of the crops (%(default)s)")
    parser.add_argument("--precision", default="auto", help="auto | no | bf16")
    options = parser.parse_args(arguments)
    seed_everything(0)
    accelerator = make_accelerator("auto", options.precision)
    photos = find_photographs(PhotoConfig(source="folder", folder=options.photos, n_images=0), DATA_DIR, CACHE)
    pixels, rows = cached_photographs(photos, CACHE, DATA_DIR), photos.usable

    def loader(chosen: np.ndarray, batch: int, **kind) -> LabLoader:
        dataset = ColorizationDataset(pixels, np.flatnonzero(chosen))
        return LabLoader(dataset, batch, device=accelerator.device, **kind)

    train_dl = loader(rows.split == "train", options.batch, train=True, augment=Augment(options.size))
    tune = np.flatnonzero((rows.split == "val") & (rows.sha256.map(tune_or_judge) == "tune"))[:N_VAL]
    val_dl = loader(np.isin(np.arange(len(rows)), tune), 50, train=False)
    painter, config = load_generator(SHIPPED_WEIGHTS)
    net = HintNet(config.widths, len(painter.head.centres))
    model = HintModel(net, painter, options.epochs * len(train_dl), options.lr, accelerator)
    settings = {name: value for name, value in vars(options).items() if name != "photos"}
    run = start_run("hints", "hints", OUTPUTS, photographs=photos.digest(), **settings)
    train_model(model, train_dl, val_dl, options.epochs, run, lambda net, dl: with_hints(net, painter, dl))
    path = run.path / "hints.safetensors"
    save_weights(copy.deepcopy(model.generator).half(), path, {"generator": sha256(SHIPPED_WEIGHTS)})
    print(path)
    return path


if __name__ == "__main__":
    main()
