"""Train a ResNet18 that knows what things are, where torchvision's cannot be downloaded: `make encoder PHOTOS=A,B`.

distilled: from ImageNet's EfficientNet-Lite2 (the extra `imagenet`), and from ImageNet's classes where folders name
them; labels: from the class folders alone. It lands in outputs/encoders/resnet18-ORIGIN.safetensors, in torchvision's
form, for encoder_weights=ORIGIN; its run beside it can be stopped and goes on.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch

from colorize_lib.data.augment import Augment
from colorize_lib.data.cache import cached_photographs
from colorize_lib.data.judging import tune_or_judge
from colorize_lib.data.loader import ColorizationDataset, LabLoader
from colorize_lib.data.manifest import PhotoConfig, PhotoSet, find_photographs
from colorize_lib.files import DATA_DIR, OUTPUTS
from colorize_lib.models.encoders import build_classifier, classifier_state, sum_first_convolution
from colorize_lib.models.weights import save_weights
from colorize_lib.runs.device import make_accelerator, seed_everything, trial_step
from colorize_lib.runs.run import start_run
from colorize_lib.training.distil import DistilConfig, DistilModel, agreement
from colorize_lib.training.loop import train_model

CACHE = 128  # px of the photographs, and of the teacher's crops


def main(arguments: list[str] | None = None) -> Path:
    """The command; returns the file of weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, help="a folder of photographs, or several: A,B")
    parser.add_argument("--origin", choices=["distilled", "labels"], default="distilled")
    parser.add_argument("--epochs", type=int, default=24, help="(%(default)s)")
    parser.add_argument("--batch", type=int, default=64, help="(%(default)s)")
    parser.add_argument("--size", type=int, default=96, help="pixels of the student's crops (%(default)s)")
    parser.add_argument("--precision", default="auto", help="auto | no | bf16")
    options = parser.parse_args(arguments)
    seed_everything(0)
    trial = partial(
        trial_step, lambda: sum_first_convolution(build_classifier("resnet18")), options.batch, options.size
    )
    accelerator = make_accelerator("auto", options.precision, trial)
    photos = find_photographs(PhotoConfig(source="folder", folder=options.photos, n_images=0), DATA_DIR, CACHE)
    pixels = cached_photographs(photos, CACHE, DATA_DIR)
    labels, student = numbers(photos, options.origin), build_classifier("resnet18")
    split, parts = photos.usable.split.to_numpy(), photos.usable.sha256.map(tune_or_judge).to_numpy()

    def loader(rows: np.ndarray, **kind) -> LabLoader:
        dataset = ColorizationDataset(pixels, np.flatnonzero(rows))
        return LabLoader(dataset, options.batch, labels=labels[rows], device=accelerator.device, **kind)

    train_dl = loader(split == "train", train=True, augment=Augment(CACHE, area=(0.25, 1.0)))
    tune, judge = (loader((split == "val") & (parts == part), train=False) for part in ("tune", "judge"))
    teacher = None
    if options.origin == "distilled":
        teacher = build_classifier("efficientnet_lite2")
        teacher.load_state_dict(classifier_state("efficientnet_lite2", "imagenet"))
    model = DistilModel(student, teacher, DistilConfig(options.epochs * len(train_dl), size=options.size), accelerator)

    def score(net, dl) -> dict[str, float]:
        with accelerator.autocast():
            if teacher is not None:
                kinds = {"grey": True, "colour": False}
                shares = {
                    f"val_agreement_{kind}": agreement(net, teacher, dl, grey=grey) for kind, grey in kinds.items()
                }
            else:
                shares = {"val_accuracy_grey": accuracy(net, dl)}
        return {"val_L1": 1 - next(iter(shares.values())), **shares}

    settings = {"origin": options.origin, "epochs": options.epochs, "batch": options.batch, "size": options.size}
    run = start_run("encoders", f"resnet18-{options.origin}", OUTPUTS, photographs=photos.digest(), **settings)
    train_model(model, train_dl, tune, options.epochs, run, score)
    print("judge:", score(model.generator, judge))
    path = run.path.with_suffix(".safetensors")
    save_weights(model.generator, path, settings)
    print(f"{path}: set encoder_weights={options.origin}")
    return path


def numbers(photos: PhotoSet, origin: str) -> np.ndarray:
    """The class of each usable photograph, -1 where unknown: for `distilled`, ImageNet's number of its WordNet id."""
    if origin == "labels":
        return photos.labels()
    from timm.data import ImageNetInfo

    known = {name: number for number, name in enumerate(ImageNetInfo().label_names())}
    return photos.usable["class"].map(lambda name: known.get(name, -1)).to_numpy(np.int64)


@torch.no_grad()
def accuracy(net: torch.nn.Module, batches: LabLoader) -> float:
    """Share of the grey pictures of known class that the network names rightly."""
    net.eval()
    right, count = 0, 0
    for batch in batches:
        known = batch["label"] >= 0
        answers = net(batch["L"].expand(-1, 3, -1, -1)).argmax(dim=1)
        right, count = right + (answers == batch["label"])[known].sum().item(), count + known.sum().item()
    return right / max(count, 1)


if __name__ == "__main__":
    main()
