"""Checkpoints that survive a kill at any moment, kept in one folder a run.

A checkpoint is a folder with `state.pt` (weights, optimisers, RNG) and `checkpoint.json` (position, averages, the
sha256 of state.pt), written under another name and renamed when whole. `state.pt` is read with torch's `weights_only`
loader, which runs no pickled code.
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
from torch.utils._pytree import tree_leaves

from ..files import full_disk_named, sha256
from ..models.weights import CheckpointError, note_digest, read_checkpoint
from .trainable import TrainableModel

KEEP = 2  # newest checkpoints kept, besides the best


class Checkpoints:
    """The checkpoints of one run, in `folder`: the newest two, and the best as `best-epoch-...`."""

    def __init__(self, folder: Path):
        self.folder = folder

    def save(self, epoch: int, batch: int, state: dict, note: dict, best: bool = False) -> Path:
        """Keep `state` (nested dicts of tensors and plain values) and `note` (JSON), and the same as the best so far.

        epoch, batch: how many whole epochs, and how many batches of the next one, are done.
        """
        final = self.folder / f"epoch-{epoch:05d}-batch-{batch:07d}"
        if not final.exists():
            partial = self._partial(final)
            partial.mkdir(parents=True)
            with full_disk_named(partial / "state.pt", _size(state)):
                torch.save(state, partial / "state.pt")
            note = {"epoch": epoch, "batch": batch, **note, "sha256": sha256(partial / "state.pt")}
            note["note_sha256"] = note_digest(note)
            (partial / "checkpoint.json").write_text(json.dumps(note, indent=1))
            for path in (*partial.iterdir(), partial):
                _fsync(path)
            partial.rename(final)
            _fsync(self.folder)
        kept = self.folder / f"best-{final.name}"
        if best and not kept.exists():
            partial = self._partial(kept)
            try:  # hard links cost no space, and a checkpoint's files never change
                shutil.copytree(final, partial, copy_function=os.link)
            except OSError:  # a file system without hard links
                shutil.copytree(final, partial, dirs_exist_ok=True)
            partial.rename(kept)
        olds = [old for old in self.folder.glob("best-*") if best and old != kept]
        for old in self._newest_first()[KEEP:] + olds:
            shutil.rmtree(old)
        return final

    def load(self) -> tuple[dict, dict] | None:
        """The newest whole checkpoint as (state, note), tensors on the CPU; None if there is none.

        A corrupt one is set aside (renamed `corrupt-...`) with a warning that names it; after the newest two the best
        one is tried. Raises CheckpointError if all are corrupt, until somebody deletes them.
        """
        for leftover in self.folder.glob(".*.partial"):
            shutil.rmtree(leftover, ignore_errors=True)
        for path in [*self._newest_first(), *self.folder.glob("best-*")]:
            try:
                return read_checkpoint(path)
            except CheckpointError as error:
                warnings.warn(f"{error}; falling back to the checkpoint before it", stacklevel=2)
                path.rename(path.with_name(f"corrupt-{path.name}-{uuid.uuid4().hex[:8]}"))
        if any(self.folder.glob("corrupt-*")):
            raise CheckpointError(f"every checkpoint in {self.folder} is corrupt; delete the folder to start anew")
        return None

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("epoch-*"), reverse=True)

    def _partial(self, final: Path) -> Path:
        return self.folder / f".{final.name}.{uuid.uuid4().hex[:8]}.partial"


def state_of(model: TrainableModel) -> dict:
    """What training goes on from: weights, optimisers, gradient scaler, and all random generators of a run."""
    scaler = model.accelerator.scaler
    name, keys, *rest = np.random.get_state()
    return {
        "networks": {name: network.state_dict() for name, network in model.networks.items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in model.optimizers.items()},
        "scaler": scaler.state_dict() if scaler else {},
        "rng": {
            "python": random.getstate(),
            "numpy": [name, keys.tolist(), *rest],
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        },
    }


def set_state(model: TrainableModel, state: dict) -> None:
    """Put a model and the random generators where `state_of` found them; CUDA's only if there are as many devices."""
    for name, network in model.networks.items():
        network.load_state_dict(state["networks"][name])
    for name, optimizer in model.optimizers.items():
        optimizer.load_state_dict(state["optimizers"][name])
    if model.accelerator.scaler:
        model.accelerator.scaler.load_state_dict(state["scaler"])
    rng = state["rng"]
    random.setstate(rng["python"])
    name, keys, *rest = rng["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(rng["torch"])
    if torch.cuda.is_available() and len(rng["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(rng["cuda"])


def _size(state) -> int:
    """The bytes of all tensors in nested dicts and lists."""
    return sum(leaf.nbytes for leaf in tree_leaves(state) if isinstance(leaf, torch.Tensor))


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
