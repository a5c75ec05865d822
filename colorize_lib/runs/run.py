"""A run on record: its folder, its settings and the environment that it ran in."""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from accelerate.state import AcceleratorState, is_initialized

from ..files import OUTPUTS, ROOT, write_text
from . import processes

PACKAGES = ["torch", "torchvision", "fastai", "accelerate", "torchmetrics", "safetensors", "scikit-image"]
PACKAGES += ["numpy", "pandas", "pillow", "matplotlib", "papermill"]


@dataclass(frozen=True)
class Run:
    """A run's folder: `path` with history.csv, config.json, env.json, metrics.json, figures/, checkpoints/.

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
        part.write("config.json", {"run": name, **part.settings})
        return part

    def write_metrics(self, metrics: dict) -> None:
        """Write metrics.json; the notebook's last act."""
        self.write("metrics.json", metrics)

    def write(self, name: str, content: dict) -> None:
        """Write a JSON file, in the first process. Raises ValueError for NaN and Inf, which JSON has not."""
        if processes.is_main():
            write_text(self.path / name, json.dumps(content, indent=1, allow_nan=False) + "\n")


def start_run(profile: str, name: str, outputs: Path = OUTPUTS, **settings) -> Run:
    """Open `outputs/profile/name`, and write config.json (settings) and env.json (`environment`) there.

    settings: everything that the results depend on except how long is trained: configuration dataclasses, digests,
    plain values.
    """
    run = Run(outputs / profile / name, _plain(settings))
    run.write("config.json", {"profile": profile, "run": name, **run.settings})
    run.write("env.json", environment())
    return run


def earlier_runs(profile: str, names: Iterable[str], run_them: bool = False, **settings) -> list[str]:
    """Those of the notebooks whose outputs another one reads that have not been run under a profile, said in a line;
    or, with run_them, run now, one after the other, with these settings in place of the profile's. Then none is left.

    Raises RuntimeError for one that fails.
    """
    left = [name for name in names if not (OUTPUTS / profile / name / "metrics.json").is_file()]
    if left and run_them:
        command = [sys.executable, str(ROOT / "notebooks" / "tools" / "run.py"), "--profile", profile, *left]
        command += [f"--set={key}={value}" for key, value in settings.items() if value != ""]
        found = os.pathsep.join([str(ROOT), *sys.path])  # in Colab the library is not installed
        if subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": found}).returncode:
            raise RuntimeError(f"not all of {', '.join(left)} came to their end; above is why")
        return []
    if left:
        print(f"Not run under {profile}: {', '.join(left)}. Run them first, or set run_earlier = True above.")
    return left


def environment() -> dict:
    """What the run ran on; the commit is followed by "+changes" if tracked files differ from it."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "mixed_precision": AcceleratorState().mixed_precision if is_initialized() else "no",
        "cpu_instructions": torch.backends.cpu.get_cpu_capability(),
        "cpu_threads": torch.get_num_threads(),
        "processes": processes.count(),
        "commit": _commit(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _plain(settings: dict) -> dict:
    """Settings as JSON can hold them: dataclasses become dicts, tuples lists."""
    return json.loads(json.dumps(settings, default=dataclasses.asdict))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    command = ["git", "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty=+changes"]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
