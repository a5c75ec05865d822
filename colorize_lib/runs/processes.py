"""The processes of one run, as a launcher (`accelerate launch`, `notebook_launcher`, `torchrun`) numbers them.

Read from the environment: accelerate would choose a device and wait for the other processes before it answered. The
first process alone prints and writes.
"""

import os


def count() -> int:
    """How many processes the run has."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def index() -> int:
    """Which of them this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_main() -> bool:
    """True in the first process."""
    return index() == 0


def say(line: str) -> None:
    """Print a line, once in the run."""
    if is_main():
        print(line, flush=True)
