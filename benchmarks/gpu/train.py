"""Training on one GPU from a folder of photographs, resumable between calls; see README.md beside this.

python benchmarks/gpu/train.py colour --folder DATA --out OUT --epochs 60
"""

import argparse
import copy
import dataclasses
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from colorize_lib.data.augment import Augment
from colorize_lib.data.cache import cached_photographs
from colorize_lib.data.judging import tune_or_judge
from colorize_lib.data.loader import ColorizationDataset, LabLoader
from colorize_lib.data.manifest import PhotoConfig, find_photographs
from colorize_lib.data.shipped import showcase
from colorize_lib.evaluation.answers import mean_ab, paint_grey, paint_plain
from colorize_lib.evaluation.metrics import validate
from colorize_lib.evaluation.scores import evaluate
from colorize_lib.evaluation.tables import estimates
from colorize_lib.files import SHIPPED_WEIGHTS
from colorize_lib.models import GeneratorConfig, LightConfig, build_generator, fitting_config
from colorize_lib.models.encoders import build_classifier, classifier_state
from colorize_lib.models.painting import paint_batch
from colorize_lib.models.weights import load_generator, save_weights
from colorize_lib.runs.device import make_accelerator, seed_everything
from colorize_lib.runs.run import Run, start_run
from colorize_lib.training.distil import DistilConfig, DistilModel, agreement
from colorize_lib.training.distribution import train_distribution, with_bins
from colorize_lib.training.distribution_gan import DistributionGan, DistributionGanConfig
from colorize_lib.training.gan import GanConfig, MainModel
from colorize_lib.training.loop import LoopConfig, pretrain_generator, train_model

# Photographs of a path that holds this are judged apart: what was trained on one kind meets the other.
GROUPS = {"COCO": r"(?:^|/)coco", "ImageNet": r"(?:^|/)(?:imagen|inetmini|n\d{8})", "all": ""}
JUDGED = ("l1_ab", "auc", "auc_rebalanced", "colorfulness", "colorfulness_gap_per_image")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["unet", "resnet", "encoder", "colour", "gan"])
    parser.add_argument("--folder", required=True, help="with train/ and val/")
    parser.add_argument("--manifest", default="", help="CSV of the photographs to take, in place of all")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", help="of the run's folder; by default, what is trained")
    parser.add_argument("--size", type=int, default=256, help="unet: pixels; colour, encoder: of the cache")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--n-val", type=int, default=200, help="validation photographs to look at after each epoch")
    parser.add_argument("--log-every", type=int, default=50)
    parser.add_argument("--precision", default="auto", help="auto | no | bf16")
    parser.add_argument("--encoder", default="efficientnet_lite0")
    parser.add_argument("--encoder-weights", default="distilled", help="resnet: imagenet | distilled | random | a file")
    parser.add_argument("--gan-epochs", type=int, default=20, help="resnet: after the L1 stage")
    parser.add_argument("--start", type=Path, help="gan: weights in place of the shipped ones")
    parser.add_argument("--lambda-gan", type=float, default=DistributionGanConfig.lambda_GAN)
    parser.add_argument("--n-train", type=int, default=0, help="photographs to train on; 0: all")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where caches go")
    options = parser.parse_args()
    seed_everything(0)
    accelerator = make_accelerator("auto", options.precision)
    config = PhotoConfig(source="folder", folder=options.folder, n_images=0, manifest=options.manifest)
    photos = find_photographs(config, options.data, options.size)
    pixels = cached_photographs(photos, options.size, options.data)
    split = photos.usable.split.to_numpy()
    train = ColorizationDataset(
        torch.from_numpy(pixels[split == "train"][: options.n_train or None]).to(accelerator.device)
    )
    parts = photos.usable.sha256.map(tune_or_judge)
    tune = np.flatnonzero((split == "val") & (parts == "tune"))[: options.n_val]
    val = ColorizationDataset(torch.from_numpy(pixels[tune]).to(accelerator.device))
    val_dl = LabLoader(val, 100, train=False, device=accelerator.device)
    run = start_run("gpu", options.name or options.what, options.out, photographs=photos.digest(), **vars_of(options))
    print(f"{len(train):,} train, {len(val)} val; {accelerator.device}, {accelerator.mixed_precision}", flush=True)
    started = time.monotonic()
    stages = {"unet": train_unet, "resnet": train_resnet, "encoder": train_encoder, "colour": train_colour}
    nets = (stages | {"gan": train_gan})[options.what](options, run, accelerator, train, val_dl)
    judge = {
        name: LabLoader(ColorizationDataset(pixels, rows), 100, train=False, device=accelerator.device)
        for name, kind in GROUPS.items()
        if len(rows := np.flatnonzero((split == "val") & (parts == "judge") & photos.usable.path.str.contains(kind)))
    }
    run.write("judged.json", judged(nets, train, judge, accelerator.device))
    print(f"{time.monotonic() - started:.0f} s", flush=True)


def judged(nets: dict, train, judge: dict, device) -> dict:
    """Figures with 95 % intervals of these networks, of grey and of the mean colour, on *judge* by group."""
    mean = mean_ab(LabLoader(train, 100, train=False))
    answers = {"grey": paint_grey, "mean colour": partial(paint_plain, mean)}
    answers |= {name: partial(paint_batch, net) for name, net in nets.items()}
    found = {}
    for name, dl in judge.items():
        table = estimates(evaluate(answers, dl)).round(4)
        rows = table[table.index.get_level_values(1).isin(JUDGED)]
        found[name] = {answer: own.droplevel(0).to_dict("index") for answer, own in rows.groupby(level=0)}
        found[name]["photographs"] = len(dl.dataset)
    return found


