"""Several processes train as one does: gradients, resuming with another number of them, signals, and who writes.

Two processes on the CPU (gloo), started by notebook_launcher or by `accelerate launch`, against one process here.
"""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pictures import save_photographs
from tiny_processes import BATCHES, EPOCHS, MODELS, first_use, loaders, one_step, tiny_run, train
from torch import nn

from colorize_lib.models.shared_norm import SharedBatchNorm
from colorize_lib.training.checkpoints import Checkpoints

SCRIPT = Path(__file__).parent / "tiny_processes.py"
SECONDS = 60  # within which two processes must have done what they were asked for
FILES = ["config.json", "env.json", "history.csv", "net_G.safetensors"]


def free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


@contextmanager
def launched(folder: Path, epochs: int, minutes: float) -> Iterator[subprocess.Popen]:
    """Two processes that train slowly in `folder`, started by `accelerate launch`."""
    options = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--main_process_port", free_port()]
    options += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    command = [sys.executable, "-m", "accelerate.commands.launch", *options, SCRIPT, "train", folder]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, str(epochs), str(minutes)], **pipes) as process:
        yield process
        process.kill()


def wait_for_iterations(process: subprocess.Popen, number: int) -> dict[int, int]:
    """Wait until both processes have done so many iterations; their process ids."""
    done, ids = {0: 0, 1: 0}, {}
    for line in process.stdout:
        if line.endswith(": iteration\n"):
            index, pid = (int(word) for word in line.split(":")[0].removeprefix("process ").split(", "))
            done[index] += 1
            ids[index] = pid
        if min(done.values()) >= number:
            return ids
    raise AssertionError(process.stderr.read())


