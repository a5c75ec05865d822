"""The training loop: averages, history, resuming to the bit, interruptions, bad losses."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny_training
import torch
from PIL import Image
from tiny_training import BATCHES, loaders, optimize_and, tiny_model, tiny_run, train
from torch import nn

from colorize_lib.data.loader import ColorizationDataset, LabLoader
from colorize_lib.evaluation.metrics import validate
from colorize_lib.files import held
from colorize_lib.models import GeneratorConfig, build_generator
from colorize_lib.runs.run import Run
from colorize_lib.training.checkpoints import Checkpoints
from colorize_lib.training.gan import GanConfig, MainModel
from colorize_lib.training.interrupts import TrainingInterrupted
from colorize_lib.training.loop import LoopConfig, NonFiniteLoss, pretrain_generator, train_model
from colorize_lib.training.trainable import RegressionModel

LOSSES = (*MainModel.loss_names, "accuracy_D_fake", "accuracy_D_real")
EPOCHS = 3


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Three epochs in one go: (model, history)."""
    return train(tmp_path_factory.mktemp("straight"), EPOCHS)


def assert_same_run(result, expected) -> None:
    """Equal weights, optimiser states and histories (times aside), to the last bit."""
    (model, history), (other, other_history) = result, expected
    for name, network in model.networks.items():
        theirs = other.networks[name].state_dict()
        assert all(torch.equal(tensor, theirs[key]) for key, tensor in network.state_dict().items()), name
    for name, optimizer in model.optimizers.items():
        theirs = other.optimizers[name].state_dict()["state"]
        for index, state in optimizer.state_dict()["state"].items():
            assert all(torch.equal(tensor, theirs[index][key]) for key, tensor in state.items()), name
    tables = (table.drop(columns="seconds").astype(object) for table in (history, other_history))
    one, two = (table.where(table.notna()) for table in tables)
    assert one.equals(two)


def test_one_epoch_and_a_resume_equal_three_epochs_to_the_bit(tmp_path, straight):
    train(tmp_path, 1)
    assert_same_run(train(tmp_path, EPOCHS), straight)


