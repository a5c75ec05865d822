"""Running averages of losses."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch


@dataclass
class AverageMeter:
    """A running average of a number."""

    sum: float = 0.0
    count: int = 0

    def update(self, value: float) -> None:
        """Add `value`."""
        self.sum += value
        self.count += 1

    @property
    def avg(self) -> float:
        """The average so far; NaN before the first update."""
        return self.sum / self.count if self.count else float("nan")


def create_loss_meters(names: Iterable[str]) -> dict[str, AverageMeter]:
    """One meter for each loss, by name."""
    return {name: AverageMeter() for name in names}


def update_losses(losses: torch.Tensor, meters: dict[str, AverageMeter]) -> None:
    """Add one step's losses, (len(meters),) in the order of the meters."""
    for meter, value in zip(meters.values(), losses.tolist(), strict=True):
        meter.update(value)


def log_results(meters: dict[str, AverageMeter]) -> str:
    """The averages as one line of text."""
    return ", ".join(f"{name} {meter.avg:.5f}" for name, meter in meters.items())
