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

from ..files import sha256
from ..models.weights import CheckpointError, read_checkpoint

KEEP = 2  # newest checkpoints kept, besides the best


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


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