def assert_same_history(history: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Equal but for times and rounding."""
    pd.testing.assert_frame_equal(
        history.drop(columns="seconds"), expected.drop(columns="seconds"), check_dtype=False, rtol=1e-3, atol=1e-4
    )


def written_history(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "test" / "tiny" / "history.csv")


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> pd.DataFrame:
    """The history of one process that trained in one go."""
    return train(tmp_path_factory.mktemp("straight"))[1]


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """The folder of two processes that have done `tiny_processes.everything`."""
    folder = tmp_path_factory.mktemp("two")
    save_photographs(folder / "photographs", 12)
    (folder / "runs" / "fresh").mkdir(parents=True)
    train(folder / "runs" / "begun by one", 1)
    command = [sys.executable, SCRIPT, "all", folder, free_port()]
    subprocess.run(command, check=True, timeout=2 * SECONDS)
    return folder


@pytest.fixture(scope="module")
def records(two) -> list[dict]:
    """What each of the two processes noted."""
    return [json.loads((two / f"process-{k}.json").read_text()) for k in range(2)]


# --- one step ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_two_processes_have_the_gradients_losses_and_statistics_of_one(two, name):
    expected = one_step(MODELS[name])  # on a batch of 5, which two processes share as 3 and 2
    for k in range(2):
        found = torch.load(two / f"{name}, process {k}.pt")
        for kind, tensors in expected.items():
            assert found[kind].keys() == tensors.keys() and tensors
            for key, tensor in tensors.items():
                torch.testing.assert_close(found[kind][key], tensor, rtol=1e-5, atol=1e-5, msg=f"{kind} {key}")


def test_batch_norm_over_one_process_is_batch_norm():
    torch.manual_seed(0)
    ours, torchs = SharedBatchNorm(3), nn.BatchNorm2d(3)
    for momentum in (0.1, None):
        ours.momentum = torchs.momentum = momentum
        for _ in range(2):
            x = torch.randn(4, 3, 5, 6) * 3 + 2
            inputs = [x.clone().requires_grad_() for _ in range(2)]
            outputs = [norm(one) for norm, one in zip((ours, torchs), inputs, strict=True)]
            for output in outputs:
                output.pow(3).mean().backward()
            torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-4, atol=1e-6)
            torch.testing.assert_close(ours.state_dict(), torchs.state_dict())
    torch.testing.assert_close(ours.eval()(x), torchs.eval()(x))


def test_the_library_leaves_gpus_alone_until_networks_are_built(records):
    assert not records[0]["fastai was imported before"]


def test_on_gpus_batch_norm_is_torchs_own(records):
    assert records[0]["norm on a GPU"] == "SyncBatchNorm"


def test_processes_draw_different_noise(records):
    assert all(record["dropout is different"] for record in records)


def test_a_batch_smaller_than_the_number_of_processes_is_refused():
    with pytest.raises(ValueError, match="a batch of 3 cannot be shared by 4 processes"):
        loaders()[0].share(0, 4)


# --- whole trainings --------------------------------------------------------------------------------------------------


def test_two_processes_train_as_one_does(two, records, straight):
    assert [record["processes"] for record in records] == [2, 2]
    assert [record["iterations of fresh"] for record in records] == [EPOCHS * BATCHES] * 2
    assert_same_history(written_history(two / "runs" / "fresh"), straight)


def test_two_processes_go_on_where_one_stopped(two, records, straight):
    assert "resuming after epoch 1, iteration 4" in records[0]["printed"]
    assert_same_history(written_history(two / "runs" / "begun by one"), straight)


def test_a_finished_run_of_two_processes_is_finished_for_one(two, straight):
    before = written_history(two / "runs" / "fresh")
    history = train(two / "runs" / "fresh")[1]
    assert history.seconds.tolist() == before.seconds.tolist()


def test_only_the_first_process_writes_and_prints(two, records):
    assert records[1]["writes"] == [] and records[1]["printed"] == ""
    assert len(records[0]["writes"]) > 20 and "epoch 3/3" in records[0]["printed"]
    folder = two / "runs" / "fresh" / "test" / "tiny"
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == FILES
    assert records[0]["environment"]["processes"] == 2
    assert list((two / "runs").rglob("*partial*")) == []


def test_photographs_are_examined_and_decoded_once(two, records, tmp_path):
    first, second = (record["photographs"] for record in records)
    assert first["examined"] + second["examined"] == first["decoded"] + second["decoded"] == 12
    alone = first_use(two / "photographs", tmp_path)
    assert first["digest"] == second["digest"] == alone["digest"]
    assert first["sum"] == second["sum"] == alone["sum"]


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_launcher_leaves_a_checkpoint_from_which_one_process_goes_on(tmp_path, straight, how):
    with launched(tmp_path, EPOCHS, minutes=60) as process:
        wait_for_iterations(process, BATCHES + 1)
        process.send_signal(how)
        _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode != 0
    assert "TrainingInterrupted: training stopped after iteration" in errors
    newest = Checkpoints(tiny_run(tmp_path).checkpoints).load()[1]
    assert newest["epoch"] >= 1 and newest["batch"] >= 1  # not one of those after an epoch, whose batch is 0
    assert_same_history(train(tmp_path)[1], straight)


def test_a_killed_process_ends_the_run_with_an_error_and_the_last_checkpoint_stays(tmp_path, straight):
    with launched(tmp_path, EPOCHS, minutes=0) as process:
        ids = wait_for_iterations(process, BATCHES + 2)
        began = time.monotonic()
        subprocess.run(["kill", "-KILL", str(ids[1])], check=True)
        _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode != 0 and time.monotonic() - began < SECONDS
    assert "Signal 9 (SIGKILL) received by PID" in errors  # the launcher
    assert "another process of this run has ended or does not answer. The last checkpoint is in" in errors  # the other
    newest = Checkpoints(tiny_run(tmp_path).checkpoints).load()[1]
    assert newest["epoch"] >= 1
    history = train(tmp_path)[1]
    assert_same_history(history, straight)
    assert np.isfinite(history.loss_G).all()
