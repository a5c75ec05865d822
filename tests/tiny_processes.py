"""What two processes do in the tests: steps, trainings of seconds, the first use of photographs.

python tiny_processes.py train FOLDER       trains slowly in FOLDER; for a launcher of several processes
python tiny_processes.py all FOLDER PORT    the rest, in two processes that notebook_launcher starts
"""

import io
import json
import os
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import notebook_launcher

from colorize_lib.data.cache import cached_photographs
from colorize_lib.data.loader import ColorizationDataset, LabLoader
from colorize_lib.data.manifest import PhotoConfig, find_photographs
from colorize_lib.evaluation.metrics import validate
from colorize_lib.models import build_discriminator, build_generator
from colorize_lib.models.cifar import CifarConfig
from colorize_lib.models.init import init_weights
from colorize_lib.models.unet import Unet
from colorize_lib.runs import processes
from colorize_lib.runs.device import make_accelerator, seed_everything
from colorize_lib.runs.run import Run, start_run
from colorize_lib.training.gan import GanConfig, MainModel
from colorize_lib.training.loop import LoopConfig, train_model
from colorize_lib.training.trainable import RegressionModel, TrainableModel

BATCH = 4  # two processes share it as 2 and 2
BATCHES = 3  # per epoch
EPOCHS = 3
torch.set_num_threads(1)  # networks this small are slower on several


def plain_generator() -> torch.nn.Module:
    """A generator without BatchNorm and dropout."""
    net_G = build_generator(CifarConfig(output="ab", norm="none"))
    for module in net_G.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return net_G.double()


def gan(accelerator) -> MainModel:
    """Every term that is a mean over pictures, and a discriminator with spectral norm."""
    net_D = build_discriminator(CifarConfig(output="ab", norm="spectral"))
    objective = GanConfig(lambda_L2=1.0, lambda_cosine=1.0, ema_decay=0.5)
    return MainModel(plain_generator(), objective, accelerator, net_D.double())


def regression(accelerator) -> RegressionModel:
    return RegressionModel(plain_generator(), accelerator=accelerator, loss="L2")


MODELS = {"GAN": gan, "regression": regression}


def two_steps(name: str) -> dict[str, dict[str, torch.Tensor]]:
    """The losses, gradients and weights after two steps on batches of 4, by kind and name, in double precision.

    Double, because rounding would hide small errors: L1's gradient is a sign.
    """
    seed_everything(0)
    model: TrainableModel = MODELS[name](make_accelerator("cpu")).train()
    generator = torch.Generator().manual_seed(1)
    for _ in range(2):
        L = torch.rand(4, 1, 32, 32, generator=generator, dtype=torch.float64) * 2 - 1
        ab = torch.randn(4, 2, 32, 32, generator=generator, dtype=torch.float64) * 0.2
        mine = slice(processes.index(), None, processes.count())
        model.setup_input({"L": L[mine], "ab": ab[mine]})
        model.step()
    networks = model.networks.items()
    return {
        "losses": dict(zip(model.loss_names, model.losses(), strict=True)),
        "gradients": {
            f"{of}.{k}": p.grad for of, net in networks for k, p in net.named_parameters() if p.requires_grad
        },
        "state": {f"{of}.{k}": tensor for of, net in networks for k, tensor in net.state_dict().items()},
    }


def loaders(batch_size: int = BATCH) -> tuple[LabLoader, LabLoader]:
    """Training batches, and 3 validation photographs, of 32 x 32 random pixels."""
    n = BATCH * BATCHES
    pixels = np.random.default_rng(0).integers(0, 256, (n + 3, 32, 32, 3), dtype=np.uint8)
    return (
        LabLoader(ColorizationDataset(pixels, np.arange(n)), batch_size, train=True, seed=5),
        LabLoader(ColorizationDataset(pixels, np.arange(n, n + 3)), batch_size, train=False),
    )


def tiny_run(folder: Path) -> Run:
    return start_run("test", "tiny", outputs=folder, seed=0)


def train(folder: Path, epochs: int = EPOCHS, batch_size: int = BATCH) -> tuple[MainModel, pd.DataFrame]:
    """Train a U-Net and a PatchGAN, with BatchNorm and dropout, to `epochs` in `folder`, from its newest checkpoint if
    there is one."""
    accelerator = make_accelerator("cpu")
    seed_everything(processes.index(), deterministic=True)  # the first process's weights are to count
    net_G = init_weights(Unet(n_down=5, num_filters=4))
    net_G.model.model.insert(2, torch.nn.Dropout(0.5))
    model = MainModel(net_G, GanConfig(n_down_D=1, ema_decay=0.5), accelerator)
    train_dl, val_dl = loaders(batch_size)
    config = LoopConfig(log_every=2, show_at=(1,), checkpoint_minutes=60)
    history = train_model(model, train_dl, val_dl, epochs, tiny_run(folder), validate, config, next(iter(val_dl))["L"])
    return model, history


def first_use(folder: Path, data: Path) -> dict:
    """Find and decode photographs that nobody has used: how often this process opened one, and what it got."""
    opened = []

    def hook(event: str, arguments: tuple) -> None:
        if event == "open" and str(arguments[0]).startswith(str(folder)):
            opened.append(arguments[0])
            time.sleep(0.02)  # so that two processes at work would meet

    sys.addaudithook(hook)
    found = find_photographs(PhotoConfig(source="folder", folder=str(folder), n_images=0), data, 32)
    pixels = cached_photographs(found, 32, data)
    return {"opened": len(opened), "digest": found.digest(), "sum": int(pixels.astype(np.int64).sum())}


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
    """What each of two processes does for `test_processes`; it leaves its record in `folder`."""
    # fastai uses the GPU as soon as it is imported, which a notebook that is to be forked must not.
    record = {"fastai was imported before": "fastai" in sys.modules}
    make_accelerator("cpu")
    record["photographs"] = first_use(folder / "photographs", folder / "data")
    for name in MODELS:
        torch.save(two_steps(name), folder / f"{name}, process {processes.index()}.pt")
    printed = io.StringIO()
    with redirect_stdout(printed):
        writes = watch_writes(folder / "runs")
        model, _ = train(folder / "runs" / "straight")
        train(folder / "runs" / "parts", 1)
        resumed, history = train(folder / "runs" / "parts")
        record["writes"], record["printed"] = list(writes), printed.getvalue()
    record["iterations"] = int(history.iteration.max())
    weights, others = model.networks["net_G"].state_dict(), resumed.networks["net_G"].state_dict()
    record["resumed to the same bits"] = all(
        torch.equal(weights[key], others[key]) for key in weights if "running" not in key
    )
    record["weights"] = float(sum(weight.double().sum() for key, weight in weights.items() if key.endswith("weight")))
    try:
        train(folder / "runs" / "uneven", batch_size=3)
    except ValueError as error:
        record["uneven"] = str(error)
    (folder / f"process-{processes.index()}.json").write_text(json.dumps(record))


if __name__ == "__main__":
    command, target = sys.argv[1], Path(sys.argv[2])
    if command == "all":
        notebook_launcher(everything, (target,), num_processes=2, use_port=sys.argv[3])
    else:
        optimize = MainModel.optimize

        def slow_optimize(self) -> None:
            optimize(self)
            print(f"process {processes.index()}: iteration", flush=True)
            time.sleep(0.3)

        MainModel.optimize = slow_optimize
        train(target)
