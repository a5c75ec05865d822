"""Arms of an encoder that learns something before it is asked for classes."""

import numpy as np
import torch
from fitting import shrunk, train
from networks import discriminator
from photographs import Photographs
from probe import fine_tuned, probe
from torch import nn
from torch.nn import functional as F

from colorize_lib.data.augment import Augment
from colorize_lib.models.light import LightConfig, build_light
from colorize_lib.training.distribution import DistributionConfig, DistributionModel, set_prior
from colorize_lib.training.gan import GanConfig, MainModel
from colorize_lib.training.trainable import TrainableModel


def pretext(fields: dict, seed: int, photos: Photographs, accelerator) -> dict:
    """A ResNet18 that has learned nothing, to colour, or classes, and what it is then worth to a classifier."""
    pixels, labels, chosen, val_rows = labelled(photos, seed, fields["photographs"])
    size, batch, lr = fields["size"], fields["batch"], fields["lr"]
    augment = Augment(size)
    train_dl = photos.on_device(pixels[chosen], batch, train=True, seed=seed, augment=augment, labels=labels[chosen])
    head = "ab" if fields["learns"] == "cgan" else "bins"
    net = build_light(LightConfig(size=size, encoder="resnet18", head=head), "random").to(photos.device)
    encoder, epochs, classes = net.encoder, [], int(labels.max()) + 1
    steps = fields["epochs"] * len(train_dl)
    if fields["learns"] == "colours":
        set_prior(net, train_dl)
        config = DistributionConfig(steps, lr, 1.0, frozen_levels=0, ema_decay=0.99)
        model = DistributionModel(net, config, accelerator)
        epochs = train(model, train_dl, lambda own: {}, fields["epochs"])
        encoder = model.generator.encoder
    elif fields["learns"] == "cgan":
        model = MainModel(net, GanConfig(lr_G=lr, lr_D=lr), accelerator, discriminator("16"))
        epochs = train(model, train_dl, lambda own: {}, fields["epochs"])
    elif fields["learns"] == "labels":
        epochs = train(ClassModel(encoder, classes, steps, lr, accelerator), train_dl, lambda own: {}, fields["epochs"])
    plain = [
        shrunk(photos.on_device(pixels[of], 100, train=False, labels=labels[of]), size)
        for of in (chosen[:8000], val_rows[:2000])
    ]
    few = np.concatenate([chosen[labels[chosen] == k][:10] for k in range(classes)])
    few_dl = photos.on_device(pixels[few], batch, train=True, seed=seed, augment=augment, labels=labels[few])
    probed = probe(encoder, *plain, size)
    tuned = fine_tuned(encoder, few_dl, plain[1], classes)
    rights = {"probe": probed["right"].tolist(), "finetuned": tuned.tolist()}
    judge = {"probed": {name: float(np.mean(each)) for name, each in rights.items()}}
    return {"judge": judge, "photographs": rights, "epochs": epochs}


def labelled(photos: Photographs, seed: int, photographs: int) -> tuple[np.ndarray, ...]:
    """The second folder: pixels, numbers of the classes, rows to train on drawn by the seed, rows to validate on."""
    rows, pixels = photos.second
    labels = rows["class"].map(sorted(rows["class"].unique()).index).to_numpy()
    train_rows, val_rows = (np.flatnonzero(rows.split == split) for split in ("train", "val"))
    return pixels, labels, np.sort(np.random.default_rng(seed).permutation(train_rows)[:photographs]), val_rows


def learn_labels(encoder: nn.Module, photos: Photographs, seed: int, fields: dict, accelerator) -> None:
    """Train an encoder on the second folder's classes with a pretext arm's settings."""
    pixels, labels, chosen, _ = labelled(photos, seed, fields["photographs"])
    augment = Augment(fields["size"])
    dl = photos.on_device(
        pixels[chosen], fields["batch"], train=True, seed=seed, augment=augment, labels=labels[chosen]
    )
    model = ClassModel(encoder, int(labels.max()) + 1, fields["epochs"] * len(dl), fields["lr"], accelerator)
    train(model, dl, lambda own: {}, fields["epochs"])


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
