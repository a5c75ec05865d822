"""What two processes do in the tests: one GAN step, trainings of seconds, the first use of photographs.

python tiny_processes.py train FOLDER EPOCHS    trains slowly in FOLDER; for a launcher of several processes
python tiny_processes.py all FOLDER             the rest, in two processes that notebook_launcher starts
"""

import io
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator, notebook_launcher

from colorize_lib.data import cache, manifest
from colorize_lib.data.cache import cached_photographs
from colorize_lib.data.loader import ColorizationDataset, LabLoader
from colorize_lib.data.manifest import PhotoConfig, find_photographs
from colorize_lib.evaluation.metrics import validate
from colorize_lib.models import build_discriminator, build_generator
from colorize_lib.models.cifar import CifarConfig
from colorize_lib.models.init import init_weights
from colorize_lib.models.shared_norm import share_batch_norm
from colorize_lib.models.unet import Unet
from colorize_lib.models.weights import save_weights
from colorize_lib.runs import processes
from colorize_lib.runs.device import make_accelerator, seed_everything
from colorize_lib.runs.run import Run, environment, start_run
from colorize_lib.training.gan import GanConfig, MainModel
from colorize_lib.training.loop import LoopConfig, train_model
from colorize_lib.training.trainable import RegressionModel, TrainableModel

BATCH = 3  # two processes share it as 2 and 1
BATCHES = 4  # per epoch
EPOCHS = 3
torch.set_num_threads(1)  # networks this small are slower on several


# --- one step ---------------------------------------------------------------------------------------------------------


def unet_gan(accelerator: Accelerator) -> MainModel:
    """A U-Net and a PatchGAN with BatchNorm, and without dropout; their weights average too."""
    net_G = init_weights(Unet(n_down=5, num_filters=4))
    return MainModel(net_G, GanConfig(n_down_D=1, ema_decay=0.5), accelerator)


def cifar_gan(accelerator: Accelerator) -> MainModel:
    """All terms of the objective, and a discriminator with spectral norm."""
    objective = GanConfig(lambda_L2=1.0, lambda_cosine=1.0, lambda_diversity=5.0, ema_decay=0.5)
    net_D = build_discriminator(CifarConfig(output="ab", norm="spectral"))
    return MainModel(without_dropout(build_generator(CifarConfig(output="ab"))), objective, accelerator, net_D)


def regression(accelerator: Accelerator) -> RegressionModel:
    return RegressionModel(init_weights(Unet(n_down=5, num_filters=4)), accelerator=accelerator, loss="L2")


MODELS: dict[str, Callable[[Accelerator], TrainableModel]] = {
    "U-Net GAN": unet_gan, "CIFAR GAN": cifar_gan, "regression": regression
}  # fmt: skip


def without_dropout(net: torch.nn.Module) -> torch.nn.Module:
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return net


def one_step(make: Callable[[Accelerator], TrainableModel]) -> dict[str, dict[str, torch.Tensor]]:
    """The losses, gradients and buffers after one step on a batch of 5, by kind and name, in double precision.

    Double, because rounding would hide small errors: L1's gradient is a sign.
    """
    seed_everything(0)
    model = make(make_accelerator("cpu")).double().train()
    generator = torch.Generator().manual_seed(1)
    L = torch.rand(5, 1, 32, 32, generator=generator, dtype=torch.float64) * 2 - 1
    ab = torch.randn(5, 2, 32, 32, generator=generator, dtype=torch.float64) * 0.2
    mine = slice(processes.index(), None, processes.count())
    model.setup_input({"L": L[mine], "ab": ab[mine]})
    model.step()
    return {
        "losses": dict(zip(model.loss_names, model.losses(), strict=True)),
        "gradients": {name: p.grad for name, p in model.named_parameters() if p.grad is not None},
        "state": {
            k: t.clone() for net in model.networks for k, t in model.networks[net].state_dict(prefix=net).items()
        },
    }


# --- trainings --------------------------------------------------------------------------------------------------------


def loaders() -> tuple[LabLoader, LabLoader]:
    """4 training batches of 3, and 3 validation photographs, of 32 x 32 random pixels."""
    n = BATCH * BATCHES
    pixels = np.random.default_rng(0).integers(0, 256, (n + 3, 32, 32, 3), dtype=np.uint8)
    return (
        LabLoader(ColorizationDataset(pixels, np.arange(n)), BATCH, train=True, seed=5),
        LabLoader(ColorizationDataset(pixels, np.arange(n, n + 3)), BATCH, train=False),
    )


