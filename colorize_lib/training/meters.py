"""Running averages of losses."""

from collections.abc import Iterable

import torch


class AverageMeter:
    """A running average of a number: `update(value, count)`, then `avg`."""

    def __init__(self, total: float = 0.0, count: int = 0):
        self.sum, self.count = total, count

    def reset(self) -> None:
        """Start anew."""
        self.sum, self.count = 0.0, 0

    def update(self, value: float, count: int = 1) -> None:
        """Add `value` with the weight `count`."""
        self.sum += value * count
        self.count += count

    @property
    def avg(self) -> float:
        """The average so far; NaN before the first update."""
        return self.sum / self.count if self.count else float("nan")


def create_loss_meters(
    names: Iterable[str] = ("loss_D_fake", "loss_D_real", "loss_D", "loss_G_GAN", "loss_G_L1", "loss_G"),
) -> dict[str, AverageMeter]:
    """One meter for each loss, by name."""
    return {name: AverageMeter() for name in names}


def update_losses(losses: torch.Tensor, meters: dict[str, AverageMeter], count: int = 1) -> None:
    """Add one step's losses, (len(meters),) in the order of the meters, each with the weight `count`."""
    for meter, value in zip(meters.values(), losses.tolist(), strict=True):
        meter.update(value, count)


def log_results(meters: dict[str, AverageMeter]) -> str:
    """The averages as one line of text."""
    return ", ".join(f"{name} {meter.avg:.5f}" for name, meter in meters.items())
