"""The training loop: epochs, averages, validation, history, step-by-step pictures, and exact resuming."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pandas as pd
import torch
from accelerate import Accelerator
from PIL import Image
from torch import nn

from .. import color
from ..data.loader import LabLoader
from ..files import atomic_path
from ..models.painting import colorize_batch
from ..runs import processes
from ..runs.progress import Progress
from ..runs.run import Run
from .checkpoints import Checkpoints, rng_state, set_rng_state
from .history import History
from .interrupts import TrainingInterrupted, stop_requests
from .meters import AverageMeter, create_loss_meters, log_results, update_losses
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


@dataclass
class Position:
    """Where a run stands: all of it is in every checkpoint."""

    epoch: int = 0  # whole epochs done
    batch: int = 0  # batches of the next epoch done
    seconds: float = 0.0  # of training, over all resumed parts
    best_L1: float = math.inf  # lowest validation L1 so far
    epoch_meters: dict[str, AverageMeter] = field(default_factory=dict)  # since the epoch began
    window_meters: dict[str, AverageMeter] = field(default_factory=dict)  # since the last logged iteration


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

    After each epoch: validation on photographs that training never touches, a row in history.csv, a line of output and
    a checkpoint. history.csv has a row per logged iteration too (its losses are means since the row before), in epochs
    and iterations counted from 1 over the whole life of the run.
    showcase: L (K,1,H,W) of fixed photographs; their colourings before the first iteration, after each epoch and at the
    chosen iterations go to `run.progress`.
    score: judges the generator, as `evaluation.metrics.validate` does; all its figures go to history.csv, `val_...` are
    printed too.
    In a run of several processes all call this, with the same arguments: each trains on its share of every batch (a
    batch of train_dl is a batch of all processes together) and validates on all of val_dl, and the first one writes.
    The number of processes may differ from one part of a resumed run to the next.
    Raises NonFiniteLoss for a NaN or infinite loss (the last good checkpoint stays), TrainingInterrupted after SIGINT
    or SIGTERM to any process, once a checkpoint is written, and ProcessLost if another process has died.
    """
    return _Training(model, train_dl, val_dl, epochs, run, config or LoopConfig(), showcase, score).run_epochs()


def pretrain_generator(
    net_G: nn.Module,
    train_dl: LabLoader,
    val_dl: LabLoader,
    epochs: int,
    run: Run,
    score: Score,
    lr: float = 1e-4,
    config: LoopConfig | None = None,
    showcase: torch.Tensor | None = None,
    accelerator: Accelerator | None = None,
    ema_decay: float = 0.0,
) -> pd.DataFrame:
    """Train a generator on L1 alone (Adam, `lr`); everything else as in `train_model`.

    ema_decay: of a moving average of the weights, which is validated and which net_G has in the end; 0: none.
    """
    model = RegressionModel(net_G, lr, accelerator, ema_decay=ema_decay)
    history = train_model(model, train_dl, val_dl, epochs, run, score, config, showcase)
    if ema_decay:
        net_G.load_state_dict(model.generator.state_dict())
    return history


