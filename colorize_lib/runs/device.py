"""The device, precision and seeds of a run."""

import ctypes
import os
import platform
import random

import numpy as np
import torch
from accelerate import Accelerator


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


def make_accelerator(device: str = "auto", mixed_precision: str = "auto") -> Accelerator:
    """The device, precision and processes to train with.

    device: `auto` (CUDA, else MPS, else CPU) or `cpu`. mixed_precision: `no`, `fp16`, `bf16` or `auto`, which is bf16
    on CUDA devices that compute it natively (8.0 and later), fp16 on older ones, and no elsewhere.
    Under a launcher (`accelerate launch`, `torchrun`, `notebook_launcher`) this is where the processes find each other:
    each has a GPU of its own, or on a machine without, a share of the CPU.
    On a CPU the process keeps the memory that it frees, see `keep_freed_memory`.
    Raises ValueError for an unknown device.
    """
    if device not in ("auto", "cpu"):
        raise ValueError(f"device {device!r} is unknown; choose auto or cpu (CUDA_VISIBLE_DEVICES chooses the GPU)")
    if mixed_precision == "auto":
        mixed_precision = "no"
        if device == "auto" and torch.cuda.is_available():
            mixed_precision = "bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp16"
    # Without a GPU a launched process must ask for the CPU: else accelerate takes it for a run of its own.
    alone = "LOCAL_RANK" not in os.environ
    cpu = device == "cpu" or not (alone or torch.cuda.is_available())
    accelerator = Accelerator(cpu=cpu, mixed_precision=mixed_precision)
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    return accelerator


def keep_freed_memory() -> None:
    """Have the memory that this process frees kept in it, in place of being handed back to the system.

    A training step frees and takes the same large tensors again and again, and the kernel clears each page that it
    hands out. On a CPU this gives the U-Net and the light generator about 1.15 times the speed, and the DynamicUnet
    nothing (docs/speed.md). The process then stays as large as it has been. Where the C library is not
    glibc, nothing happens.
    Source: mallopt(3); a trim threshold of -1 turns trimming off.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
        for parameter, value in ((M_TRIM_THRESHOLD, -1), (M_TOP_PAD, 2**28), (M_MMAP_MAX, 0)):
            mallopt(parameter, value)
