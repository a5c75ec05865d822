"""history.csv: what a run logged, in epochs and iterations of its whole life."""

import csv
from pathlib import Path

import pandas as pd

from .files import atomic_path


class History:
    """history.csv: a row per logged iteration and per epoch; rewritten whole, so that it is never half a row."""

    def __init__(self, path: Path):
        self.path = path
        self.rows = _read(path) if path.exists() else []

    def add(self, row: dict) -> None:
        """Append a row and write the file."""
        self.rows.append(row)
        self.write()

    def cut(self, epoch: int, iteration: int) -> None:
        """Drop the rows that come after this position: the epochs over `epoch`, the iterations over `iteration`."""
        limit = {"epoch": epoch, "iteration": iteration}
        self.rows = [row for row in self.rows if row[row["kind"]] <= limit[row["kind"]]]
        if self.path.exists():
            self.write()

    def write(self) -> None:
        with atomic_path(self.path) as partial:
            self.table().to_csv(partial, index=False)

    def table(self) -> pd.DataFrame:
        """All rows; columns kind, epoch, iteration, seconds, the losses, the validation figures."""
        return pd.DataFrame(self.rows)


def _read(path: Path) -> list[dict]:
    """The rows of a history.csv, every float to the last bit."""
    kinds = {"kind": str, "epoch": int, "iteration": int}
    with open(path, newline="") as file:
        return [
            {name: kinds.get(name, float)(text) for name, text in row.items() if text} for row in csv.DictReader(file)
        ]
