"""A GAN training of seconds, for tests; as a script it trains in a folder until it is done or killed.

python tiny_training.py FOLDER EPOCHS [PAUSE]     PAUSE: seconds to wait after each iteration
"""

import sys
import time
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
from colorize_lib.training.loop import LoopConfig, Score, train_model

BATCHES = 6  # per epoch
torch.set_num_threads(1)  # networks this small are slower on several


def loaders() -> tuple[LabLoader, LabLoader]:
    """6 training batches of 2, and 3 validation photographs, of 32 x 32 random pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (2 * BATCHES + 3, 32, 32, 3), dtype=np.uint8)
    train, val = np.arange(2 * BATCHES), np.arange(2 * BATCHES, 2 * BATCHES + 3)
    return (
        LabLoader(ColorizationDataset(pixels, train), 2, train=True, seed=5),
        LabLoader(ColorizationDataset(pixels, val), 2, train=False),
    )


def tiny_model() -> MainModel:
    """A small U-Net with dropout, fresh from seed 0."""
    seed_everything(0, deterministic=True)
    net_G = init_weights(Unet(n_down=5, num_filters=4))
    net_G.model.model.insert(2, torch.nn.Dropout(0.5))  # so that the result depends on the random generator
    return MainModel(net_G, GanConfig(n_down_D=1))


def tiny_run(folder: Path) -> Run:
    return start_run("test", "tiny", outputs=folder, seed=0)


def train(
    folder: Path, epochs: int, config: LoopConfig | None = None, score: Score = validate, **options
) -> tuple[MainModel, pd.DataFrame]:
    """Train to `epochs` in `folder`, from its newest checkpoint if there is one."""
    model = tiny_model()
    config = config or LoopConfig(log_every=2, show_at=(), checkpoint_minutes=0)
    return model, train_model(model, *loaders(), epochs, tiny_run(folder), score, config, **options)


if __name__ == "__main__":
    pause = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
    optimize = MainModel.optimize

    def slow_optimize(self) -> None:
        optimize(self)
        print("iteration", flush=True)
        time.sleep(pause)

    MainModel.optimize = slow_optimize
    train(Path(sys.argv[1]), int(sys.argv[2]))
    print("finished", flush=True)
