"""The device, precision and seeds of a run."""

import ctypes
import os
import platform
import random
import time
from collections.abc import Callable

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from . import processes

Step = Callable[[], None]  # one training step


def seed_everything(seed: int, deterministic: bool = False) -> None:
    """Seed Python, numpy and torch (all devices); with `deterministic`, refuse operations that are not.

    Call it before CUDA is first used: cuBLAS reads its workspace setting only then.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = not deterministic


def make_accelerator(
    device: str = "auto", mixed_precision: str = "auto", trial: Callable[[], Step] | None = None
) -> Accelerator:
    """The device, precision and processes to train with.

    device: `auto` (CUDA, else MPS, else CPU) or `cpu`. mixed_precision: `no`, `fp16`, `bf16` or `auto`, which is bf16
    on CUDA devices that compute it natively (8.0 and later), fp16 on older ones, on a CPU what `choose_precision`
    finds by `trial` (without one: no), and no elsewhere.
    Under a launcher this is where the processes find each other: each has a GPU of its own, or on a machine without,
    a share of the CPU. On a CPU the process keeps the memory that it frees, see `keep_freed_memory`.
    Raises ValueError for an unknown device.
    """
    if device not in ("auto", "cpu"):
        raise ValueError(f"device {device!r} is unknown; choose auto or cpu (CUDA_VISIBLE_DEVICES chooses the GPU)")
    cuda = device == "auto" and torch.cuda.is_available()
    # Without a GPU a launched process must ask for the CPU: else accelerate takes it for a run of its own.
    cpu = device == "cpu" or ("LOCAL_RANK" in os.environ and not cuda)
    on_cpu = cpu or not (cuda or torch.backends.mps.is_available())
    if on_cpu:
        keep_freed_memory()
    if mixed_precision == "auto" and cuda:
        mixed_precision = "bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp16"
    elif mixed_precision == "auto":
        mixed_precision = choose_precision(trial) if on_cpu and trial is not None else "no"
    return Accelerator(cpu=cpu, mixed_precision=mixed_precision)


def choose_precision(trial: Callable[[], Step]) -> str:
    """`bf16` if this CPU trains faster with it, else `no`; a printed line says what was found.

    Instructions for bf16 are no promise: they speed up products alone, and a network is more. So where the CPU has them
    a step of the run's own network is timed both ways, and bf16 has to win by a tenth. Without them, `no` at once; so
    too in a deterministic run, which must not depend on a timing, and in one of several processes.
    trial: makes a function that does one training step, as `trial_step` does; called only if there is something to
    time, and it leaves torch's random generator as it was.
    """
    can = torch.cpu.get_capabilities()
    if not any(can.get(instructions) for instructions in ("avx512_bf16", "amx_bf16")):
        choice, why = "no", "this CPU has no instructions for bf16"
    elif torch.are_deterministic_algorithms_enabled() or processes.count() > 1:
        choice, why = "no", "a deterministic run, and one of several processes, does not time bf16"
    else:
        seconds = _time_both(trial)
        choice = "bf16" if seconds["bf16"] < 0.9 * seconds["no"] else "no"
        why = f"a training step takes {seconds['bf16']:.3g} s in bf16 and {seconds['no']:.3g} s in full precision"
    processes.say(f"mixed_precision {choice}: {why}")
    return choice


def trial_step(build: Callable[[], nn.Module], batch_size: int, size: int) -> Step:
    """A function that passes random L (batch_size,1,size,size) forward and back through the generator that is built."""
    net = build().train()
    L = torch.rand(batch_size, 1, size, size) * 2 - 1

    def step() -> None:
        net.zero_grad()
        net(L).float().abs().mean().backward()

    return step


def _time_both(trial: Callable[[], Step], turns: int = 2) -> dict[str, float]:
    """Seconds of the fastest step by precision, taken in turns; the first one builds the kernels and does not count."""
    seconds: dict[str, list[float]] = {"no": [], "bf16": []}
    with torch.random.fork_rng(devices=[]):
        step = trial()
        for _ in range(1 + turns):
            for precision, times in seconds.items():
                began = time.perf_counter()
                with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                    step()
                times.append(time.perf_counter() - began)
    return {precision: min(times[1:]) for precision, times in seconds.items()}


def keep_freed_memory() -> None:
    """Have the memory that this process frees kept in it, in place of being handed back to the system.

    A training step frees and takes the same large tensors again and again, and the kernel clears each page that it
    hands out: on a CPU this gives the U-Net and the light generator 1.15 times the speed (docs/speed.md). The process
    then stays as large as it has been. Where the C library is not glibc, nothing happens.
    Source: mallopt(3); a trim threshold of -1 turns trimming off.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
        for parameter, value in ((M_TRIM_THRESHOLD, -1), (M_TOP_PAD, 2**28), (M_MMAP_MAX, 0)):
            mallopt(parameter, value)
