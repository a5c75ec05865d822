"""Where a run stands: its position, and the running averages of its losses."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import NamedTuple

import torch


class AverageMeter(NamedTuple):
    """A running average of a number; in JSON, its sum and count."""

    sum: float = 0.0
    count: int = 0

    @property
    def avg(self) -> float:
        """The average so far; NaN before the first update."""
        return self.sum / self.count if self.count else float("nan")


Meters = dict[str, AverageMeter]  # by loss


def create_loss_meters(names: Iterable[str]) -> Meters:
    """One meter for each loss, by name."""
    return {name: AverageMeter() for name in names}


def update_losses(losses: torch.Tensor, meters: Meters) -> None:
    """Add one step's losses, (len(meters),) in the order of the meters."""
    for (name, (total, count)), value in zip(list(meters.items()), losses.tolist(), strict=True):
        meters[name] = AverageMeter(total + value, count + 1)


def log_results(meters: Meters) -> str:
    """The averages as one line of text."""
    return ", ".join(f"{name} {meter.avg:.5f}" for name, meter in meters.items())


@dataclass
class Position:
    """Where a run stands, beside its model; its `vars` can be written as JSON."""

    epoch_meters: Meters  # since the epoch began
    window_meters: Meters  # since the last logged iteration
    epoch: int = 0  # whole epochs done
    batch: int = 0  # batches of the next epoch done
    seconds: float = 0.0  # of training, over all resumed parts
    best_L1: float = math.inf  # lowest validation L1 so far
    history: list[dict] = field(default_factory=list)  # the rows of history.csv

    @classmethod
    def of(cls, note: dict, names: Iterable[str]) -> "Position":
        """The position that a checkpoint's note describes; a loss that it does not know yet begins there."""
        position, fresh = cls(**{own.name: note[own.name] for own in fields(cls)}), create_loss_meters(names)
        for meters in ("epoch_meters", "window_meters"):
            kept = {name: AverageMeter(*sums) for name, sums in getattr(position, meters).items()}
            setattr(position, meters, fresh | kept)
        return position
