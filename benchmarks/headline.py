"""Seconds of training until loss_G_L1 is at most 8.05, which S2 reached after about 93 epochs in 10 to 12 hours.

python benchmarks/headline.py --photos DIR [--size 256] [--generator unet] [--level 8.05] [--hours 12]

Trains as notebook 02 does (batch 16, both learning rates 0.0002, lambda 100) and stops after the first epoch whose mean
loss_G_L1, on the training photographs as in the report, is at the level. Goes on where it was stopped. The seconds are
those of training; decoding and validation are not in them. A lower loss on the photographs trained on says how fast the
network learns them, not how good its colours are: the validation L1 is printed beside it.
"""

import argparse

import pandas as pd

from colorize_lib.data.loader import make_dataloaders
from colorize_lib.data.manifest import PhotoConfig, find_photographs
from colorize_lib.evaluation.metrics import validate
from colorize_lib.models import ARCHITECTURES, build_generator, fitting_config
from colorize_lib.models.encoders import choose_encoder_weights
from colorize_lib.runs.device import make_accelerator, seed_everything
from colorize_lib.runs.run import start_run
from colorize_lib.training.gan import GanConfig, MainModel
from colorize_lib.training.loop import LoopConfig, train_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--photos", required=True, help="a folder of photographs; the report's were 8,000 of COCO")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--n-images", type=int, default=10000, help="how many to draw; 0 for all (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--generator", choices=ARCHITECTURES, default="unet")
    parser.add_argument("--encoder-weights", default="if-available")
    parser.add_argument("--lr-D", type=float, default=2e-4)
    parser.add_argument("--level", type=float, default=8.05, help="of loss_G_L1 (%(default)s)")
    parser.add_argument("--hours", type=float, default=12.0, help="of training, after which to give up (%(default)s)")
    parser.add_argument("--device", default="auto", help="auto | cpu")
    options = parser.parse_args()
    photos = find_photographs(PhotoConfig(source="folder", folder=options.photos, n_images=options.n_images))
    accelerator = make_accelerator(options.device)
    train_dl, val_dl = make_dataloaders(photos, options.size, options.batch_size, device=accelerator.device)
    seed_everything(0)
    weights = None if options.generator == "unet" else choose_encoder_weights(options.encoder_weights)
    config = GanConfig(n_down_D=3 if options.size >= 256 else 1, lr_D=options.lr_D)
    net_G = build_generator(fitting_config(options.generator, options.size), weights)
    model = MainModel(net_G, config, accelerator)
    settings = {"photographs": photos.digest(), "objective": config, "batch_size": options.batch_size}
    settings |= {"encoder_weights": weights or "none", "precision": accelerator.mixed_precision}
    run = start_run("bench", f"headline-{options.generator}-{options.size}", **settings)
    epochs, last = 0, pd.Series({"loss_G_L1": float("inf"), "seconds": 0.0})
    while last.loss_G_L1 > options.level and last.seconds < 3600 * options.hours:
        epochs += 1
        history = train_model(model, train_dl, val_dl, epochs, run, validate, LoopConfig(show_at=(), show_every=10**9))
        last = history[history.kind == "epoch"].iloc[-1]
    reached = "reached" if last.loss_G_L1 <= options.level else "NOT reached"
    print(f"loss_G_L1 <= {options.level} {reached}: {last.loss_G_L1:.2f} after epoch {int(last.epoch)}, ", end="")
    print(f"{last.seconds:.0f} s of training on {accelerator.device}; validation L1 {last.val_L1:.4f}")


if __name__ == "__main__":
    main()
