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
from colorize_lib.data.loader import LabLoader
from colorize_lib.models.light import LightConfig, build_light
from colorize_lib.training.distribution import DistributionConfig, DistributionModel, set_prior
from colorize_lib.training.gan import GanConfig, MainModel
from colorize_lib.training.trainable import TrainableModel


class Labelled:
    """The second folder: its pictures, the numbers of their classes, which of them to train on, drawn by the seed."""

    def __init__(self, photos: Photographs, seed: int, fields: dict):
        rows, self.pixels = photos.second
        self.labels = rows["class"].map(sorted(rows["class"].unique()).index).to_numpy()
        self.classes = int(self.labels.max()) + 1
        drawn = np.random.default_rng(seed).permutation(np.flatnonzero(rows.split == "train"))
        self.chosen, self.val = np.sort(drawn[: fields["photographs"]]), np.flatnonzero(rows.split == "val")
        self.photos, self.seed, self.batch, self.size = photos, seed, fields["batch"], fields["size"]

    def train_dl(self, rows: np.ndarray) -> LabLoader:
        """Batches of these rows, shuffled and cropped to the size."""
        augment, labels = Augment(self.size), self.labels[rows]
        return self.photos.on_device(
            self.pixels[rows], self.batch, train=True, seed=self.seed, augment=augment, labels=labels
        )

    def plain_dl(self, rows: np.ndarray) -> LabLoader:
        """These rows in order, at the size."""
        dl = self.photos.on_device(self.pixels[rows], 100, train=False, labels=self.labels[rows])
        return shrunk(dl, self.size)


def pretext(fields: dict, seed: int, photos: Photographs, accelerator) -> dict:
    """A ResNet18 that has learned nothing, to colour, or classes, and what it is then worth to a classifier."""
    second = Labelled(photos, seed, fields)
    size, lr, learns = fields["size"], fields["lr"], fields["learns"]
    config = LightConfig(size=size, encoder="resnet18", head="ab" if learns == "cgan" else "bins")
    net = build_light(config, "random").to(photos.device)
    encoder, epochs = net.encoder, []
    if learns == "labels":
        epochs = learn_labels(encoder, second, fields, accelerator)
    elif learns != "nothing":
        train_dl = second.train_dl(second.chosen)
        if learns == "cgan":
            model = MainModel(net, GanConfig(lr_G=lr, lr_D=lr), accelerator, discriminator("16"))
        else:
            set_prior(net, train_dl)
            steps = fields["epochs"] * len(train_dl)
            recipe = DistributionConfig(steps, lr, 1.0, frozen_levels=0, ema_decay=0.99)
            model = DistributionModel(net, recipe, accelerator)
        epochs = train(model, train_dl, lambda own: {}, fields["epochs"])
        encoder = model.generator.encoder
    val_dl = second.plain_dl(second.val[:2000])
    of_chosen = second.labels[second.chosen]
    few = np.concatenate([second.chosen[of_chosen == k][:10] for k in range(second.classes)])
    probed = probe(encoder, second.plain_dl(second.chosen[:8000]), val_dl, size)
    tuned = fine_tuned(encoder, second.train_dl(few), val_dl, second.classes)
    rights = {"probe": probed["right"].tolist(), "finetuned": tuned.tolist()}
    judge = {"probed": {name: float(np.mean(each)) for name, each in rights.items()}}
    return {"judge": judge, "photographs": rights, "epochs": epochs}


def learn_labels(encoder: nn.Module, second: Labelled, fields: dict, accelerator) -> list:
    """Train an encoder on the second folder's classes, with the fields of a pretext arm: the epochs' losses."""
    train_dl = second.train_dl(second.chosen)
    steps = fields["epochs"] * len(train_dl)
    model = ClassModel(encoder, second.classes, steps, fields["lr"], accelerator)
    return train(model, train_dl, lambda own: {}, fields["epochs"])


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
