"""Arms of an encoder that learns something before it is asked for classes."""

import numpy as np
import torch
from fitting import shrunk, train
from photographs import Photographs
from probe import fine_tuned, probe
from torch import nn
from torch.nn import functional as F

from colorize_lib.data.augment import Augment
from colorize_lib.models.light import LightConfig, build_light
from colorize_lib.training.distribution import DistributionConfig, DistributionModel, set_prior
from colorize_lib.training.trainable import TrainableModel


def pretext(fields: dict, seed: int, photos: Photographs, accelerator) -> dict:
    """A ResNet18 that has learned nothing, to colour, or classes, and what it is then worth to a classifier."""
    rows, pixels = photos.second
    names = sorted(rows["class"].unique())
    labels = rows["class"].map(names.index).to_numpy()
    train_rows, val_rows = (np.flatnonzero(rows.split == split) for split in ("train", "val"))
    chosen = np.sort(np.random.default_rng(seed).permutation(train_rows)[: fields["photographs"]])
    size, batch = fields["size"], fields["batch"]
    augment = Augment(size)
    train_dl = photos.on_device(pixels[chosen], batch, train=True, seed=seed, augment=augment, labels=labels[chosen])
    net = build_light(LightConfig(size=size, encoder="resnet18"), "random").to(photos.device)
    encoder, epochs = net.encoder, []
    steps = fields["epochs"] * len(train_dl)
    if fields["learns"] == "colours":
        set_prior(net, train_dl)
        model = DistributionModel(
            net, DistributionConfig(steps, fields["lr"], 1.0, frozen_levels=0, ema_decay=0.99), accelerator
        )
        epochs = train(model, train_dl, lambda own: {}, fields["epochs"])
        encoder = model.generator.encoder
    elif fields["learns"] == "labels":
        model = ClassModel(encoder, len(names), steps, fields["lr"], accelerator)
        epochs = train(model, train_dl, lambda own: {}, fields["epochs"])
    plain = [
        shrunk(photos.on_device(pixels[of], 100, train=False, labels=labels[of]), size)
        for of in (chosen[:8000], val_rows[:2000])
    ]
    few = np.concatenate([chosen[labels[chosen] == k][:10] for k in range(len(names))])
    few_dl = photos.on_device(pixels[few], batch, train=True, seed=seed, augment=augment, labels=labels[few])
    probed = probe(encoder, *plain, size)
    tuned = fine_tuned(encoder, few_dl, plain[1], len(names))
    rights = {"probe": probed["right"].tolist(), "finetuned": tuned.tolist()}
    judge = {"probed": {name: float(np.mean(each)) for name, each in rights.items()}}
    return {"judge": judge, "photographs": rights, "epochs": epochs}


class ClassModel(TrainableModel):
    """An encoder and a linear layer, trained on classes by AdamW along one cosine."""

    loss_names = ("loss_class",)

    def __init__(self, encoder: nn.Module, classes: int, steps: int, lr: float, accelerator):
        super().__init__(accelerator)
        self.net_G = self.prepare(nn.ModuleDict({"encoder": encoder, "last": nn.Linear(encoder.channels[4], classes)}))
        self.opt_G = accelerator.prepare_optimizer(torch.optim.AdamW(self.net_G.parameters(), lr, weight_decay=0.05))
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.opt_G.optimizer, lr, steps)

    def setup_input(self, batch: dict) -> None:
        super().setup_input(batch)
        self.label = batch["label"].to(self.accelerator.device)

    def optimize(self) -> None:
        seen = self.net_G["encoder"](self.L)[-1].mean(dim=(2, 3))
        self.loss_class = F.cross_entropy(self.net_G["last"](seen), self.label)
        self.descend(self.loss_class)
        self.schedule.step()