def tiny_run(folder: Path) -> Run:
    return start_run("test", "tiny", outputs=folder, seed=0)


def train(folder: Path, epochs: int = EPOCHS, minutes: float = 60.0) -> tuple[MainModel, pd.DataFrame]:
    """Train to `epochs` in `folder`, from its newest checkpoint if there is one."""
    accelerator = make_accelerator("cpu")
    seed_everything(processes.index(), deterministic=True)  # the first process's weights are to count
    model = unet_gan(accelerator)
    train_dl, val_dl = loaders()
    config = LoopConfig(log_every=2, show_at=(1,), checkpoint_minutes=minutes)
    history = train_model(model, train_dl, val_dl, epochs, tiny_run(folder), validate, config, next(iter(val_dl))["L"])
    save_weights(model.generator, tiny_run(folder).path / "net_G.safetensors", {})
    return model, history


def dropout_is_different() -> bool:
    """True if this process and the next draw other noise in the same step."""
    processes.seed_noise(5, 7)
    drawn = torch.zeros(processes.count())
    drawn[processes.index()] = torch.rand(1)
    return len(processes.total(drawn).unique()) == len(drawn)


# --- photographs ------------------------------------------------------------------------------------------------------


def first_use(folder: Path, data: Path) -> dict:
    """Find and decode photographs that nobody has used; how many this process examined and decoded, and what it got."""
    calls = {"examined": 0, "decoded": 0}

    def count_calls(module, name: str, what: str) -> None:
        original = getattr(module, name)

        def counting(*arguments):
            calls[what] += 1
            time.sleep(0.05)  # so that two processes at work would meet
            return original(*arguments)

        setattr(module, name, counting)

    count_calls(manifest, "examine", "examined")
    count_calls(cache, "read_square", "decoded")
    processes.wait_for_all()
    found = find_photographs(PhotoConfig(source="folder", folder=str(folder), n_images=0), data)
    pixels = cached_photographs(found, 32, data)
    return calls | {"digest": found.digest(), "sum": int(pixels.astype(np.int64).sum())}


# --- what a process writes and prints ---------------------------------------------------------------------------------


def watch_writes(folder: Path) -> list[str]:
    """From now on, what this process opens for writing, makes, renames and deletes below `folder`."""
    seen, events = [], ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link")

    def hook(event: str, arguments: tuple) -> None:
        if event == "open":
            writing = isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        else:
            writing = event in events
        if writing and str(arguments[0]).startswith(str(folder)):
            seen.append(f"{event} {arguments[0]}")

    sys.addaudithook(hook)
    return seen


def everything(folder: Path) -> None:
    """What each of two processes does for `test_distributed`; it leaves its record in `folder`."""
    # fastai uses the GPU as soon as it is imported, which a notebook that is to be forked must not.
    record = {"fastai was imported before": "fastai" in sys.modules}
    make_accelerator("cpu")
    record["processes"] = processes.count()
    record["photographs"] = first_use(folder / "photographs", folder / "data")
    printed = io.StringIO()
    with redirect_stdout(printed):
        writes = watch_writes(folder / "runs")
        for name in sorted(path.name for path in (folder / "runs").iterdir()):
            model, history = train(folder / "runs" / name)
            record[f"iterations of {name}"] = int(history.iteration.max())
        record["writes"], record["printed"] = list(writes), printed.getvalue()
    record["environment"] = environment()
    record["norm on a GPU"] = type(share_batch_norm(torch.nn.BatchNorm2d(3), torch.device("cuda"))).__name__
    record["dropout is different"] = dropout_is_different()
    for name, make in MODELS.items():
        torch.save(one_step(make), folder / f"{name}, process {processes.index()}.pt")
    (folder / f"process-{processes.index()}.json").write_text(json.dumps(record))


if __name__ == "__main__":
    command, target = sys.argv[1], Path(sys.argv[2])
    if command == "all":
        port = sys.argv[3]
        notebook_launcher(everything, (target,), num_processes=2, use_port=port)
    else:
        optimize = MainModel.optimize

        def slow_optimize(self) -> None:
            optimize(self)
            print(f"process {processes.index()}, {os.getpid()}: iteration", flush=True)
            time.sleep(0.5)

        MainModel.optimize = slow_optimize
        train(target, int(sys.argv[3]), float(sys.argv[4]))
