"""A GAN training of seconds, for tests; as a script it trains until it kills itself after so many iterations.

python tiny_training.py FOLDER EPOCHS ITERATIONS
"""

import os
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from colorize_lib.data.loader import ColorizationDataset, LabLoader
from colorize_lib.evaluation.metrics import validate
from colorize_lib.models.init import init_weights
from colorize_lib.models.unet import Unet
from colorize_lib.runs.device import seed_everything
from colorize_lib.runs.run import Run, start_run
from colorize_lib.training.gan import GanConfig, MainModel
from colorize_lib.training.loop import LoopConfig, train_model

PHOTOGRAPHS, BATCHES = 12, 6  # for training; batches of 2 per epoch
torch.set_num_threads(1)  # networks this small are slower on several


def loaders(batch_size: int = 2) -> tuple[LabLoader, LabLoader]:
    """Training batches, and 3 validation photographs, of 32 x 32 random pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (PHOTOGRAPHS + 3, 32, 32, 3), dtype=np.uint8)
    train, val = (ColorizationDataset(part) for part in (pixels[:PHOTOGRAPHS], pixels[PHOTOGRAPHS:]))
    return LabLoader(train, batch_size, train=True, seed=5), LabLoader(val, batch_size, train=False)


def tiny_model(ema_decay: float = 0.0, accelerator=None, seed: int = 0) -> MainModel:
    """A small U-Net with dropout, fresh from a seed."""
    seed_everything(seed, deterministic=True)
    net_G = init_weights(Unet(n_down=5, num_filters=4))
    net_G.model.model.insert(2, torch.nn.Dropout(0.5))  # so that the result depends on the random generator
    return MainModel(net_G, GanConfig(n_down_D=1, ema_decay=ema_decay), accelerator)


def tiny_run(folder: Path) -> Run:
    return start_run("test", "tiny", outputs=folder, seed=0)


def train(
    folder: Path, epochs: int, config: LoopConfig | None = None, score=validate, model=None, batch_size=2, **options
) -> tuple[MainModel, pd.DataFrame]:
    """Train to `epochs` in `folder`, from its newest checkpoint if there is one."""
    model = model or tiny_model()
    config = config or LoopConfig(log_every=2, show_at=(), checkpoint_minutes=0)
    return model, train_model(model, *loaders(batch_size), epochs, tiny_run(folder), score, config, **options)


def optimize_and(act: Callable[[int], object]) -> Callable:
    """`MainModel.optimize` with something done after it; `act` gets the number of the call, from 1."""
    optimize, numbers = MainModel.optimize, count(1)

    def patched(self) -> None:
        optimize(self)
        act(next(numbers))

    return patched


if __name__ == "__main__":
    last = int(sys.argv[3])
    MainModel.optimize = optimize_and(lambda number: number == last and os.kill(os.getpid(), signal.SIGKILL))
    train(Path(sys.argv[1]), int(sys.argv[2]))
