"""The training loop: epochs, averages, validation, history, step-by-step pictures, and exact resuming."""

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from PIL import Image
from torch import nn

from .. import color
from ..data.loader import LabLoader
from ..files import atomic_path, held
from ..models.painting import colorize_batch
from ..runs import processes
from ..runs.progress import Progress
from ..runs.run import Run
from .checkpoints import Checkpoints, set_state, state_of
from .interrupts import TrainingInterrupted, stop_requests
from .position import Meters, Position, averages, create_loss_meters
from .trainable import RegressionModel, TrainableModel

Score = Callable[[nn.Module, LabLoader], dict[str, float]]  # (generator, val_dl) -> figures by name, val_L1 among them
STATISTICS_BATCHES = 50  # training batches from which the BatchNorm statistics of a moving average are taken


class NonFiniteLoss(RuntimeError):
    """A loss became NaN or infinite; the message names it, the epoch and the iteration."""


@dataclass(frozen=True)
class LoopConfig:
    """How training is observed and saved; nothing here changes what is learned."""

    log_every: int = 50  # iterations between two rows of history.csv
    show_at: tuple[int, ...] = (1, 5, 10, 50, 100, 249)  # iterations after which the showcase is coloured and saved
    show_every: int = 1000  # and every so many iterations after that
    checkpoint_minutes: float = 5.0  # a checkpoint at the latest after this time, besides one after each epoch

    def __post_init__(self):
        for name in ("log_every", "show_every"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")


def train_model(
    model: TrainableModel,
    train_dl: LabLoader,
    val_dl: LabLoader,
    epochs: int,
    run: Run,
    score: Score,
    config: LoopConfig | None = None,
    showcase: torch.Tensor | None = None,
) -> pd.DataFrame:
    """Train until `epochs` epochs are done in all, resuming from the run's newest checkpoint, and return the history.

    After each epoch: validation, a row in history.csv, a printed line and a checkpoint. history.csv has a row per
    logged iteration too, whose losses are means since the row before. Epochs and iterations count from 1 over the
    whole life of the run.
    score: judges the generator, as `evaluation.metrics.validate` does; `val_...` of it are printed.
    showcase: L (K,1,H,W) of fixed photographs, whose colourings go to `run.progress`.
    In a run of several processes all call this, with the same arguments: each trains on its share of every batch (a
    batch of train_dl is a batch of all processes together) and validates on all of val_dl, and the first one writes.
    Raises RuntimeError if another process writes to this run, ValueError for a batch that cannot be shared evenly,
    NonFiniteLoss for a NaN or infinite loss (the last good checkpoint stays), and TrainingInterrupted after SIGINT or
    SIGTERM to any process, once a checkpoint is written.
    """
    with held(run.path) if processes.is_main() else nullcontext():
        return _Training(model, train_dl, val_dl, epochs, run, score, config or LoopConfig(), showcase).run_epochs()


def pretrain_generator(
    net_G: nn.Module, *data_and_run, lr=1e-4, accelerator: Accelerator | None = None, ema_decay=0.0, **options
) -> pd.DataFrame:
    """Train a generator on L1 alone (Adam, `lr`), the reports' first stage; everything else as in `train_model`.

    ema_decay: of a moving average of the weights, which is validated and which net_G has in the end; 0: none.
    """
    model = RegressionModel(net_G, lr, accelerator, ema_decay=ema_decay)
    history = train_model(model, *data_and_run, **options)
    if ema_decay:
        net_G.load_state_dict(model.generator.state_dict())
    return history


class _Training:
    def __init__(self, model, train_dl, val_dl, epochs, run, score, config, showcase):
        self.model, self.val_dl, self.epochs, self.run, self.score = model, val_dl, epochs, run, score
        self.config, self.showcase, self.accelerator = config, showcase, model.accelerator
        self.checkpoints, self.writes, number = Checkpoints(run.checkpoints), processes.is_main(), processes.count()
        if train_dl.batch_size % number:  # the mean of the shares' means would not be that of the batch
            raise ValueError(f"{number} processes cannot share a batch of {train_dl.batch_size} evenly")
        self.several, self.train_dl = number > 1, train_dl.share(processes.index(), number)
        self.unsettled: list[torch.Tensor] = []  # losses, on the device: a step need not wait for the one before
        self.restore()

    @property
    def iteration(self) -> int:
        return self.position.epoch * len(self.train_dl) + self.position.batch

    def run_epochs(self) -> pd.DataFrame:
        total = self.epochs * len(self.train_dl)
        progress = Progress(total, "training iterations", start=min(self.iteration, total))
        with stop_requests(patient=self.several) as stop, progress:
            if self.iteration == 0:
                self.show()
            while self.position.epoch < self.epochs:
                self.train_epoch(stop, progress)
                self.finish_epoch()
                self.stop_if_asked(stop)
            self.accelerator.wait_for_everyone()  # what the first one wrote is there for all
        return pd.DataFrame(self.position.history)

    def train_epoch(self, stop: threading.Event, progress: Progress) -> None:
        at, config = self.position, self.config
        self.model.set_modes()
        self.train_dl.set_epoch(at.epoch, at.batch)
        self.clock = self.saved = time.monotonic()
        for batch in self.train_dl:
            if not self.writes:  # other dropout than in the first process, whose generator's state is in checkpoints
                key = (self.train_dl.seed, self.iteration, processes.index())
                torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
            self.model.setup_input(batch)
            self.model.step()
            self.unsettled.append(self.model.losses())
            at.batch += 1
            progress.update()
            if self.iteration % config.log_every == 0:
                self.settle()
                self.log("iteration", at.window_meters, {})
                at.window_meters = create_loss_meters(self.model.loss_names)
            if self.iteration in config.show_at or self.iteration % config.show_every == 0:
                self.show()
            self.stop_if_asked(stop)
            if time.monotonic() - self.saved >= config.checkpoint_minutes * 60:
                self.save()

    def finish_epoch(self) -> None:
        at = self.position
        self.settle()
        self.model.refresh_average(islice(self.train_dl, STATISTICS_BATCHES))
        scores = self.score(self.model.generator, self.val_dl)
        self.clock = time.monotonic()  # `seconds` counts training alone
        self.log("epoch", at.epoch_meters, scores)
        validation = ", ".join(f"{name} {value:.4f}" for name, value in scores.items() if name.startswith("val_"))
        means = ", ".join(f"{name} {mean:.5f}" for name, mean in averages(at.epoch_meters).items())
        processes.say(f"epoch {at.epoch + 1}/{self.epochs}: {means}; {validation}")
        best, at.best_L1 = scores["val_L1"] < at.best_L1, min(scores["val_L1"], at.best_L1)
        at.epoch, at.batch = at.epoch + 1, 0
        at.epoch_meters, at.window_meters = (create_loss_meters(self.model.loss_names) for _ in range(2))
        self.show()
        self.save(best)

    def stop_if_asked(self, stop: threading.Event) -> None:
        """Save and raise TrainingInterrupted in all processes once one of them was asked to stop."""
        asked = stop.is_set()
        if self.several:  # not in a run of one: the question waits for all that the device has still to do
            if asked:
                self.accelerator.set_trigger()
            asked = self.accelerator.check_trigger()
        if asked:
            saved = self.save()
            self.accelerator.wait_for_everyone()  # a launcher ends all processes as soon as one has ended
            where = f"after iteration {self.iteration}, in epoch {self.position.epoch + 1}"
            what = f"checkpoint {saved or 'written by the first process'}. Run the same command again to go on."
            raise TrainingInterrupted(f"training stopped {where}; {what}")

    def settle(self) -> None:
        """Bring the waiting losses from the device, refuse NaN and Inf, and add them to the averages."""
        at, now = self.position, time.monotonic()
        at.seconds, self.clock = at.seconds + now - self.clock, now
        if not self.unsettled:
            return
        steps, self.unsettled = torch.stack(self.unsettled).cpu(), []
        for step, loss in (~steps.isfinite()).nonzero().tolist()[:1]:
            folder = self.run.checkpoints
            kept = f" The last good checkpoint is in {folder}." if any(folder.glob("epoch-*")) else ""
            raise NonFiniteLoss(
                f"{self.model.loss_names[loss]} is {steps[step, loss]} at epoch {at.epoch + 1}, iteration "
                f"{self.iteration - len(steps) + step + 1}.{kept} A lower learning rate or full precision may help."
            )
        for losses in steps:
            for name, loss in zip(self.model.loss_names, losses.tolist(), strict=True):
                for meters in (at.epoch_meters, at.window_meters):
                    meters[name] = [meters[name][0] + loss, meters[name][1] + 1]

    def log(self, kind: str, meters: Meters, scores: dict[str, float]) -> None:
        at = self.position
        row = {"kind": kind, "epoch": at.epoch + 1, "iteration": self.iteration, "seconds": round(at.seconds, 2)}
        at.history.append(row | averages(meters) | scores)
        self.write_history()

    def write_history(self) -> None:
        if self.writes:
            with atomic_path(self.run.path / "history.csv") as partial:
                pd.DataFrame(self.position.history).to_csv(partial, index=False)

    def show(self) -> None:
        """Colour the showcase with the network as it is now, and save the pictures side by side."""
        if self.showcase is not None and self.writes:
            rgb = color.lab_to_rgb(self.showcase, colorize_batch(self.model.generator, self.showcase))
            with atomic_path(self.run.progress / f"iteration-{self.iteration:07d}.png") as partial:
                Image.fromarray(np.hstack(color.to_uint8(rgb))).save(partial, format="PNG")  # (H,K*W,3)

    def save(self, best: bool = False) -> Path | None:
        """Write a checkpoint of the current position; None if another process does."""
        self.settle()
        self.saved, at = time.monotonic(), self.position
        if not self.writes:
            return None
        note = vars(at) | {"iteration": self.iteration}
        return self.checkpoints.save(at.epoch, at.batch, state_of(self.model), note, best)

    def restore(self) -> None:
        """Take up the newest checkpoint, if there is one, and forget the pictures of what came after it."""
        # One process reads it for all, so that none finds another one, and none reads what is being deleted.
        found = broadcast_object_list([self.checkpoints.load() if self.writes else None])[0]
        if found is None:
            self.position = Position(*(create_loss_meters(self.model.loss_names) for _ in range(2)))
        else:
            self.position = Position.of(found[1], self.model.loss_names)
            set_state(self.model, found[0])
            self.write_history()  # the file may be that of a run with other settings
            processes.say(f"resuming after epoch {self.position.epoch}, iteration {self.iteration}")
        for picture in self.run.progress.glob("iteration-*.png") if self.writes else []:
            if int(picture.stem.split("-")[1]) > self.iteration:
                picture.unlink()
