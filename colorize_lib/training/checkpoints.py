"""Checkpoints that survive a kill at any moment, and final weights.

A checkpoint is a folder with `state.pt` (weights, optimisers, RNG) and `checkpoint.json` (position, averages, the
sha256 of state.pt). It is written under another name and renamed when whole. `state.pt` is read with torch's
`weights_only` loader, which runs no pickled code; final weights are safetensors with their configuration as metadata.
"""

import json
import math
import os
import random
import shutil
import uuid
import warnings
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import torch

from ..files import sha256
from ..models.weights import CheckpointError, read_checkpoint
from .meters import AverageMeter
from .trainable import TrainableModel

KEEP = 2  # newest checkpoints kept, besides the best


@dataclass
class Position:
    """Where a run stands, beside its model."""

    epoch_meters: dict[str, AverageMeter]  # by loss, since the epoch began
    window_meters: dict[str, AverageMeter]  # by loss, since the last logged iteration
    epoch: int = 0  # whole epochs done
    batch: int = 0  # batches of the next epoch done
    seconds: float = 0.0  # of training, over all resumed parts
    best_L1: float = math.inf  # lowest validation L1 so far
    history: list[dict] = field(default_factory=list)  # the rows of history.csv

    def note(self) -> dict:
        """All of it, as JSON can hold it."""
        meters = {"epoch_meters": self.epoch_meters, "window_meters": self.window_meters}
        sums = {kind: {name: [meter.sum, meter.count] for name, meter in of.items()} for kind, of in meters.items()}
        return vars(self) | sums

    @classmethod
    def of(cls, note: dict) -> "Position":
        """The position that a checkpoint's note describes."""
        kinds = ("epoch_meters", "window_meters")
        meters = {kind: {name: AverageMeter(*sums) for name, sums in note[kind].items()} for kind in kinds}
        return cls(**{own.name: note[own.name] for own in fields(cls)} | meters)


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
            shutil.copytree(checkpoint, fresh, copy_function=_link)
            fresh.rename(best)
        for old in self.folder.glob("best-*"):
            if old != best:
                shutil.rmtree(old)


def state_of(model: TrainableModel) -> dict:
    """What training goes on from: weights, optimisers, gradient scaler and random generators."""
    scaler = model.accelerator.scaler
    return {
        "networks": {name: network.state_dict() for name, network in model.networks.items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in model.optimizers.items()},
        "scaler": scaler.state_dict() if scaler else {},
        "rng": rng_state(),
    }


def set_state(model: TrainableModel, state: dict) -> None:
    """Put a model and the random generators where `state_of` found them."""
    for name, network in model.networks.items():
        network.load_state_dict(state["networks"][name])
    for name, optimizer in model.optimizers.items():
        optimizer.load_state_dict(state["optimizers"][name])
    if model.accelerator.scaler:
        model.accelerator.scaler.load_state_dict(state["scaler"])
    set_rng_state(state["rng"])


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


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