class _Training:
    """The state of one `train_model` call."""

    def __init__(self, model, train_dl, val_dl, epochs, run, config, showcase, score):
        self.model, self.val_dl, self.epochs = model, val_dl, epochs
        several = processes.count() > 1
        self.train_dl = train_dl.share(processes.index(), processes.count()) if several else train_dl
        self.run, self.config, self.showcase, self.score = run, config, showcase, score
        self.generator = model.generator
        self.checkpoints = Checkpoints(run.checkpoints)
        self.history = History(run.path / "history.csv")
        self.writes = processes.is_main()
        self.position = self.restore()
        processes.copy_from_main(model.networks.values())
        # Losses wait on the device until they are settled, so that a step need not wait for the one before.
        self.unsettled: list[torch.Tensor] = []

    def run_epochs(self) -> pd.DataFrame:
        total, done = self.epochs * len(self.train_dl), self.iteration
        advice = f"The last checkpoint is in {self.checkpoints.folder}; run the same command again to go on."
        with (
            stop_requests(patient=processes.count() > 1) as stop,
            processes.losses_named(advice),
            Progress(total, "training iterations", start=min(done, total)) as progress,
        ):
            if self.iteration == 0:
                self.show()
            while self.position.epoch < self.epochs:
                self.train_epoch(stop, progress)
                self.finish_epoch()
                if processes.anywhere(stop.is_set()):
                    self.stop_here()
            processes.wait_for_all()  # what the first one wrote is there for all
        return self.history.table()

    @property
    def iteration(self) -> int:
        """Iterations done since the run began."""
        return self.position.epoch * len(self.train_dl) + self.position.batch

    def train_epoch(self, stop: threading.Event, progress: Progress) -> None:
        """The rest of the current epoch."""
        at = self.position
        self.model.set_modes()
        self.train_dl.set_epoch(at.epoch, at.batch)
        self.clock = self.saved = time.monotonic()
        for batch in self.train_dl:
            processes.seed_noise(self.train_dl.seed, self.iteration)
            self.model.setup_input(batch)
            self.model.step()
            self.unsettled.append(self.model.losses())
            at.batch += 1
            progress.update()
            if self.iteration % self.config.log_every == 0:
                self.log_iteration()
            if self.iteration in self.config.show_at or self.iteration % self.config.show_every == 0:
                self.show()
            if processes.anywhere(stop.is_set()):
                self.stop_here()
            if time.monotonic() - self.saved >= self.config.checkpoint_minutes * 60:
                self.save()

    def stop_here(self) -> None:
        """Save and raise TrainingInterrupted."""
        saved = self.save()
        processes.wait_for_all()  # a launcher ends all processes as soon as one has ended
        raise TrainingInterrupted(
            f"training stopped after iteration {self.iteration}, in epoch {self.position.epoch + 1}; "
            f"checkpoint {saved or 'written by the first process'}. Run the same command again to go on."
        )

    def finish_epoch(self) -> None:
        """Validate, log, show and save the epoch just done."""
        at = self.position
        self.settle()
        self.model.refresh_average(islice(self.train_dl, STATISTICS_BATCHES))
        scores = self.score(self.generator, self.val_dl)
        self.clock = time.monotonic()  # `seconds` counts training alone
        averages = {name: meter.avg for name, meter in at.epoch_meters.items()}
        self.history.add(self.row("epoch") | averages | scores)
        processes.say(
            f"epoch {at.epoch + 1}/{self.epochs}: {log_results(at.epoch_meters)}; "
            + ", ".join(f"{name} {value:.4f}" for name, value in scores.items() if name.startswith("val_"))
        )
        best = scores["val_L1"] < at.best_L1
        self.position = Position(at.epoch + 1, 0, at.seconds, min(scores["val_L1"], at.best_L1), *self.new_meters())
        self.show()
        self.save(best)

    def settle(self) -> None:
        """Bring the waiting losses from the device, refuse NaN and Inf, and add them to the averages."""
        at, now = self.position, time.monotonic()
        at.seconds, self.clock = at.seconds + now - self.clock, now
        if not self.unsettled:
            return
        first = self.iteration - len(self.unsettled) + 1
        for iteration, losses in enumerate(torch.stack(self.unsettled).cpu(), start=first):
            for name, value in zip(self.model.loss_names, losses.tolist(), strict=True):
                if not math.isfinite(value):
                    raise NonFiniteLoss(
                        f"{name} is {value} at epoch {at.epoch + 1}, iteration {iteration}. The last good checkpoint "
                        f"is in {self.checkpoints.folder}; a lower learning rate or full precision may help."
                    )
            update_losses(losses, at.epoch_meters)
            update_losses(losses, at.window_meters)
        self.unsettled = []

    def log_iteration(self) -> None:
        """A history row with the mean losses since the last one."""
        self.settle()
        at = self.position
        self.history.add(self.row("iteration") | {name: meter.avg for name, meter in at.window_meters.items()})
        for meter in at.window_meters.values():
            meter.reset()

    def row(self, kind: str) -> dict:
        at = self.position
        return {
            "kind": kind,
            "epoch": at.epoch + 1,
            "iteration": self.iteration,
            "seconds": round(at.seconds, 2),
        }

    def show(self) -> None:
        """Colour the showcase with the network as it is now, and save the pictures side by side."""
        if self.showcase is not None and self.writes:
            ab_hat = colorize_batch(self.generator, self.showcase)
            pictures = color.to_uint8(color.lab_to_rgb(self.showcase, ab_hat))  # (K,H,W,3)
            strip = torch.cat(list(pictures), dim=1).numpy()  # (H,K*W,3)
            with atomic_path(self.run.progress / f"iteration-{self.iteration:07d}.png") as partial:
                Image.fromarray(strip).save(partial, format="PNG")

    def save(self, best: bool = False) -> Path | None:
        """Write a checkpoint of the current position; None if another process does."""
        self.settle()
        at = self.position
        self.saved = time.monotonic()
        if not self.writes:
            return None
        meters = {"epoch_meters": at.epoch_meters, "window_meters": at.window_meters}
        note = {"iteration": self.iteration, "seconds": at.seconds, "best_L1": at.best_L1} | {
            kind: {name: [meter.sum, meter.count] for name, meter in of.items()} for kind, of in meters.items()
        }
        note["history"] = self.history.rows
        state = {
            "networks": {name: network.state_dict() for name, network in self.model.networks.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.model.optimizers.items()},
            "scaler": self.model.accelerator.scaler.state_dict() if self.model.accelerator.scaler else {},
            "rng": rng_state(),
        }
        return self.checkpoints.save(at.epoch, at.batch, state, note, best)

    def restore(self) -> Position:
        """Load the newest checkpoint, if there is one, with its history. One process reads it for all, so that none
        finds another one, and none reads what is being deleted."""
        found = processes.from_main(self.checkpoints.load)
        if found is None:
            self.take_up([], 0)
            return Position(0, 0, 0.0, math.inf, *self.new_meters())
        state, note = found
        for name, network in self.model.networks.items():
            network.load_state_dict(state["networks"][name])
        for name, optimizer in self.model.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        if self.model.accelerator.scaler:
            self.model.accelerator.scaler.load_state_dict(state["scaler"])
        set_rng_state(state["rng"])
        self.take_up(note["history"], note["iteration"])
        meters = [
            {name: AverageMeter(*note[kind][name]) for name in self.model.loss_names}
            for kind in ("epoch_meters", "window_meters")
        ]
        processes.say(f"resuming after epoch {note['epoch']}, iteration {note['iteration']}")
        return Position(note["epoch"], note["batch"], note["seconds"], note["best_L1"], *meters)

    def take_up(self, history: list[dict], iteration: int) -> None:
        """Go on from this history, and forget the pictures of later iterations."""
        if history or self.history.path.exists():
            self.history.replace(history)
        if not self.writes:
            return
        for picture in self.run.progress.glob("iteration-*.png"):
            if int(picture.stem.split("-")[1]) > iteration:
                picture.unlink()

    def new_meters(self) -> tuple[dict[str, AverageMeter], dict[str, AverageMeter]]:
        return create_loss_meters(self.model.loss_names), create_loss_meters(self.model.loss_names)
