"""Arms of S4's networks on CIFAR-10."""

import numpy as np
import pandas as pd
import torch
from fitting import rounded, train
from photographs import Photographs
from torch import nn

from colorize_lib import color
from colorize_lib.data.cifar10 import make_image_loaders
from colorize_lib.evaluation import collapse, hues
from colorize_lib.models import build_discriminator, build_generator
from colorize_lib.models.cifar import CifarConfig
from colorize_lib.models.painting import as_ab, colorize_batch
from colorize_lib.training.gan import GanConfig, MainModel


def cifar(fields: dict, seed: int, photos: Photographs, accelerator) -> dict:
    """S4's networks on CIFAR-10; every third test image is left to choose by."""
    train_images, test_images = photos.images
    own = np.flatnonzero(train_images.labels < fields["classes"])
    chosen = np.sort(np.random.default_rng(seed).permutation(own)[: fields["photographs"]])
    judged = np.flatnonzero(
        (np.arange(len(test_images.images)) % 3 > 0) & (test_images.labels < fields["judged_classes"])
    )
    train_images, test_images = (
        type(one)(one.images[rows], one.labels[rows], one.classes)
        for one, rows in ((train_images, chosen), (test_images, judged))
    )
    train_dl, judge_dl = make_image_loaders(train_images, test_images, fields["batch"], seed, photos.device)
    names = ("output", "activation", "downsample", "norm", "final")
    config = CifarConfig(**{name: fields[name] for name in names})
    weights = {name: fields[name] for name in ("lambda_L1", "lambda_cosine", "lambda_diversity")}
    objective = GanConfig(fields["lr"], fields["lr"], **weights)
    model = MainModel(build_generator(config), objective, accelerator, build_discriminator(config))
    detailed = collapse.detailed_validation(test_images.of_classes(("ship", "airplane")))

    def score(net: nn.Module) -> dict[str, float]:
        found = detailed(net, judge_dl)
        return {"tune": found.pop("val_L1")} | found

    epochs = train(model, train_dl, score, fields["epochs"])
    epochs[-1] |= half_gains(epochs, hues.grey_hue_errors(judge_dl))
    each = [
        (as_ab(colorize_batch(model.generator, batch["L"])) - batch["ab"]).abs().mean(dim=(1, 2, 3)) * color.AB_SCALE
        for batch in judge_dl
    ]
    l1 = torch.cat(each).cpu().numpy()
    judge = {"painted": {"l1_ab": float(l1.mean()), "colorfulness": epochs[-1]["val_colorfulness"]}}
    shown = [{name: float(f"{value:.5g}") for name, value in row.items()} for row in epochs]
    return {"judge": judge, "photographs": {"l1_ab": rounded(l1[:500])}, "epochs": shown}


def half_gains(epochs: list[dict], grey: dict[str, float]) -> dict[str, float]:
    """The epoch by which half of the final gain over grey is had: of red, and the mean of the other hues; one after the
    last for a hue that gained nothing."""
    history = pd.DataFrame(epochs).assign(kind="epoch", epoch=range(1, len(epochs) + 1))
    found = {hue: at or len(epochs) + 1 for hue, at in collapse.half_gain_epochs(history, grey).items()}
    others = [at for hue, at in found.items() if hue not in ("red", "near-grey")]
    return {"half_gain_red": found["red"], "half_gain_others": float(np.mean(others))}
