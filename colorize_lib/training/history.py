"""history.csv: what a run logged, in epochs and iterations of its whole life."""

from pathlib import Path

import pandas as pd

from ..files import atomic_path
from ..runs import processes


class History:
    """A row per logged iteration and per epoch, written to history.csv whole, so that it is never half a row.

    In a run of several processes the first one writes the file; all have the rows.
    The rows are in every checkpoint too, and a resumed run takes them from there: the file may be another run's.
    """

    def __init__(self, path: Path):
        self.path = path
        self.rows: list[dict] = []

    def add(self, row: dict) -> None:
        """Append a row and write the file."""
        self.replace([*self.rows, row])

    def replace(self, rows: list[dict]) -> None:
        """Have these rows and write the file."""
        self.rows = rows
        if processes.is_main():
            with atomic_path(self.path) as partial:
                self.table().to_csv(partial, index=False)

    def table(self) -> pd.DataFrame:
        """All rows; columns kind, epoch, iteration, seconds, the losses, the validation figures."""
        return pd.DataFrame(self.rows)
