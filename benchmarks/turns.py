"""Trainings that take turns on one machine, each in a process of its own; and the memory of this one.

In one process the settings of one side's memory allocator would be the other's too.
"""

import itertools
import multiprocessing
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch


def timed(steps: Iterator, count: int | None, device: torch.device) -> float:
    """Seconds for the next `count` items of an iterator, or all, everything on the device finished."""
    finish = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    finish()
    begin = time.perf_counter()
    for _ in itertools.islice(steps, count):
        pass
    finish()
    return time.perf_counter() - begin


def own_process() -> ProcessPoolExecutor:
    """A fresh process; work is given to it by `submit`."""
    usual, spawn = multiprocessing.get_start_method(), multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, spawn, initializer=_start_workers_by, initargs=(usual,))


def _start_workers_by(method: str) -> None:
    """A spawned process would spawn its loader's workers too, each importing torch; in a script they start as usual."""
    multiprocessing.set_start_method(method, force=True)


def prepare(process: ProcessPoolExecutor, make: Callable[..., Iterator], *arguments: Any, device: torch.device) -> None:
    """Have `make(*arguments)` build a training there, an iterator over iterations, and warm it up."""
    process.submit(_prepare, make, arguments, device).result()


def turn(process: ProcessPoolExecutor, iterations: int) -> float:
    """Seconds of so many iterations of the training that is prepared there."""
    return process.submit(_turn, iterations).result()


_here = threading.local()  # the training that is prepared in this process


def _prepare(make: Callable[..., Iterator], arguments: tuple, device: torch.device) -> None:
    _here.steps, _here.device = make(*arguments), device
    timed(_here.steps, 2, device)


def _turn(iterations: int) -> float:
    return timed(_here.steps, iterations, _here.device)


def peak_memory() -> float:
    """The largest resident set of this process so far, in GB, Python and its packages included."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux, whose ru_maxrss starts at that of the parent
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
