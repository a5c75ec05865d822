"""Checkpoints that survive a kill at any moment, and final weights.

A checkpoint is a folder with `state.pt` (weights, optimisers, RNG) and `checkpoint.json` (position, averages, the
sha256 of state.pt). It is written under another name and renamed when whole. `state.pt` is read with torch's
`weights_only` loader, which runs no pickled code; final weights are safetensors with their configuration as metadata.
"""

import json
import os
import random
import shutil
import uuid
import warnings
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from . import processes
from .files import atomic_path, sha256
from .models import GeneratorConfig, build_generator, generator_config
from .models.cifar import CifarConfig

KEEP = 2  # newest checkpoints kept, besides the best


class CheckpointError(RuntimeError):
    """A checkpoint or a weights file cannot be read; the message names it."""


class Checkpoints:
    """The checkpoints of one run, in `folder`: the newest two, and the best as `best-epoch-...`."""

    def __init__(self, folder: Path):
        self.folder = folder

    def save(self, epoch: int, batch: int, state: dict, note: dict, best: bool = False) -> Path:
        """Keep `state` (nested dicts of tensors and plain values) and `note` (JSON) for a position in the run.

        epoch, batch: how many whole epochs, and how many batches of the next one, are done. best: keep a copy as the
        best so far.
        """
        final = self.folder / f"epoch-{epoch:05d}-batch-{batch:07d}"
        if not final.exists():
            partial = self.folder / f".{final.name}.{uuid.uuid4().hex[:8]}.partial"
            partial.mkdir(parents=True)
            torch.save(state, partial / "state.pt")
            note = {"epoch": epoch, "batch": batch, **note, "sha256": sha256(partial / "state.pt")}
            (partial / "checkpoint.json").write_text(json.dumps(note, indent=1))
            for path in (*partial.iterdir(), partial):
                _fsync(path)
            partial.rename(final)
            _fsync(self.folder)
        if best:
            self._keep_best(final)
        for old in self._newest_first()[KEEP:]:
            shutil.rmtree(old)
        return final

    def load(self) -> tuple[dict, dict] | None:
        """The newest whole checkpoint as (state, note), tensors on the CPU; None if there is none.

        A corrupt one is set aside (renamed `corrupt-...`) with a warning that names it.
        Raises CheckpointError if all are corrupt.
        """
        for leftover in self.folder.glob(".*.partial"):
            shutil.rmtree(leftover, ignore_errors=True)
        candidates = self._newest_first()
        for path in candidates:
            try:
                return read_checkpoint(path)
            except CheckpointError as error:
                warnings.warn(f"{error}; falling back to the checkpoint before it", stacklevel=2)
                path.rename(path.with_name(f"corrupt-{path.name}-{uuid.uuid4().hex[:8]}"))
        if candidates:
            raise CheckpointError(f"every checkpoint in {self.folder} is corrupt; delete the folder to start anew")
        return None

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("epoch-*"), reverse=True)

    def _keep_best(self, checkpoint: Path) -> None:
        """Copy `checkpoint` to `best-...`; hard links cost no space, and a checkpoint's files never change."""
        best = self.folder / f"best-{checkpoint.name}"
        if not best.exists():
            fresh = self.folder / f".{best.name}.{uuid.uuid4().hex[:8]}.partial"
            try:
                shutil.copytree(checkpoint, fresh, copy_function=os.link)
            except OSError:  # a file system without hard links
                shutil.rmtree(fresh, ignore_errors=True)
                shutil.copytree(checkpoint, fresh)
            fresh.rename(best)
        for old in self.folder.glob("best-*"):
            if old != best:
                shutil.rmtree(old)


def read_checkpoint(path: Path) -> tuple[dict, dict]:
    """Read one checkpoint folder as (state, note). Raises CheckpointError if it is not whole."""
    try:
        note = json.loads((path / "checkpoint.json").read_text())
        if sha256(path / "state.pt") != note["sha256"]:
            raise ValueError("the sha256 of state.pt differs from checkpoint.json")
        return torch.load(path / "state.pt", map_location="cpu", weights_only=True), note
    except Exception as error:
        raise CheckpointError(f"checkpoint {path} is corrupt ({type(error).__name__}: {error})") from error


def rng_state() -> dict:
    """The state of every random number generator that a run can draw from."""
    name, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [name, keys.tolist(), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_rng_state(state: dict) -> None:
    """Put every generator where `rng_state` found it; CUDA's only if there are as many devices."""
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


def save_weights(net: nn.Module, path: Path, config: dict) -> None:
    """Write a network's weights as safetensors, with `config` (JSON) in the metadata under the key `config`.

    In a run of several processes the first one writes.
    """
    if not processes.is_main():
        return
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    with atomic_path(path) as partial:
        # One key only: safetensors writes several in random order, and equal weights should be equal files.
        save_file(tensors, partial, metadata={"config": json.dumps(config)})


def load_weights(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """Read a file written by `save_weights`: (state_dict, config). Raises CheckpointError naming the file."""
    if not path.is_file():
        raise CheckpointError(f"weights file {path} does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            config = json.loads((file.metadata() or {}).get("config", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, config  # noqa: SIM118 (not a dict)
    except (SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file ({error})") from error


def load_generator(path: Path) -> tuple[nn.Module, GeneratorConfig | CifarConfig]:
    """The generator that a weights file describes, with its weights. Raises CheckpointError naming the file."""
    state, config = load_weights(path)
    try:
        generator = generator_config(config["generator"])
        net_G = build_generator(generator)
        net_G.load_state_dict(state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} does not describe a generator of this library: {error}") from error
    return net_G, generator


def find_generators(
    folder: Path, places: dict[str, str], size: int, photographs: str | None = None
) -> dict[str, nn.Module]:
    """The trained generators of a profile's folder that can be judged together; the others are named with the reason.

    places: the name for readers -> the run's folder below `folder`, which holds net_G.safetensors and config.json.
    size: of the pictures, in pixels. photographs: the digest of the photographs that generators of photographs must
    have been trained on (`PhotoSet.digest`): one trained on others may have seen those that it is judged by.
    """
    found = {}
    for name, place in places.items():
        path = folder / place / "net_G.safetensors"
        if not path.is_file():
            print(f"left out, {name}: {folder.name}/{place}/{path.name} is not there; run its notebook first")
            continue
        net_G, generator = load_generator(path)
        trained_on = json.loads((path.parent / "config.json").read_text()).get("photographs")
        if generator.size != size:
            print(f"left out, {name}: it paints {generator.size} px and not {size}")
        elif trained_on is not None and photographs is not None and trained_on != photographs:
            print(f"left out, {name}: it was trained on another draw of photographs and may have seen these")
        else:
            found[name] = net_G
    return found


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
