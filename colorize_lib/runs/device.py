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


def make_accelerator(device: str = "auto", mixed_precision: str = "auto", trial=None) -> Accelerator:
    """The device, precision and processes to train with. Under a launcher, the processes find each other here.

    device: `auto` (CUDA, else MPS, else CPU) or `cpu`. mixed_precision: `no`, `fp16`, `bf16` or `auto`: on CUDA bf16
    where it is native (8.0 and later) and fp16 elsewhere, on a CPU what `choose_precision` finds by `trial` (without
    one: no), on MPS no. On a CPU the process keeps the memory that it frees, see `keep_freed_memory`.
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
        mixed_precision = choose_precision(trial) if on_cpu and trial else "no"
    return Accelerator(cpu=cpu, mixed_precision=mixed_precision)


def choose_precision(trial: Callable[[], Callable[[], None]]) -> str:
    """`bf16` if the step that `trial` makes is faster with it on this CPU by a tenth, else `no`; prints what it timed.

    Timed, as instructions for bf16 speed up products alone. `no` at once without them (torch before 2.12 cannot tell),
    in a deterministic run, which must not depend on a timing, and in one of several processes.
    """
    can = getattr(torch.cpu, "get_capabilities", dict)()
    several = processes.count() > 1
    if not (can.get("avx512_bf16") or can.get("amx_bf16")) or several or torch.are_deterministic_algorithms_enabled():
        return "no"
    seconds: dict[str, list[float]] = {"no": [], "bf16": []}
    with torch.random.fork_rng(devices=[]):
        step = trial()
        for precision in [*seconds] * 3:  # in turns; the first ones build the kernels and do not count
            began = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                step()
            seconds[precision].append(time.perf_counter() - began)
    full, half = (min(times[1:]) for times in seconds.values())
    choice = "bf16" if half < 0.9 * full else "no"
    processes.say(f"mixed_precision {choice}: a training step takes {half:.3g} s in bf16, {full:.3g} s without")
    return choice


def trial_step(build: Callable[[], nn.Module], batch_size: int, size: int) -> Callable[[], None]:
    """A function that passes random L (batch_size,1,size,size) forward and back through the generator that is built."""
    net, L = build().train(), torch.rand(batch_size, 1, size, size) * 2 - 1

    def step() -> None:
        net.zero_grad()
        net(L).float().abs().mean().backward()

    return step


def keep_freed_memory() -> None:
    """Have the memory that this process frees kept in it; where the C library is not glibc, nothing happens.

    A training step frees and takes the same large tensors again and again, and the kernel clears each page that it
    hands out: on a CPU this gives 1.15 times the speed (docs/speed.md), and the process stays as large as it has been.
    Source: mallopt(3); a trim threshold of -1 turns trimming off.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
        for parameter, value in ((M_TRIM_THRESHOLD, -1), (M_TOP_PAD, 2**28), (M_MMAP_MAX, 0)):
            mallopt(parameter, value)
