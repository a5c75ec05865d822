"""Training a generator whose colour is a distribution over ab bins: weighted cross-entropy, AdamW, one cosine."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd
import torch
from accelerate import Accelerator
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..data.augment import Augment
from ..data.loader import LabLoader
from ..models.distribution import soft_encode
from ..models.light import LightUnet
from .loop import train_model
from .trainable import Batch, TrainableModel

PRIOR_PHOTOGRAPHS = 5_000  # enough to count how often each bin occurs


@dataclass(frozen=True)
class DistributionConfig:
    """The optimiser and its schedule."""

    steps: int  # of the whole schedule, over all the sizes of a run
    lr: float = 1e-3  # highest learning rate of decoder and head
    encoder_lr: float = 0.15  # the encoder's, as a share of it
    weight_decay: float = 0.05  # not of biases and norms
    warmup: float = 0.05  # share of the steps with a rising rate
    lowest: float = 0.01  # the last rate, as a share of the highest
    ema_decay: float = 0.998  # of the moving average of the weights, which is judged and saved
    frozen_levels: int = 3  # of the encoder, finest first: they keep their weights and statistics


class DistributionModel(TrainableModel):
    """A LightUnet with a ColourDistribution, trained on its loss; see `DistributionConfig`.

    Call `set_prior` first. The step is kept with the optimiser, so that a resumed run goes on in its schedule.
    """

    loss_names = ("loss_bins",)
    keeps_statistics = True  # they are averaged with the weights, and those of frozen levels must stay

    def __init__(self, net_G: LightUnet, config: DistributionConfig, accelerator: Accelerator | None = None):
        super().__init__(accelerator)
        self.config, self.head, self.frozen_levels = config, net_G.head, config.frozen_levels
        self._freeze(net_G)  # before several processes agree on what has gradients
        self.net_G = self.prepare(net_G.to(memory_format=torch.channels_last))
        groups = parameter_groups(net_G, config)
        self.opt_G = self.accelerator.prepare_optimizer(torch.optim.AdamW(groups, config.lr, fused=True))
        self.average_generator(config.ema_decay)

    def set_modes(self) -> None:
        """Training mode, but for the frozen levels of the encoder."""
        super().set_modes()
        self._freeze(self.networks["net_G"])

    def _freeze(self, net: LightUnet) -> None:
        for number, level in enumerate(net.encoder.levels):
            for module in level:
                module.train(number >= self.frozen_levels).requires_grad_(number >= self.frozen_levels)

    def optimize(self) -> None:
        """One step of AdamW at the schedule's rate."""
        step = self.opt_G.param_groups[0].get("step_number", 0)
        factor = rate(step / self.config.steps, self.config.warmup, self.config.lowest)
        for group in self.opt_G.param_groups:
            group["lr"], group["step_number"] = group["highest"] * factor, step + 1
        self.loss_bins = self.head.loss(self.net_G(self.L, logits=True), self.ab)
        self.descend(self.loss_bins)


def train_distribution(
    net_G: LightUnet,
    train_dl: LabLoader,
    val_dl: LabLoader,
    epochs: int,
    run,
    score,
    size: int,
    *loop,
    lr=1e-3,
    accelerator=None,
) -> pd.DataFrame:
    """The recipe of the shipped generator, and its history, whose `val_bins` is the loss on val_dl beside `score`'s.

    Two thirds of the epochs at two thirds of `size` with the encoder's three finest levels frozen, the rest at `size`
    with the finest frozen, on crops (`Augment`) of train_dl's photographs; one fall of the learning rate over both. In
    the end net_G has the moving average of the weights. loop: as in `train_model`, which says what can go wrong.
    """
    set_prior(net_G, train_dl)
    model = DistributionModel(net_G, DistributionConfig(epochs * len(train_dl), lr), accelerator)
    first, small = -(-2 * epochs // 3), max(32, 2 * size // 3 // 32 * 32)
    histories, done, seconds = [], 0, 0.0
    for pixels, own, frozen in ((small, first, 3), (size, epochs - first, 1)):
        if own:
            model.frozen_levels = frozen
            crops = replace(train_dl, augment=Augment(pixels))
            part = run.part(f"{len(histories) + 1}-at-{pixels}px")
            history = train_model(model, crops, val_dl, own, part, partial(with_bins, score), *loop)
            counted = {"epoch": history.epoch + done, "seconds": history.seconds + seconds, "size": pixels}
            histories.append(history.assign(**counted))
            done, seconds = done + own, histories[-1].seconds.max()
    net_G.load_state_dict(model.generator.state_dict())
    return pd.concat(histories, ignore_index=True)


@torch.no_grad()
def with_bins(score, net: LightUnet, dl: LabLoader) -> dict[str, float]:
    """`score`, and the bins' loss on the same photographs, `val_bins`."""
    net.eval()
    losses = [net.head.loss(net(batch["L"], logits=True), batch["ab"]).item() * len(batch["L"]) for batch in dl]
    return score(net, dl) | {"val_bins": sum(losses) / len(dl.dataset)}


def rate(done: float, warmup: float, lowest: float) -> float:
    """The learning rate as a share of the highest: up in a line, then down along a cosine. done: in [0,1]."""
    if done < warmup:
        return (done + 1e-3) / (warmup + 1e-3)
    return lowest + (1 - lowest) * 0.5 * (1 + math.cos(math.pi * min((done - warmup) / (1 - warmup), 1)))


def parameter_groups(net: LightUnet, config: DistributionConfig) -> list[dict]:
    """Encoder and decoder, each with and without weight decay, as AdamW takes them."""
    norms = {parameter for m in net.modules() if isinstance(m, _BatchNorm) for parameter in m.parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        highest = config.lr * (config.encoder_lr if name.startswith("encoder.") else 1.0)
        decay = 0.0 if parameter in norms or name.endswith(".bias") else config.weight_decay
        groups.setdefault((highest, decay), []).append(parameter)
    return [{"params": own, "highest": lr, "lr": lr, "weight_decay": decay} for (lr, decay), own in groups.items()]


@torch.no_grad()
def set_prior(net: LightUnet, batches: Iterable[Batch]) -> None:
    """Count how often each bin occurs in the first 5,000 photographs of these batches, and keep it in the head."""
    counts, seen = torch.zeros_like(net.head.prior), 0
    for batch in batches:
        index, weight = soft_encode(nn.functional.avg_pool2d(batch["ab"], 4))
        counts.scatter_add_(0, index.flatten().to(counts.device), weight.flatten().to(counts.device))
        seen += len(index)
        if seen >= PRIOR_PHOTOGRAPHS:
            break
    net.head.prior.copy_(counts / counts.sum())
