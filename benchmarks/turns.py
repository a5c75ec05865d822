"""Trainings that take turns on one machine, each in a process of its own.

In one process the settings of one side's memory allocator would be the other's too.
"""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
from reference import timed


def own_process() -> ProcessPoolExecutor:
    """A fresh process; work is given to it by `submit`."""
    usual, spawn = multiprocessing.get_start_method(), multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, spawn, initializer=_start_workers_by, initargs=(usual,))


def _start_workers_by(method: str) -> None:
    """A spawned process would spawn its loader's workers too, each importing torch; in a script they start as usual."""
    multiprocessing.set_start_method(method, force=True)


def prepare(
    process: ProcessPoolExecutor, make: Callable[..., Iterator], *arguments: Any, device: torch.device
) -> float:
    """Have `make(*arguments)` build a training there and warm it up: an iterator, each of whose items is an iteration.

    Returns what an iteration takes of a GPU's memory beyond what is held between two, in GB; 0 without a GPU.
    """
    return process.submit(_prepare, make, arguments, device).result()


def turn(process: ProcessPoolExecutor, iterations: int) -> float:
    """Seconds of so many iterations of the training that is prepared there."""
    return process.submit(_turn, iterations).result()


def _prepare(make: Callable[..., Iterator], arguments: tuple, device: torch.device) -> float:
    global _steps, _device
    _steps, _device = make(*arguments), device
    timed(_steps, 2, device)
    if device.type != "cuda":
        return 0.0
    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    timed(_steps, 1, device)
    return (torch.cuda.max_memory_allocated() - held) / 1e9


def _turn(iterations: int) -> float:
    return timed(_steps, iterations, _device)
