"""Progress: a live bar when a person watches, one line every few percent when the output goes to a file or a report."""

import os
import sys
import time

from tqdm.auto import tqdm

from . import processes

LINES = "COLORIZE_LAB_PROGRESS"  # set to "lines" by the headless runner
SECONDS_BETWEEN_LINES = 10  # what takes less than this prints nothing
PERCENT_BETWEEN_LINES = 5


def is_headless() -> bool:
    """True if notebooks are run by `notebooks/tools/run.py`, with nobody watching."""
    return os.environ.get(LINES) == "lines"


class Progress:
    """Counts up to `total` steps of `label`; use as a context manager and call `update`. The first process shows it.

    start: steps done before, in an earlier run; they count towards the share shown, not towards the time left.
    """

    def __init__(self, total: int, label: str, start: int = 0):
        self.total, self.label, self.start, self.done, self.next_line = total, label, start, start, 0.0
        live = processes.is_main() and not is_headless() and ("ipykernel" in sys.modules or sys.stderr.isatty())
        self.bar = tqdm(total=total, initial=start, desc=label, leave=False) if live else None
        self.began = self.last_line = time.monotonic()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        if self.bar is not None:
            self.bar.close()

    def update(self, steps: int = 1) -> None:
        """Count `steps` more."""
        self.done += steps
        if self.bar is not None:
            self.bar.update(steps)
            return
        percent, now = 100 * self.done / max(self.total, 1), time.monotonic()
        if percent >= self.next_line and now - self.last_line >= SECONDS_BETWEEN_LINES:
            self.next_line, self.last_line = PERCENT_BETWEEN_LINES * (1 + percent // PERCENT_BETWEEN_LINES), now
            left = (now - self.began) * (self.total - self.done) / max(self.done - self.start, 1)
            processes.say(f"{self.label}: {percent:3.0f} % of {self.total:,}, {left:,.0f} s left")
