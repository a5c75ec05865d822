"""Arms of the light network, as a distribution or on L1."""

from functools import partial

import networks
import numpy as np
import torch
from fitting import count, means, pictures, sums, train
from photographs import CACHE, Photographs
from pretext import Labelled, learn_labels
from torch import nn
from torch.nn import functional as F

from colorize_lib import color
from colorize_lib.data.augment import Augment
from colorize_lib.data.loader import LabLoader
from colorize_lib.evaluation.scores import evaluate
from colorize_lib.models import distribution
from colorize_lib.models.light import LightConfig, build_light
from colorize_lib.models.painting import colorize_batch
from colorize_lib.training.distribution import DistributionConfig, DistributionModel, set_prior

READINGS = {"bins": (0.0, 0.8), "ab": (1.0, 1.6, 2.0)}  # vividness, or what L1's colours are multiplied by


def colours(fields: dict, seed: int, photos: Photographs, accelerator) -> dict:
    """The light network, as a distribution or on L1."""
    augment = Augment(fields["size"], area=(fields["least_area"], 1.0))
    if not fields["vary_lightness"]:
        augment = Augment(fields["size"], area=augment.area, brightness=0, contrast=0, gamma=0, blur=0)
    pixels = photos.drawn(fields["photographs"], fields["extra"], seed)
    train_dl = photos.on_device(pixels, fields["batch"], train=True, seed=seed, augment=augment)
    distribution.UNIFORM = fields["uniform"]
    widths = tuple(round(fields["width"] * channels) for channels in (256, 160, 96))
    config, weights = LightConfig(size=CACHE, encoder=fields["encoder"], widths=widths), fields["encoder_weights"]
    net = build_light(config, "random" if weights == "labels" else weights)
    if weights == "labels":
        second = Labelled(photos, seed, fields["pretext"])
        learn_labels(net.encoder, second, fields["pretext"], accelerator)
    if "at_eighth" in fields:
        net.ups[1].append(networks.AT_EIGHTH[fields["at_eighth"]](widths[1]))
    if fields["head"] == "ab":
        net.head = PlainColour(widths[-1], 2, kernel_size=1)
    else:
        set_prior(net, train_dl)
    iterations = fields.get("iterations", 0)
    config = DistributionConfig(
        iterations or fields["epochs"] * len(train_dl),
        fields["lr"],
        ema_decay=0.99,
        frozen_levels=fields["frozen_levels"],
    )
    model = DistributionModel(net, config, accelerator)
    if fields["loss_at"] != 4:
        model.head = LossAt(net.head, 4 // fields["loss_at"])
    tune_dl = photos.loader("tune")
    epochs = train(model, train_dl, lambda own: {"tune": mean_loss(own, tune_dl)}, fields["epochs"], iterations)
    readings = READINGS[fields["head"]]
    main = readings[0] if iterations else readings[1]
    judged = colours_judged(model.generator, photos.loader("judge"), readings, main)
    return judged | {"epochs": epochs, "parameters": count(net)}


class PlainColour(nn.Conv2d):
    """A head that paints ab and learns by L1, where ColourDistribution believes in bins."""

    def loss(self, ab_hat: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:
        return F.l1_loss(ab_hat.float(), F.adaptive_avg_pool2d(ab, ab_hat.shape[2:]))


class LossAt(nn.Module):
    """A head whose loss sees its colours enlarged."""

    def __init__(self, head: nn.Module, scale: int):
        super().__init__()
        self.head, self.scale = head, scale

    def loss(self, colours: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:
        return self.head.loss(F.interpolate(colours, scale_factor=self.scale, mode="bilinear"), ab)


@torch.no_grad()
def mean_loss(net: nn.Module, dl: LabLoader) -> float:
    """The head's loss over a loader's photographs, in eval mode."""
    net.eval()
    return float(np.mean([net.head.loss(net(batch["L"], logits=True), batch["ab"]).item() for batch in dl]))


def colours_judged(net: nn.Module, dl: LabLoader, readings: tuple[float, ...], main: float) -> dict:
    """Figures at every reading, and at the main one every photograph's, for paired intervals."""

    def paint(reading: float, L: torch.Tensor) -> torch.Tensor:
        if isinstance(net.head, PlainColour):
            return color.lab_to_rgb(L, reading * colorize_batch(net, L))
        net.vividness = reading
        return color.lab_to_rgb(L, colorize_batch(net, L))

    scores = evaluate({str(reading): partial(paint, reading) for reading in readings}, dl)
    of_photographs = {name: np.round(each, 3).tolist() for name, each in sums(scores[str(main)]).items()}
    shown = pictures(partial(paint, main), CACHE, dl.device)
    return {"judge": means(scores), "reading": str(main), "photographs": of_photographs, "pictures": shown}
