"""What all kinds of arms need: a training loop, smaller pictures, and the figures of a record."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from colorize_lib import color
from colorize_lib.data.loader import LabLoader
from colorize_lib.data.shipped import showcase
from colorize_lib.evaluation.scores import Scores
from colorize_lib.training.trainable import TrainableModel

FIGURES = ["l1_ab", "auc", "auc_rebalanced", "colorfulness", "colorfulness_gap_per_image"]


def train(model: TrainableModel, train_dl: LabLoader, score, epochs: int, iterations: int = 0, first: int = 0) -> list:
    """Epochs' mean losses by name, and what `score` says of the generator after each; `iterations`, if any, in six
    parts in place of epochs. first: number of the first epoch, for the order of the photographs."""
    part, done, rows, losses = iterations // 6 or len(train_dl), 0, [], []
    epoch = first
    while len(rows) < (6 if iterations else epochs):
        train_dl.set_epoch(epoch)
        model.set_modes()
        for batch in train_dl:
            model.setup_input(batch)
            model.step()
            losses.append(model.losses())
            done += 1
            if done % part == 0:
                means = torch.stack(losses).mean(dim=0).tolist()
                rows.append(dict(zip(model.loss_names, means, strict=True)) | score(model.generator))
                losses = []
                model.set_modes()
                if len(rows) == 6 and iterations:
                    break
        epoch += 1
    return rows


def shrunk(dl: LabLoader, size: int) -> LabLoader:
    """A loader of the same pictures at `size`, in the same memory."""
    rgb = dl.dataset.photographs.permute(0, 3, 1, 2)
    parts = [F.interpolate(one.float(), size, mode="bilinear", antialias=True) for one in rgb.split(500)]
    dl.dataset.photographs = torch.cat([one.round().byte().permute(0, 2, 3, 1) for one in parts])
    return dl


def sums(scores: Scores) -> dict[str, np.ndarray]:
    """What the figures of photographs are made of; `close` / `weight` is the rebalanced AuC."""
    rarity = scores._rarity
    unit = (scores.bins_truth @ rarity).mean()
    named = {name: scores.images[name].to_numpy() for name in ("l1_ab", "colorfulness_gap_per_image")}
    return named | {"close": scores.closeness @ rarity / unit, "weight": scores.bins_truth @ rarity / unit}


def means(scores: dict[str, Scores]) -> dict[str, dict[str, float]]:
    """The figures that a record shows, by answer."""
    return {name: one.figures()[FIGURES].iloc[0].round(4).to_dict() for name, one in scores.items()}


def rounded(values: np.ndarray | dict) -> list | dict:
    """Numbers for a record: four digits."""
    if isinstance(values, dict):
        return {name: rounded(one) for name, one in values.items()}
    return [float(f"{value:.4g}") for value in values]


@torch.no_grad()
def pictures(paint: Callable[[torch.Tensor], torch.Tensor], size: int, device: torch.device) -> np.ndarray:
    """The showcase as L (N,1,H,W) -> sRGB (N,3,H,W) paints it, side by side: uint8 (size, 8 size, 3)."""
    return np.concatenate(list(color.to_uint8(paint(showcase("folder", 0, size)["L"].to(device))).numpy()), axis=1)


def count(net: nn.Module) -> int:
    """How many parameters a network has."""
    return sum(parameter.numel() for parameter in net.parameters())
