"""Two processes on the CPU (gloo): the gradients of one, exact resuming, who writes, and a signal to the launcher."""

import json
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import tiny_processes
import torch
from pictures import save_photographs
from tiny_processes import BATCHES, EPOCHS, MODELS, first_use, train, two_steps
from tiny_training import tiny_run
from torch import nn

from colorize_lib.training.checkpoints import Checkpoints
from colorize_lib.training.trainable import TrainableModel


@dataclass
class Two:
    """Two processes that have done `tiny_processes.main`, until the launcher was stopped."""

    folder: Path
    records: list[dict]  # what each of them noted
    status: int
    errors: str


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Two:
    folder = tmp_path_factory.mktemp("two")
    save_photographs(folder / "photographs", 12)
    (folder / "runs").mkdir()
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = str(one.getsockname()[1])
    options = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--main_process_port", port]
    options += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    command = [sys.executable, "-m", "accelerate.commands.launch", *options, tiny_processes.__file__, folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    paths = [folder / f"process-{k}.json" for k in range(2)]
    assert all(path.is_file() for path in paths), done.stderr
    return Two(folder, [json.loads(path.read_text()) for path in paths], done.returncode, done.stderr)


@pytest.mark.parametrize("name", MODELS)
def test_without_batch_norm_two_processes_have_the_losses_gradients_and_weights_of_one(two, name):
    expected = two_steps(name)
    for k in range(2):
        found = torch.load(two.folder / f"{name}, process {k}.pt")
        assert found.keys() == expected.keys()
        for key, tensor in expected.items():
            torch.testing.assert_close(found[key], tensor, rtol=1e-6, atol=1e-9, msg=f"{key}: {{}}".format)


def test_on_gpus_batch_norm_is_torchs_own_over_all_processes():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    names = list(net.state_dict())
    accelerator = SimpleNamespace(num_processes=2, device=torch.device("cuda"), prepare_model=lambda net: net)
    prepared = TrainableModel(accelerator).prepare(net)
    assert isinstance(prepared[1], nn.SyncBatchNorm) and list(prepared.state_dict()) == names
    accelerator.num_processes = 1
    assert type(TrainableModel(accelerator).prepare(nn.Sequential(nn.BatchNorm2d(2)))[0]) is nn.BatchNorm2d


def test_two_processes_resume_to_the_same_bits_and_keep_the_same_weights(two):
    assert "resuming after epoch 1, iteration 3" in two.records[0]["printed"]
    for record in two.records:
        assert record["resumed to the same bits"] and record["iterations"] == EPOCHS * BATCHES
        assert record["uneven"] == "2 processes cannot share a batch of 3 evenly"
    assert two.records[0]["weights"] == two.records[1]["weights"]


def test_only_the_first_process_writes_and_prints(two):
    first, second = two.records
    assert second["writes"] == [] and second["printed"] == ""
    assert len(first["writes"]) > 20 and "epoch 3/3" in first["printed"]
    folder = two.folder / "runs" / "straight" / "test" / "tiny"
    assert {path.name for path in folder.iterdir() if path.is_file() and path.name[0] != "."} == {
        "config.json", "env.json", "history.csv"
    }  # fmt: skip
    assert json.loads((folder / "env.json").read_text())["processes"] == 2
    assert list((two.folder / "runs").rglob("*partial*")) == []
    assert len(pd.read_csv(folder / "history.csv")) == EPOCHS + EPOCHS * BATCHES // 2


def test_photographs_are_examined_and_decoded_once(two, tmp_path):
    first, second = (record["photographs"] for record in two.records)
    alone = first_use(two.folder / "photographs", tmp_path)
    assert first.pop("opened") + second.pop("opened") == alone.pop("opened") == 12
    assert first == second == alone


def test_the_library_leaves_gpus_alone_until_networks_are_built(two):
    assert not two.records[0]["fastai was imported before"]


def test_a_signal_to_the_launcher_leaves_a_checkpoint_from_which_one_process_goes_on(two):
    assert two.status != 0 and "TrainingInterrupted: training stopped after iteration" in two.errors
    folder = two.folder / "runs" / "stopped"
    newest = Checkpoints(tiny_run(folder).checkpoints).load()[1]
    assert newest["epoch"] >= 1 and newest["batch"] >= 1  # not one of those after an epoch, whose batch is 0
    epochs = newest["epoch"] + 1
    assert train(folder, epochs)[1].iteration.max() == epochs * BATCHES