def vars_of(options: argparse.Namespace) -> dict:
    """What the result depends on, for the run's record."""
    return {
        name: getattr(options, name)
        for name in ("what", "size", "batch", "lr", "precision", "encoder", "encoder_weights", "lambda_gan", "n_train")
    }


def train_unet(options, run: Run, accelerator, train, val_dl) -> dict:
    """S1 and S2: the U-Net and the PatchGAN from scratch (on S3's data at another size)."""
    config = fitting_config("unet", options.size)
    model = MainModel(build_generator(config), GanConfig(), accelerator)
    train_dl = LabLoader(train, options.batch, train=True, device=accelerator.device)
    shown = showcase("folder", 0, options.size)["L"].to(accelerator.device)
    loop = LoopConfig(log_every=options.log_every, show_at=(1, 5, 10, 50, 100, 200, 249, 400), show_every=10**9)
    train_model(model, train_dl, val_dl, options.epochs, run, validate, loop, shown)
    save_half(model.generator, run.path / "net_G.safetensors", config)
    return {"U-Net": model.generator}


def train_resnet(options, run: Run, accelerator, train, val_dl) -> dict:
    """S3's second network: the ResNet18 DynamicUnet, on L1 at 1e-4, then in the reports' GAN."""
    config = GeneratorConfig("resnet18_dynamic_unet", options.size)
    net_G = build_generator(config, options.encoder_weights)
    train_dl = LabLoader(train, options.batch, train=True, device=accelerator.device)
    shown = showcase("folder", 0, options.size)["L"].to(accelerator.device)
    loop = LoopConfig(log_every=options.log_every, show_every=10**9)
    data = (train_dl, val_dl)
    pretrain_generator(
        net_G, *data, options.epochs, run.part("l1"), validate, accelerator=accelerator, config=loop, showcase=shown
    )
    first = copy.deepcopy(net_G)
    model = MainModel(net_G, GanConfig(), accelerator)
    train_model(model, *data, options.gan_epochs, run.part("gan"), validate, loop, shown)
    for name, net in {"l1": first, "gan": model.generator}.items():
        save_half(net, run.path / name / "net_G.safetensors", config)
    return {"L1 stage": first, "GAN stage": model.generator}


def train_encoder(options, run: Run, accelerator, train, val_dl) -> dict:
    """A ResNet18 that learns EfficientNet-Lite2's answers."""
    teacher = build_classifier("efficientnet_lite2")
    teacher.load_state_dict(classifier_state("efficientnet_lite2", "imagenet"))
    student = build_classifier("resnet18")
    steps = options.epochs * (len(train) // options.batch)
    model = DistilModel(student, teacher, DistilConfig(steps, options.lr or 2e-3), accelerator)
    augment = Augment(options.size, area=(0.25, 1.0))
    train_dl = LabLoader(train, options.batch, train=True, device=accelerator.device, augment=augment)

    def score(net, dl) -> dict[str, float]:
        with accelerator.autocast():
            shares = {
                f"val_agreement_{kind}": agreement(net, model.teacher, dl, grey=kind == "grey")
                for kind in ("grey", "colour")
            }
        return {"val_L1": 1 - shares["val_agreement_grey"], **shares}

    train_model(model, train_dl, val_dl, options.epochs, run, score)
    save_half(model.generator, run.path / "resnet18-distilled.safetensors")
    return {}


def train_colour(options, run: Run, accelerator, train, val_dl) -> dict:
    """The light generator with a colour distribution: 128 px, fine levels frozen; then 192 px."""
    config = LightConfig(size=192, encoder=options.encoder)
    net_G = build_generator(config, "imagenet")
    train_dl = LabLoader(train, options.batch, train=True, device=accelerator.device)
    shown = showcase("folder", 0, 192)["L"].to(accelerator.device)
    what = (net_G, train_dl, val_dl, options.epochs, run, validate, config.size, None, shown)
    train_distribution(*what, lr=options.lr or 1e-3, accelerator=accelerator)
    save_half(net_G, run.path / "net_G.safetensors", config)
    return {"distribution": net_G}


def train_gan(options, run: Run, accelerator, train, val_dl) -> dict:
    """The GAN stage of the shipped generator, or of --start, at --size; scored before it too."""
    net_G, config = load_generator(options.start or SHIPPED_WEIGHTS)
    gan = DistributionGanConfig(lr_D=options.lr or DistributionGanConfig.lr_D, lambda_GAN=options.lambda_gan)
    model = DistributionGan(net_G, gan, accelerator)
    score = partial(with_bins, validate)
    run.write("start.json", score(model.generator, val_dl))
    train_dl = LabLoader(train, options.batch, train=True, device=accelerator.device, augment=Augment(options.size))
    shown = showcase("folder", 0, options.size)["L"].to(accelerator.device)
    train_model(model, train_dl, val_dl, options.epochs, run, score, LoopConfig(options.log_every), shown)
    save_half(model.generator, run.path / "net_G.safetensors", config)
    return {"GAN stage": model.generator}


def save_half(net, path: Path, config=None) -> None:
    """Weights in 16 bits: half the bytes to carry, and no difference that a picture shows."""
    save_weights(copy.deepcopy(net).half(), path, {"generator": dataclasses.asdict(config)} if config else {})


if __name__ == "__main__":
    main()
