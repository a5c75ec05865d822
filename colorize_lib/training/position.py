"""Where a run stands: its position, and the running averages of its losses."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

Meters = dict[str, list]  # by loss, its sum and count: a running average


def create_loss_meters(names: Iterable[str]) -> Meters:
    """One meter for each loss, by name."""
    return {name: [0.0, 0] for name in names}


def averages(meters: Meters) -> dict[str, float]:
    """The averages so far; NaN before the first step."""
    return {name: total / count if count else math.nan for name, (total, count) in meters.items()}


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
            setattr(position, meters, fresh | getattr(position, meters))
        return position