def test_a_run_killed_within_an_epoch_goes_on_to_the_same_weights(tmp_path, straight):
    command = [sys.executable, tiny_training.__file__, tmp_path, str(EPOCHS), str(BATCHES + 3)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    newest = Checkpoints(tiny_run(tmp_path).checkpoints).load()[1]
    assert newest["epoch"] == 1 and newest["batch"] == 2  # in the middle of the second epoch
    assert_same_run(train(tmp_path, EPOCHS), straight)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_within_an_epoch_leaves_a_checkpoint_of_that_iteration(tmp_path, straight, monkeypatch, how):
    before = signal.getsignal(how)
    with monkeypatch.context() as patch:
        stopping = optimize_and(lambda number: number == BATCHES + 3 and os.kill(os.getpid(), how))
        patch.setattr(MainModel, "optimize", stopping)
        where = rf"after iteration {BATCHES + 3}, in epoch 2; checkpoint .*0003\."
        with pytest.raises(TrainingInterrupted, match=where):
            train(tmp_path, EPOCHS, LoopConfig(log_every=2, show_at=(), checkpoint_minutes=60))
    assert signal.getsignal(how) is before
    assert_same_run(train(tmp_path, EPOCHS), straight)


def test_a_signal_during_the_last_validation_still_stops_the_run(tmp_path):
    def validate_and_interrupt(net_G, val_dl):
        signal.raise_signal(signal.SIGINT)
        return {"val_L1": 0.1}

    with pytest.raises(TrainingInterrupted, match=f"iteration {BATCHES}"):
        train(tmp_path, 1, score=validate_and_interrupt)
    assert (tiny_run(tmp_path).checkpoints / "epoch-00001-batch-0000000").is_dir()


def test_a_finished_run_trains_no_more_and_gives_the_same_history(tmp_path, monkeypatch):
    expected = train(tmp_path, 1)
    monkeypatch.setattr(MainModel, "optimize", lambda self: pytest.fail("trained again"))
    assert_same_run(train(tmp_path, 1), expected)


def test_the_moving_average_is_validated_and_goes_on_after_an_interruption(tmp_path):
    straight = train(tmp_path / "straight", 2, model=tiny_model(0.9))
    train(tmp_path / "parts", 1, model=tiny_model(0.9))
    assert_same_run(train(tmp_path / "parts", 2, model=tiny_model(0.9)), straight)
    model, last = straight[0], straight[1].val_L1.iloc[-1]
    assert validate(model.generator, loaders()[1])["val_L1"] == last
    assert validate(model.networks["net_G"], loaders()[1])["val_L1"] != last


def pictures(run: Run) -> list[int]:
    """The iterations of which there are pictures."""
    return sorted(int(path.stem.split("-")[1]) for path in run.progress.iterdir())


def test_other_settings_start_anew_and_keep_the_old_checkpoints(tmp_path):
    config, showcase = LoopConfig(show_at=(1, 3)), next(iter(loaders()[1]))["L"]
    _, first = train(tmp_path, 1, config, showcase=showcase)
    run, other = tiny_run(tmp_path), Run(tiny_run(tmp_path).path, {"seed": 1})
    history = train_model(tiny_model(0.5), *loaders(), 1, other, validate, LoopConfig(show_at=(2,)), showcase)
    assert pictures(other) == [0, 2, BATCHES]
    assert (history.kind == "epoch").sum() == 1 and other.checkpoints != run.checkpoints
    _, again = train(tmp_path, 1, config, showcase=showcase)  # the old checkpoints come with their own history
    assert again.equals(first) and not again.equals(history)
    assert pd.read_csv(run.path / "history.csv").seconds.tolist() == first.seconds.tolist()
    assert pictures(run) == [0, 1, 3, BATCHES]


def test_drawing_pictures_does_not_change_the_training(tmp_path, straight):
    config = LoopConfig(log_every=2, show_at=(1, 3), show_every=10, checkpoint_minutes=0)
    assert_same_run(train(tmp_path, EPOCHS, config, showcase=next(iter(loaders()[1]))["L"]), straight)
    assert pictures(tiny_run(tmp_path)) == [0, 1, 3, 6, 10, 12, 18]
    assert Image.open(next(tiny_run(tmp_path).progress.iterdir())).size == (2 * 32, 32)


def test_history_has_a_row_per_epoch_and_per_logged_iteration(straight):
    history = straight[1]
    iterations, epochs = history[history.kind == "iteration"], history[history.kind == "epoch"]
    assert iterations.iteration.tolist() == list(range(2, EPOCHS * BATCHES + 1, 2))
    assert iterations.epoch.tolist() == [1 + (k - 1) // BATCHES for k in iterations.iteration]
    assert epochs.epoch.tolist() == [1, 2, 3] and epochs.iteration.tolist() == [BATCHES * k for k in (1, 2, 3)]
    for name in LOSSES:  # the windows of an epoch are equally long, so their mean is the epoch's
        means = iterations.groupby("epoch")[name].mean().to_numpy()
        np.testing.assert_allclose(means, epochs[name].to_numpy(), rtol=1e-6)
    assert epochs[["val_L1", "val_psnr", "val_ssim", "val_colorfulness"]].notna().all(axis=None)
    assert (epochs.seconds.diff().dropna() > 0).all()


def test_logged_losses_are_the_models_and_figures_those_of_the_score(tmp_path, monkeypatch):
    seen, model = [], tiny_model()
    monkeypatch.setattr(MainModel, "optimize", optimize_and(lambda _: seen.append(model.losses())))
    score = {"val_L1": 0.5, "entropy_ratio": 0.25}
    _, history = train(tmp_path, 1, score=lambda net_G, val_dl: score, model=model)
    epoch, expected = history[history.kind == "epoch"].iloc[0], torch.stack(seen).double().mean(dim=0)
    np.testing.assert_allclose(epoch[list(LOSSES)].astype(float), expected, rtol=1e-6)
    assert epoch.val_L1 == 0.5 and epoch.entropy_ratio == 0.25


def test_networks_train_in_train_mode_and_are_judged_in_eval_mode(tmp_path):
    modes = {True: set(), False: set()}  # by whether gradients are on
    model = tiny_model()
    for module in model.net_G.modules():
        if isinstance(module, nn.BatchNorm2d | nn.Dropout):
            module.register_forward_pre_hook(lambda m, _: modes[torch.is_grad_enabled()].add(m.training))
    train(tmp_path, 2, model=model)
    assert modes == {True: {True}, False: {False}}


def test_a_dynamic_unet_trains_in_train_mode():
    model = RegressionModel(build_generator(GeneratorConfig("resnet18_dynamic_unet", 32)).eval())
    model.set_modes()
    assert all(module.training for module in model.net_G.modules())


def test_pretraining_leaves_the_average_that_it_validated(tmp_path):
    def trained(folder: str, **options) -> tuple[dict, float]:
        torch.manual_seed(0)
        net_G = build_generator(GeneratorConfig("unet", 32, 5, 4))
        history = pretrain_generator(net_G, *loaders(), 2, tiny_run(tmp_path / folder), validate, lr=1e-2, **options)
        assert history.columns.tolist()[4] == "loss_L1" and "loss_G" not in history
        last = history[history.kind == "epoch"].iloc[-1].val_L1
        assert validate(net_G, loaders()[1])["val_L1"] == pytest.approx(last)
        return net_G.state_dict(), last

    (plain, of_plain), (average, of_average) = trained("plain"), trained("average", ema_decay=0.9)
    assert of_plain != of_average
    assert any(not torch.equal(plain[key], average[key]) for key in plain)
    again, _ = trained("average", ema_decay=0.9)  # finished: nothing is trained, and the same is left
    assert all(torch.equal(again[key], average[key]) for key in average)


@pytest.mark.parametrize("value, before", [(float("nan"), 1), (float("inf"), 0)])
def test_a_bad_loss_stops_the_run_by_name_and_keeps_the_last_good_checkpoint(
    tmp_path, straight, monkeypatch, value, before
):
    train(tmp_path, before)
    steps, losses = iter(range(1, 100)), MainModel.losses

    def spoiled_losses(self):
        good = losses(self)
        good[3] = value if next(steps) == 4 else good[3]
        return good

    where = f"loss_G_GAN is {value} at epoch {before + 1}, iteration {before * BATCHES + 4}."
    with monkeypatch.context() as patch, pytest.raises(NonFiniteLoss, match=where) as error:
        patch.setattr(MainModel, "losses", spoiled_losses)
        train(tmp_path, EPOCHS, LoopConfig(log_every=50, show_at=(), checkpoint_minutes=60))
    kept = sorted(path.name for path in Path(tiny_run(tmp_path).checkpoints).glob("epoch-*"))
    assert kept[-1:] == ["epoch-00001-batch-0000000"] * before
    assert ("The last good checkpoint is in" in str(error.value)) == bool(kept)
    assert_same_run(train(tmp_path, EPOCHS), straight)


def test_a_second_training_of_the_same_run_is_told_who_holds_it(tmp_path):
    run = tiny_run(tmp_path)
    with held(run.path), pytest.raises(RuntimeError, match=rf"is being written by process {os.getpid()} on"):
        train(tmp_path, 1)
    train(tmp_path, 1)  # the folder is free again


@pytest.mark.parametrize(("make", "said"), [
    (lambda: LoopConfig(log_every=0), "log_every is 0; it must be above 0"),
    (lambda: LabLoader(ColorizationDataset(np.zeros((4, 8, 8, 3), np.uint8)), 0, True), "batch_size is 0"),
    (lambda: GanConfig(n_down_D=6), "n_down_D is 6; it must be from 1"),
])  # fmt: skip
def test_settings_that_cannot_be_are_one_sentence(make, said):
    with pytest.raises(ValueError, match=said):
        make()
