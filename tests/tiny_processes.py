"""What each of two processes does for `test_processes`: steps, trainings of seconds, the first use of photographs.

accelerate launch ... tiny_processes.py FOLDER
"""

import io
import json
import os
import signal
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import tiny_training
import torch
from tiny_training import PHOTOGRAPHS, loaders, tiny_model

from colorize_lib.data.cache import cached_photographs
from colorize_lib.data.manifest import PhotoConfig, find_photographs
from colorize_lib.models import build_discriminator, build_generator
from colorize_lib.models.cifar import CifarConfig
from colorize_lib.runs import processes
from colorize_lib.runs.device import make_accelerator, seed_everything
from colorize_lib.training.gan import GanConfig, MainModel
from colorize_lib.training.loop import LoopConfig
from colorize_lib.training.trainable import RegressionModel, TrainableModel

BATCH, EPOCHS = 4, 3  # two processes share a batch as 2 and 2
BATCHES = PHOTOGRAPHS // BATCH  # per epoch


def plain_generator() -> torch.nn.Module:
    """A generator without BatchNorm and dropout."""
    net_G = build_generator(CifarConfig(output="ab", norm="none"))
    for module in net_G.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return net_G.double()


def gan(accelerator) -> MainModel:
    """Every term that is a mean over pictures, and a discriminator with spectral norm."""
    net_D = build_discriminator(CifarConfig(output="ab", norm="spectral")).double()
    return MainModel(plain_generator(), GanConfig(lambda_L2=1.0, lambda_cosine=1.0, ema_decay=0.5), accelerator, net_D)


def regression(accelerator) -> RegressionModel:
    return RegressionModel(plain_generator(), accelerator=accelerator, loss="L2")


MODELS = {"GAN": gan, "regression": regression}


def two_steps(name: str) -> dict[str, torch.Tensor]:
    """Losses, gradients and weights after two steps on batches of 4, in double precision: L1's gradient is a sign."""
    seed_everything(0)
    model: TrainableModel = MODELS[name](make_accelerator("cpu")).train()
    generator = torch.Generator().manual_seed(1)
    for _ in range(2):
        L = torch.rand(4, 1, 32, 32, generator=generator, dtype=torch.float64) * 2 - 1
        ab = torch.randn(4, 2, 32, 32, generator=generator, dtype=torch.float64) * 0.2
        mine = slice(processes.index(), None, processes.count())
        model.setup_input({"L": L[mine], "ab": ab[mine]})
        model.step()
    found = dict(zip(model.loss_names, model.losses(), strict=True))
    for of, net in model.networks.items():
        found |= {f"gradient of {of}.{key}": p.grad for key, p in net.named_parameters() if p.requires_grad}
        found |= {f"{of}.{key}": tensor for key, tensor in net.state_dict().items()}
    return found


def train(folder: Path, epochs: int = EPOCHS, batch_size: int = BATCH):
    """(model, history) of `tiny_training.train` with an average; the first process's weights are to count."""
    model = tiny_model(0.5, make_accelerator("cpu"), seed=processes.index())
    config, showcase = LoopConfig(log_every=2, show_at=(1,), checkpoint_minutes=60), next(iter(loaders()[1]))["L"]
    return tiny_training.train(folder, epochs, config, model=model, batch_size=batch_size, showcase=showcase)


def watch(folder: Path, events: tuple[str, ...] = ()) -> list[str]:
    """From now on, what this process opens below `folder`; with `events`, opens for writing and those."""
    seen = []

    def hook(event: str, arguments: tuple) -> None:
        wanted = event in events
        if event == "open":
            flags = arguments[2] if isinstance(arguments[2], int) else 0
            wanted = not events or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if wanted and str(arguments[0]).startswith(str(folder)):
            seen.append(f"{event} {arguments[0]}")
            time.sleep(0 if events else 0.02)  # so that two processes at work would meet

    sys.addaudithook(hook)
    return seen


def first_use(folder: Path, data: Path) -> dict:
    """Find and decode photographs that nobody has used: how often this process opened one, and what it got."""
    opened = watch(folder)
    found = find_photographs(PhotoConfig(source="folder", folder=str(folder), n_images=0), data, 32)
    pixels = cached_photographs(found, 32, data)
    return {"opened": len(opened), "digest": found.digest(), "sum": int(pixels.astype(np.int64).sum())}


def stop_launcher(number: int) -> None:
    """In the second epoch, have the first process send SIGTERM to the launcher, and wait for it to arrive."""
    if number == BATCHES + 1 and processes.is_main():
        os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(1.0 if number > BATCHES else 0.0)


def main(folder: Path) -> None:
    # fastai uses the GPU as soon as it is imported, which a notebook that is to be forked must not.
    record = {"fastai was imported before": "fastai" in sys.modules}
    make_accelerator("cpu")
    record["photographs"] = first_use(folder / "photographs", folder / "data")
    for name in MODELS:
        torch.save(two_steps(name), folder / f"{name}, process {processes.index()}.pt")
    runs = folder / "runs"
    with redirect_stdout(io.StringIO()) as printed:
        writes = watch(runs, ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link"))
        model, _ = train(runs / "straight")
        train(runs / "parts", 1)
        resumed, history = train(runs / "parts")
        record["writes"], record["printed"] = list(writes), printed.getvalue()
    record["iterations"] = int(history.iteration.max())
    weights, others = (one.networks["net_G"].state_dict() for one in (model, resumed))
    same = (torch.equal(weights[key], others[key]) for key in weights if "running" not in key)
    record["resumed to the same bits"] = all(same)
    record["weights"] = float(sum(weight.double().sum() for key, weight in weights.items() if key.endswith("weight")))
    try:
        train(runs / "uneven", batch_size=3)
    except ValueError as error:
        record["uneven"] = str(error)
    (folder / f"process-{processes.index()}.json").write_text(json.dumps(record))
    MainModel.optimize = tiny_training.optimize_and(stop_launcher)
    train(runs / "stopped", 1000)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
