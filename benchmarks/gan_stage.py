"""What the GAN stage makes of a generator trained on L1, setting by setting: ab error beside colourfulness.

python benchmarks/gan_stage.py --photos DIR --weights FILE [--epochs 1] [SETTING ...]

A setting is `name=value,name=value` of `gan.GanConfig`, such as `lr_D=2e-05,lambda_L1=50`; `default` is that of the
reports. `spectral_norm=1` normalises the discriminator's weights (arXiv:1802.05957).
Each starts from the same weights and sees the same photographs in the same order; one that was stopped goes on. Beside
them stand the same weights without a GAN stage, their colour multiplied by a factor: a GAN stage that does no better
than that was not worth its time. Notebook 06 shows outputs/published/gan_stage.json, of many settings on 2,000
photographs, and gan_stage_all.json, of few on all.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import pandas as pd
import torch
from quality_time import score
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from colorize_lib.data.loader import make_dataloaders
from colorize_lib.data.manifest import PhotoConfig, find_photographs
from colorize_lib.evaluation.metrics import baselines
from colorize_lib.files import OUTPUTS
from colorize_lib.models.init import init_weights
from colorize_lib.models.patchgan import PatchDiscriminator
from colorize_lib.models.weights import load_generator
from colorize_lib.runs.device import make_accelerator, seed_everything
from colorize_lib.runs.run import environment, file_digest, start_run
from colorize_lib.training.gan import GanConfig, MainModel
from colorize_lib.training.loop import LoopConfig, train_model

SATURATIONS = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
FIGURES = {"val_L1": "L1", "val_colorfulness": "colourfulness", "spill": "spill"}


@dataclasses.dataclass(frozen=True)
class Setting(GanConfig):
    """What is tried: the library's settings, and what it does not have."""

    spectral_norm: int = 0  # 1: of the discriminator's convolutions, in place of its BatchNorm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--photos", required=True, help="a folder of photographs")
    parser.add_argument("--weights", required=True, type=Path, help="net_G.safetensors of notebook 03")
    parser.add_argument("--n-images", type=int, default=3000, help="how many to draw; 0 for all (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--json", type=Path, default=OUTPUTS / "published" / "gan_stage.json")
    parser.add_argument("settings", nargs="+", type=setting, metavar="SETTING")
    options = parser.parse_args()
    photos = find_photographs(PhotoConfig(source="folder", folder=options.photos, n_images=options.n_images))
    accelerator = make_accelerator()
    net_G, config = load_generator(options.weights)
    train_dl, val_dl = make_dataloaders(photos, config.size, options.batch_size, device=accelerator.device)
    simple = baselines(train_dl, val_dl)
    rows = [{"setting": "grey", "epochs": 0} | figures(simple["grey"])]
    for factor in SATURATIONS:
        name = "L1 only" if factor == 1 else f"L1 only, colour x {factor}"
        rows.append({"setting": name, "epochs": 0} | figures(score(Saturated(net_G, factor), val_dl)))
    for gan in options.settings:
        seed_everything(0)
        run = start_run(
            "bench",
            f"gan_stage/{name_of(gan)}",
            photographs=photos.digest(),
            start_weights=file_digest(options.weights),
            gan=gan,
            batch_size=options.batch_size,
        )
        print(f"== {name_of(gan)}")
        model = MainModel(load_generator(options.weights)[0], gan, accelerator, discriminator(gan))
        loop = LoopConfig(show_at=(), show_every=10**9)
        history = train_model(model, train_dl, val_dl, options.epochs, run, score, loop)
        for _, epoch in history[history.kind == "epoch"].iterrows():
            rows.append({"setting": name_of(gan), "epochs": int(epoch.epoch), "seconds": epoch.seconds})
            rows[-1] |= figures(epoch) | {"loss_D": epoch.loss_D}
    record = {
        "environment": environment(),
        "size": config.size,
        "training_photographs": len(train_dl.dataset),
        "validation_photographs": len(val_dl.dataset),
        "truth_colourfulness": simple["truth"]["val_colorfulness"],
        "rows": rows,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(record, indent=1) + "\n")
    print(pd.DataFrame(rows).to_string(index=False, na_rep="", float_format="{:.4g}".format))


def discriminator(gan: Setting) -> nn.Module:
    """A fresh discriminator of this setting."""
    net_D = init_weights(PatchDiscriminator(n_down=gan.n_down_D))
    if gan.spectral_norm:
        for block in net_D.model:
            block[0] = spectral_norm(block[0])
            if len(block) > 1 and isinstance(block[1], nn.BatchNorm2d):
                block[1] = nn.Identity()
    return net_D


class Saturated(nn.Module):
    """A generator whose ab is multiplied by a factor."""

    def __init__(self, net_G: nn.Module, factor: float):
        super().__init__()
        self.net_G, self.factor = net_G, factor

    def forward(self, L: torch.Tensor) -> torch.Tensor:
        return self.net_G(L) * self.factor


def setting(text: str) -> Setting:
    """`name=value,name=value` as a Setting."""
    types = {field.name: field.type for field in dataclasses.fields(Setting)}
    values = {}
    for pair in text.split(",") if text != "default" else []:
        name, _, value = pair.partition("=")
        if name not in types:
            raise argparse.ArgumentTypeError(f"{name!r} is no setting; choose among {', '.join(types)}")
        try:
            values[name] = {"True": True, "False": False}[value] if types[name] is bool else types[name](value)
        except (KeyError, ValueError) as error:
            raise argparse.ArgumentTypeError(f"{name}={value!r} is no {types[name].__name__}") from error
    return Setting(**values)


def name_of(gan: Setting) -> str:
    """What is set otherwise than by default, as `setting` takes it."""
    default = Setting()
    names = [field.name for field in dataclasses.fields(gan)]
    changed = [f"{name}={getattr(gan, name)}" for name in names if getattr(gan, name) != getattr(default, name)]
    return ",".join(changed) or "default"


def figures(scores) -> dict[str, float]:
    """The figures of the table; spill where it was measured."""
    return {label: float(scores[key]) for key, label in FIGURES.items() if key in scores}


if __name__ == "__main__":
    main()
