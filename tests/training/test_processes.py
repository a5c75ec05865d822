"""Two processes on the CPU (gloo): the gradients of one, exact resuming, who writes, and a signal to the launcher."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import tiny_processes
import torch
from pictures import save_photographs
from tiny_processes import BATCHES, EPOCHS, MODELS, first_use, tiny_run, train, two_steps
from torch import nn

from colorize_lib.training.checkpoints import Checkpoints
from colorize_lib.training.trainable import TrainableModel

SCRIPT = Path(tiny_processes.__file__)
SECONDS = 120  # within which two processes must have done what they were asked for
FILES = ["config.json", "env.json", "history.csv"]


def free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """The folder of two processes that have done `tiny_processes.everything`."""
    folder = tmp_path_factory.mktemp("two")
    save_photographs(folder / "photographs", 12)
    (folder / "runs").mkdir()
    subprocess.run([sys.executable, SCRIPT, "all", folder, free_port()], check=True, timeout=SECONDS)
    return folder


@pytest.fixture(scope="module")
def records(two) -> list[dict]:
    """What each of the two processes noted."""
    return [json.loads((two / f"process-{k}.json").read_text()) for k in range(2)]


@pytest.mark.parametrize("name", MODELS)
def test_without_batch_norm_two_processes_have_the_losses_gradients_and_weights_of_one(two, name):
    expected = two_steps(name)
    for k in range(2):
        found = torch.load(two / f"{name}, process {k}.pt")
        for kind, tensors in expected.items():
            assert found[kind].keys() == tensors.keys() and tensors
            for key, tensor in tensors.items():
                where = f"{kind} {key}: {{}}".format
                torch.testing.assert_close(found[kind][key], tensor, rtol=1e-6, atol=1e-9, msg=where)


def test_on_gpus_batch_norm_is_torchs_own_over_all_processes():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    names = list(net.state_dict())
    accelerator = SimpleNamespace(num_processes=2, device=torch.device("cuda"), prepare_model=lambda net: net)
    model = TrainableModel(accelerator)
    prepared = model.prepare(net)
    assert isinstance(prepared[1], nn.SyncBatchNorm) and list(prepared.state_dict()) == names
    accelerator.num_processes = 1
    assert type(model.prepare(nn.Sequential(nn.BatchNorm2d(2)))[0]) is nn.BatchNorm2d


def test_two_processes_resume_to_the_same_bits_and_keep_the_same_weights(records):
    assert "resuming after epoch 1, iteration 3" in records[0]["printed"]
    for record in records:
        assert record["resumed to the same bits"] and record["iterations"] == EPOCHS * BATCHES
    assert records[0]["weights"] == records[1]["weights"]


def test_a_batch_that_is_no_multiple_of_the_processes_is_refused(records):
    assert all(record["uneven"] == "2 processes cannot share a batch of 3 evenly" for record in records)


def test_only_the_first_process_writes_and_prints(two, records):
    assert records[1]["writes"] == [] and records[1]["printed"] == ""
    assert len(records[0]["writes"]) > 20 and "epoch 3/3" in records[0]["printed"]
    folder = two / "runs" / "straight" / "test" / "tiny"
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == FILES
    assert json.loads((folder / "env.json").read_text())["processes"] == 2
    assert list((two / "runs").rglob("*partial*")) == []
    assert len(pd.read_csv(folder / "history.csv")) == EPOCHS + EPOCHS * BATCHES // 2


def test_photographs_are_examined_and_decoded_once(two, records, tmp_path):
    first, second = (record["photographs"] for record in records)
    alone = first_use(two / "photographs", tmp_path)
    assert first["opened"] + second["opened"] == alone["opened"] == 12
    assert first["digest"] == second["digest"] == alone["digest"]
    assert first["sum"] == second["sum"] == alone["sum"]


def test_the_library_leaves_gpus_alone_until_networks_are_built(records):
    assert not records[0]["fastai was imported before"]


def test_a_signal_to_the_launcher_leaves_a_checkpoint_from_which_one_process_goes_on(tmp_path):
    options = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--main_process_port", free_port()]
    options += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    command = [sys.executable, "-m", "accelerate.commands.launch", *options, SCRIPT, "train", tmp_path]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        done = {"process 0: iteration\n": 0, "process 1: iteration\n": 0}
        for line in process.stdout:
            if line in done:
                done[line] += 1
            if min(done.values()) == BATCHES + 1:  # in the second epoch
                process.send_signal(signal.SIGTERM)
                break
        _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode != 0
    assert "TrainingInterrupted: training stopped after iteration" in errors
    newest = Checkpoints(tiny_run(tmp_path).checkpoints).load()[1]
    assert newest["epoch"] >= 1 and newest["batch"] >= 1  # not one of those after an epoch, whose batch is 0
    assert train(tmp_path)[1].iteration.max() == EPOCHS * BATCHES
