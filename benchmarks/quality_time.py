"""How good each generator is after how many seconds of training on L1: validation L1, colourfulness, spill.

python benchmarks/quality_time.py --photos DIR [--size 64] [--epochs NAME=EPOCHS ...]

Trains each on the same photographs, one after the other on the same machine, and goes on where it was stopped. Writes
a table and a plot to outputs/published/quality_time_SIZE, the histories to outputs/bench/quality-SIZE/.
`resnet18_fast/2` and `/8` are the light generator whose decoder stops at a half or an eighth of the resolution;
`@0.0003` after a name is a learning rate (else 0.0001), `@0.0003@0.99` that and the decay of a moving average of the
weights (else none).
"""

import argparse
import json
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import LogLocator, NullFormatter
from torch import nn

from colorize_lib import color
from colorize_lib.data.loader import LabLoader, make_dataloaders
from colorize_lib.data.manifest import PhotoConfig, find_photographs
from colorize_lib.evaluation import regions
from colorize_lib.evaluation.metrics import baselines, validate
from colorize_lib.files import OUTPUTS
from colorize_lib.models import build_generator, fitting_config
from colorize_lib.models.encoders import choose_encoder_weights, load_encoder, sum_first_convolution
from colorize_lib.models.painting import colorize_batch
from colorize_lib.models.resnet_fast import ResnetFast
from colorize_lib.runs.device import make_accelerator, seed_everything
from colorize_lib.runs.run import start_run
from colorize_lib.training.loop import LoopConfig, pretrain_generator

DEFAULT = ["resnet18_fast@0.0003=8", "resnet18_dynamic_unet=2", "unet=2"]
FIGURES = {"val_L1": "L1 of ab", "val_colorfulness": "colourfulness", "spill": "spill"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--photos", required=True, help="a folder of photographs")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--n-images", type=int, default=3000, help="how many to draw; 0 for all (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--encoder-weights", default="if-available")
    parser.add_argument("--epochs", nargs="+", default=DEFAULT, metavar="NAME=EPOCHS")
    options = parser.parse_args()
    photos = find_photographs(PhotoConfig(source="folder", folder=options.photos, n_images=options.n_images))
    accelerator = make_accelerator()
    train_dl, val_dl = make_dataloaders(photos, options.size, options.batch_size, device=accelerator.device)
    weights = choose_encoder_weights(options.encoder_weights)
    histories = {}
    for word in options.epochs:
        name, epochs = word.split("=")
        words = name.split("@")
        architecture, lr, ema_decay = words + ["", "0.0001", "0"][len(words) :]
        seed_everything(0)
        net_G = build(architecture, options.size, weights)
        run = start_run(
            "bench",
            f"quality-{options.size}/{name.replace('/', '-')}",
            photographs=photos.digest(),
            generator=name,
            encoder_weights=weights or "random",
            batch_size=options.batch_size,
        )
        print(f"== {name}, {sum(p.numel() for p in net_G.parameters()) / 1e6:.1f} million parameters")
        loop = LoopConfig(show_at=(), show_every=10**9)
        histories[name] = pretrain_generator(
            net_G,
            train_dl,
            val_dl,
            int(epochs),
            run,
            score,
            float(lr),
            loop,
            accelerator=accelerator,
            ema_decay=float(ema_decay),
        )
    report(histories, baselines(train_dl, val_dl), OUTPUTS / "published" / f"quality_time_{options.size}")


def build(architecture: str, size: int, weights: str | None) -> nn.Module:
    """The generator of this name, with fresh weights but for its encoder's."""
    name, _, stop = architecture.partition("/")
    if stop:
        return ResnetFast(sum_first_convolution(load_encoder(weights)), stop=int(stop)).train()
    return build_generator(fitting_config(name, size), None if name == "unet" else weights)


def score(net_G: nn.Module, val_dl: LabLoader) -> dict[str, float]:
    """The figures of `metrics.validate`, and spill: where lightness is smooth, per pixel."""
    spilt, smooth = 0.0, 0
    for batch in val_dl:
        ab_hat = colorize_batch(net_G, batch["L"])
        lab = color.denormalize(batch["L"], batch["ab"])
        where = regions.is_smooth(lab)
        lab_hat = color.rgb_to_lab(color.lab_to_rgb(batch["L"], ab_hat))
        spilt += regions.spill(lab_hat, lab)[where].sum().item()
        smooth += int(where.sum())
    return validate(net_G, val_dl) | {"spill": spilt / smooth}


def report(histories: dict[str, pd.DataFrame], simple: dict[str, dict[str, float]], target: Path) -> None:
    """Print the table and write it to `target`.json, and the plot to `target`.png."""
    rows, levels = [], {}
    figure, axes = plt.subplots(1, len(FIGURES), figsize=(4 * len(FIGURES), 3.4), layout="constrained")
    for name, history in histories.items():
        epochs = history[history.kind == "epoch"]
        levels[name] = epochs.set_index("seconds").val_L1
        best = epochs.loc[epochs.val_L1.idxmin()]
        rows.append(
            {"generator": name, "epochs": len(epochs), "seconds an epoch": epochs.seconds.iloc[-1] / len(epochs)}
        )
        rows[-1] |= {"best at epoch": int(best.epoch), **{label: best[key] for key, label in FIGURES.items()}}
        for axis, (key, label) in zip(axes, FIGURES.items(), strict=True):
            axis.plot(epochs.seconds, epochs[key], marker="o", markersize=3, label=name)
            axis.set(xlabel="seconds of training", ylabel=label, xscale="log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter("{x:g}")
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.grid(alpha=0.3)
    axes[0].axhline(simple["grey"]["val_L1"], color="grey", linestyle="--", label="grey")
    axes[1].axhline(simple["truth"]["val_colorfulness"], color="black", linestyle="--", label="truth")
    handles = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, frameon=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target.with_suffix(".png"), dpi=120)
    for row in rows:  # how long each took to reach the best L1 of each other one
        for other, level in levels.items():
            reached = levels[row["generator"]]
            reached = reached[reached <= level.min()]
            row[f"s to L1 of {other}"] = float(reached.index[0]) if len(reached) else None
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format="{:.4g}".format))
    target.with_suffix(".json").write_text(json.dumps(json.loads(table.to_json(orient="records")), indent=1) + "\n")
    print(f"grey {simple['grey']['val_L1']:.4f}; plot: {target.with_suffix('.png')}")


if __name__ == "__main__":
    main()
