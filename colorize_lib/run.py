"""A run: its folder, its settings and environment on record, its seeds and its device."""

import ctypes
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import random
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from . import processes
from .files import sha256, write_text
from .sources import ROOT

OUTPUTS = ROOT / "outputs"
PACKAGES = ["torch", "torchvision", "fastai", "accelerate", "torchmetrics", "safetensors", "scikit-image"]
PACKAGES += ["numpy", "pandas", "pillow", "matplotlib", "papermill"]


@dataclass(frozen=True)
class Run:
    """A run's folder: `path` with history.csv, config.json, env.json, metrics.json, figures/, checkpoints.

    In a run of several processes the first one writes all of it.

    settings: what config.json records. Checkpoints live in a folder named by a digest of the settings, so a run with
    other settings starts anew beside the old checkpoints, and one with the same settings goes on from them.
    """

    path: Path
    settings: dict

    @property
    def checkpoints(self) -> Path:
        """The folder of this run's checkpoints."""
        digest = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:8]
        return self.path / "checkpoints" / digest

    @property
    def progress(self) -> Path:
        """The folder of the showcase's colourings by iteration, beside the checkpoints that they belong to."""
        return self.checkpoints / "progress"

    @property
    def figures(self) -> Path:
        """The folder of the figures, made if need be."""
        folder = self.path / "figures"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def part(self, name: str, **settings) -> "Run":
        """A training of its own within this run, in the folder `name`: this run's settings and these beside them."""
        part = Run(self.path / name, self.settings | _plain(settings))
        part.write_config(name)
        return part

    def write_config(self, name: str, **more: str) -> None:
        """Write config.json: what it is a run of, and the settings."""
        self._write("config.json", {**more, "run": name, **self.settings})

    def write_metrics(self, metrics: dict) -> None:
        """Write metrics.json; the notebook's last act."""
        self._write("metrics.json", metrics)

    def write_environment(self) -> None:
        """Write env.json."""
        self._write("env.json", environment())

    def _write(self, name: str, content: dict) -> None:
        if processes.is_main():
            write_text(self.path / name, json.dumps(content, indent=1, allow_nan=False) + "\n")


def start_run(profile: str, name: str, outputs: Path = OUTPUTS, **settings) -> Run:
    """Open `outputs/profile/name`, and write config.json (settings) and env.json (versions, device, commit, date)
    there.

    settings: everything that the results depend on except how long is trained: configuration dataclasses, digests,
    plain values.
    """
    run = Run(outputs / profile / name, _plain(settings))
    run.write_config(name, profile=profile)
    run.write_environment()
    return run


def environment() -> dict:
    """What the run ran on: Python, packages, device, the CPU's instructions, threads, processes, commit, time.

    The commit is followed by "+changes" if the tree is dirty.
    """
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "cpu_instructions": torch.backends.cpu.get_cpu_capability(),
        "cpu_threads": torch.get_num_threads(),
        "processes": processes.count(),
        "commit": _commit(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


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
    nothing (`benchmarks/optimisations.py`). The process then stays as large as it has been. Where the C library is not
    glibc, nothing happens.
    Source: mallopt(3); a trim threshold of -1 turns trimming off.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
        for parameter, value in ((M_TRIM_THRESHOLD, -1), (M_TOP_PAD, 2**28), (M_MMAP_MAX, 0)):
            mallopt(parameter, value)


def file_digest(path: Path) -> str:
    """The sha256 of a file, shortened to 16 characters; for settings that depend on a file's content."""
    return sha256(path)[:16]


def _plain(settings: dict) -> dict:
    """Settings as JSON can hold them: dataclasses become dicts, tuples lists."""
    plain = {key: dataclasses.asdict(v) if dataclasses.is_dataclass(v) else v for key, v in settings.items()}
    return json.loads(json.dumps(plain))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
