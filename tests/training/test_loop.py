"""The training loop: averages, history, checkpoints, resuming to the bit, interruptions, bad losses."""

import hashlib
import json
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny_training
import torch
from PIL import Image
from tiny_training import BATCHES, loaders, tiny_model, tiny_run, train
from torch import nn

from colorize_lib.evaluation.metrics import validate
from colorize_lib.models import GeneratorConfig, build_generator
from colorize_lib.models.weights import CheckpointError, load_generator, read_checkpoint, save_weights
from colorize_lib.training import loop
from colorize_lib.training.checkpoints import Checkpoints
from colorize_lib.training.gan import MainModel
from colorize_lib.training.interrupts import TrainingInterrupted
from colorize_lib.training.loop import LoopConfig, NonFiniteLoss, pretrain_generator, train_model
from colorize_lib.training.trainable import RegressionModel

LOSSES = MainModel.loss_names


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Four epochs in one go: (model, history)."""
    return train(tmp_path_factory.mktemp("straight"), 4)


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
    history, other_history = (table.drop(columns="seconds") for table in (history, other_history))
    assert (
        history.astype(object).where(history.notna()).equals(other_history.astype(object).where(other_history.notna()))
    )


def checkpoint_names(folder: Path) -> list[str]:
    return sorted(path.name for path in tiny_run(folder).checkpoints.iterdir())


# --- resuming ---------------------------------------------------------------------------------------------------------


def test_two_epochs_and_a_resume_equal_four_epochs_to_the_bit(tmp_path, straight):
    train(tmp_path, 2)
    assert_same_run(train(tmp_path, 4), straight)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_stopped_within_an_epoch_goes_on_to_the_same_weights(tmp_path, straight, how):
    process = subprocess.Popen(
        [sys.executable, tiny_training.__file__, tmp_path, "4", "0.3"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    seen = 0
    for line in process.stdout:
        seen += line == "iteration\n"
        if seen == BATCHES + 3:  # in the middle of the second epoch
            process.send_signal(how)
            break
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    if how != signal.SIGKILL:
        assert "TrainingInterrupted: training stopped after iteration" in errors
    newest = Checkpoints(tiny_run(tmp_path).checkpoints).load()[1]
    assert newest["epoch"] == 1 and 2 <= newest["batch"] < BATCHES
    assert_same_run(train(tmp_path, 4), straight)


def test_a_finished_run_trains_no_more_and_gives_the_same_history(tmp_path, straight, monkeypatch):
    train(tmp_path, 4)
    monkeypatch.setattr(MainModel, "optimize", lambda self: pytest.fail("trained again"))
    assert_same_run(train(tmp_path, 4), straight)


def test_the_moving_average_is_validated_and_goes_on_after_an_interruption(tmp_path):
    def averaging_model() -> MainModel:
        model = tiny_model()
        model.average_generator(0.9)
        return model

    results = []
    for name, parts in (("straight", [3]), ("parts", [1, 3])):
        for epochs in parts:
            model = averaging_model()
            config = LoopConfig(log_every=2, show_at=())
            history = train_model(model, *loaders(), epochs, tiny_run(tmp_path / name), validate, config)
        results.append((model, history))
    assert_same_run(*results)
    assert validate(model.generator, loaders()[1])["val_L1"] == history.val_L1.iloc[-1]
    assert validate(model.networks["net_G"], loaders()[1])["val_L1"] != history.val_L1.iloc[-1]


def test_other_settings_start_anew_and_keep_the_old_checkpoints(tmp_path):
    config = LoopConfig(show_at=(1, 3))
    showcase = next(iter(loaders()[1]))["L"]
    _, first = train(tmp_path, 1, config, showcase=showcase)
    other = loop.Run(tiny_run(tmp_path).path, {"seed": 1})
    model = tiny_model()
    model.config = replace(model.config, lambda_L1=1.0)
    history = train_model(model, *loaders(), 1, other, validate, LoopConfig(show_at=(2,)), showcase)
    assert sorted(path.name for path in other.progress.iterdir()) == [f"iteration-{k:07d}.png" for k in (0, 2, BATCHES)]
    assert (history.kind == "epoch").sum() == 1
    assert checkpoint_names(tmp_path) and other.checkpoints != tiny_run(tmp_path).checkpoints
    _, again = train(tmp_path, 1, config, showcase=showcase)  # the old checkpoints come with their own history
    assert again.equals(first) and not again.equals(history)
    assert pd.read_csv(tiny_run(tmp_path).path / "history.csv").seconds.tolist() == first.seconds.tolist()
    pictures = sorted(path.name for path in tiny_run(tmp_path).progress.iterdir())
    assert pictures == [f"iteration-{k:07d}.png" for k in (0, 1, 3, BATCHES)]


def test_equal_weights_are_equal_files(tmp_path):
    for k in range(6):
        save_weights(tiny_model().net_G, tmp_path / f"{k}.safetensors", {"a": 1, "b": 2})
    assert len({(tmp_path / f"{k}.safetensors").read_bytes() for k in range(6)}) == 1


def test_drawing_pictures_does_not_change_the_training(tmp_path, straight):
    config = LoopConfig(log_every=2, show_at=(1, 3), show_every=10, checkpoint_minutes=0)
    showcase = next(iter(loaders()[1]))["L"]
    assert_same_run(train(tmp_path, 4, config, showcase=showcase), straight)
    files = sorted(path.name for path in tiny_run(tmp_path).progress.iterdir())
    assert files == [f"iteration-{k:07d}.png" for k in (0, 1, 3, 6, 10, 12, 18, 20, 24)]
    assert Image.open(tiny_run(tmp_path).progress / files[0]).size == (2 * 32, 32)


# --- what is logged ---------------------------------------------------------------------------------------------------


def test_history_has_a_row_per_epoch_and_per_logged_iteration(straight):
    history = straight[1]
    iterations, epochs = history[history.kind == "iteration"], history[history.kind == "epoch"]
    assert iterations.iteration.tolist() == list(range(2, 4 * BATCHES + 1, 2))
    assert iterations.epoch.tolist() == [1 + (k - 1) // BATCHES for k in iterations.iteration]
    assert epochs.epoch.tolist() == [1, 2, 3, 4] and epochs.iteration.tolist() == [BATCHES * k for k in (1, 2, 3, 4)]
    for name in LOSSES:  # the windows of an epoch are equally long, so their mean is the epoch's
        means = iterations.groupby("epoch")[name].mean().to_numpy()
        np.testing.assert_allclose(means, epochs[name].to_numpy(), rtol=1e-6)
    assert epochs[["val_L1", "val_psnr", "val_ssim", "val_colorfulness"]].notna().all(axis=None)
    assert (epochs.seconds.diff().dropna() > 0).all()


def test_logged_losses_are_the_models(tmp_path, monkeypatch):
    seen = []
    optimize = MainModel.optimize

    def recording_optimize(self):
        optimize(self)
        seen.append(self.losses())

    monkeypatch.setattr(MainModel, "optimize", recording_optimize)
    _, history = train(tmp_path, 1)
    expected = torch.stack(seen).double().mean(dim=0)
    np.testing.assert_allclose(history[history.kind == "epoch"][list(LOSSES)].iloc[0], expected, rtol=1e-6)


def test_validation_rows_do_not_depend_on_the_training_mode(tmp_path):
    """BatchNorm is in train mode in every step and in eval mode in every validation, at every stage."""
    modes = {True: set(), False: set()}  # by whether gradients are on
    model = tiny_model()
    for module in model.net_G.modules():
        if isinstance(module, nn.BatchNorm2d | nn.Dropout):
            module.register_forward_pre_hook(lambda m, _: modes[torch.is_grad_enabled()].add(m.training))
    train_model(model, *loaders(), 2, tiny_run(tmp_path), validate)
    assert modes == {True: {True}, False: {False}}


def test_pretraining_leaves_the_average_that_it_validated(tmp_path):
    def trained(folder: str, **options) -> tuple[dict, float]:
        torch.manual_seed(0)
        net_G = build_generator(GeneratorConfig("unet", 32, 5, 4))
        history = pretrain_generator(net_G, *loaders(), 2, tiny_run(tmp_path / folder), validate, lr=1e-2, **options)
        last = history[history.kind == "epoch"].iloc[-1].val_L1
        assert validate(net_G, loaders()[1])["val_L1"] == pytest.approx(last)
        return net_G.state_dict(), last

    (plain, of_plain), (average, of_average) = trained("plain"), trained("average", ema_decay=0.9)
    assert of_plain != of_average
    assert any(not torch.equal(plain[key], average[key]) for key in plain)
    again, _ = trained("average", ema_decay=0.9)  # finished: nothing is trained, and the same is left
    assert all(torch.equal(again[key], average[key]) for key in average)


def test_a_dynamic_unet_is_in_train_mode_in_every_step_of_pretraining(tmp_path):
    net_G = build_generator(GeneratorConfig("resnet18_dynamic_unet", 32)).eval()
    modes = {True: set(), False: set()}  # by whether gradients are on
    for module in net_G.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda m, _: modes[torch.is_grad_enabled()].add(m.training))
    history = pretrain_generator(net_G, *loaders(), 1, tiny_run(tmp_path), validate, lr=1e-3)
    assert modes == {True: {True}, False: {False}}
    assert history.columns.tolist()[4] == "loss_L1" and "loss_G" not in history


# --- checkpoints ------------------------------------------------------------------------------------------------------


def test_the_newest_two_and_the_best_are_kept(tmp_path, straight):
    train(tmp_path, 4, LoopConfig(checkpoint_minutes=60))
    scores = straight[1][straight[1].kind == "epoch"].val_L1.tolist()
    best = 1 + scores.index(min(scores))
    names = checkpoint_names(tmp_path)
    assert names == [f"best-epoch-{best:05d}-batch-0000000"] + [f"epoch-{k:05d}-batch-0000000" for k in (3, 4)]
    assert read_checkpoint(tiny_run(tmp_path).checkpoints / names[0])[1]["best_L1"] == min(scores)


@pytest.mark.parametrize("damage", ["truncate", "flip", "no json", "no state"])
def test_a_corrupt_newest_checkpoint_falls_back_to_the_one_before(tmp_path, straight, damage):
    train(tmp_path, 3)
    newest = tiny_run(tmp_path).checkpoints / "epoch-00003-batch-0000000"
    content = bytearray((newest / "state.pt").read_bytes())
    if damage == "truncate":
        (newest / "state.pt").write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        content[len(content) // 2] ^= 1
        (newest / "state.pt").write_bytes(content)
    else:
        (newest / {"no json": "checkpoint.json", "no state": "state.pt"}[damage]).unlink()
    with pytest.warns(UserWarning, match="epoch-00003-batch-0000000 is corrupt.*falling back"):
        result = train(tmp_path, 4)
    assert_same_run(result, straight)


def test_if_every_checkpoint_is_corrupt_the_run_stops_and_says_so(tmp_path):
    train(tmp_path, 1)
    for path in tiny_run(tmp_path).checkpoints.glob("epoch-*/state.pt"):
        path.write_bytes(b"")
    with pytest.warns(UserWarning), pytest.raises(CheckpointError, match="every checkpoint in .* is corrupt"):
        train(tmp_path, 2)


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(tmp_path, straight, monkeypatch):
    train(tmp_path, 2)
    before = checkpoint_names(tmp_path)

    def full_disk(state, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(torch, "save", full_disk)
        train(tmp_path, 4)
    assert [name for name in checkpoint_names(tmp_path) if not name.startswith(".")] == before
    assert_same_run(train(tmp_path, 4), straight)
    assert not [name for name in checkpoint_names(tmp_path) if name.startswith(".")]


class Bomb:
    def __reduce__(self):
        return print, ("executed",)


def test_no_pickled_code_is_executed(tmp_path, capsys):
    train(tmp_path, 1)
    capsys.readouterr()
    folder = next(tiny_run(tmp_path).checkpoints.glob("epoch-*"))
    with open(folder / "state.pt", "wb") as file:
        pickle.dump(Bomb(), file)
    note = json.loads((folder / "checkpoint.json").read_text())
    note["sha256"] = hashlib.sha256((folder / "state.pt").read_bytes()).hexdigest()
    (folder / "checkpoint.json").write_text(json.dumps(note))
    with pytest.raises(CheckpointError, match="corrupt"):
        read_checkpoint(folder)
    assert "executed" not in capsys.readouterr().out


# --- interruptions and bad losses -------------------------------------------------------------------------------------


def test_a_signal_during_the_last_validation_still_stops_the_run(tmp_path):
    def validate_and_interrupt(net_G, val_dl):
        signal.raise_signal(signal.SIGINT)
        return {"val_L1": 0.1}

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(TrainingInterrupted, match=f"iteration {BATCHES}"):
        train(tmp_path, 1, score=validate_and_interrupt)
    assert checkpoint_names(tmp_path)[-1] == "epoch-00001-batch-0000000"
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_bad_loss_stops_the_run_by_name_and_keeps_the_last_good_checkpoint(tmp_path, straight, monkeypatch, value):
    train(tmp_path, 2)
    steps = iter(range(1, 100))
    losses = MainModel.losses

    def spoiled_losses(self):
        good = losses(self)
        good[3] = value if next(steps) == 4 else good[3]
        return good

    with monkeypatch.context() as patch:
        patch.setattr(MainModel, "losses", spoiled_losses)
        with pytest.raises(NonFiniteLoss, match=rf"loss_G_GAN is {value} at epoch 3, iteration {2 * BATCHES + 4}\."):
            train(tmp_path, 4, LoopConfig(log_every=50, show_at=(), checkpoint_minutes=60))
    assert checkpoint_names(tmp_path)[-1] == "epoch-00002-batch-0000000"
    assert_same_run(train(tmp_path, 4), straight)


# --- final weights ----------------------------------------------------------------------------------------------------


def test_weights_come_back_with_their_configuration(tmp_path):
    config = GeneratorConfig("unet", 32, 5, 4)
    net_G = build_generator(config)
    save_weights(net_G, tmp_path / "net_G.safetensors", {"generator": vars(config)})
    loaded, loaded_config = load_generator(tmp_path / "net_G.safetensors")
    assert loaded_config == config
    assert all(torch.equal(t, loaded.state_dict()[name]) for name, t in net_G.state_dict().items())


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_bytes(b"no tensors"), "is not a whole safetensors file"),
        (lambda path: save_weights(nn.Linear(1, 1), path, {}), "does not describe a generator"),
        (
            lambda path: save_weights(nn.Linear(1, 1), path, {"generator": {"architecture": "unet", "colour": 1}}),
            "colour",
        ),
    ],
)
def test_a_bad_weights_file_is_named(tmp_path, make, message):
    path = tmp_path / "net_G.safetensors"
    make(path)
    with pytest.raises(CheckpointError, match=message) as error:
        load_generator(path)
    assert str(path) in str(error.value)


def test_l1_model_shares_the_interface():
    model = RegressionModel(build_generator(GeneratorConfig("unet", 32, 5, 4)))
    assert set(model.networks) == {"net_G"} and set(model.optimizers) == {"opt_G"} and len(model.loss_names) == 1
