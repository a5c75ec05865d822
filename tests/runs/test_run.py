"""The record of a run, seeds, devices, progress lines."""

import json
import random

import numpy as np
import pytest
import torch

from colorize_lib.runs import device, progress, run
from colorize_lib.training.gan import GanConfig


def test_a_run_records_its_settings_and_environment(tmp_path):
    one = run.start_run("test", "first", outputs=tmp_path, gan=GanConfig(lambda_L1=10.0), photographs="abc")
    config = json.loads((one.path / "config.json").read_text())
    assert config["profile"] == "test" and config["gan"]["lambda_L1"] == 10.0 and config["photographs"] == "abc"
    environment = json.loads((one.path / "env.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__.split("+")[0]
    assert environment["cpu_instructions"] and environment["cpu_threads"] == torch.get_num_threads()
    assert environment["python"] and environment["commit"] and environment["started"].endswith("+00:00")


def test_checkpoints_depend_on_the_settings_alone(tmp_path):
    folders = {
        run.start_run("test", "first", outputs=tmp_path, gan=GanConfig(lambda_L1=weight)).checkpoints
        for weight in (10.0, 20.0, 10.0)
    }
    assert len(folders) == 2


def test_metrics_refuse_what_json_cannot_hold(tmp_path):
    one = run.start_run("test", "first", outputs=tmp_path)
    one.write_metrics({"L1": 0.5})
    with pytest.raises(ValueError, match="Out of range"):
        one.write_metrics({"L1": float("nan")})
    assert json.loads((one.path / "metrics.json").read_text()) == {"L1": 0.5}


def test_seeds_cover_every_generator():
    def draw() -> tuple:
        device.seed_everything(3)
        return random.random(), np.random.random(), torch.rand(1).item()

    assert draw() == draw()
    assert draw() != (random.random(), np.random.random(), torch.rand(1).item())


def test_deterministic_mode_can_be_switched():
    device.seed_everything(0, deterministic=True)
    assert torch.are_deterministic_algorithms_enabled()
    device.seed_everything(0)
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_unknown_device_is_refused():
    with pytest.raises(ValueError, match="'tpu' is unknown"):
        device.make_accelerator("tpu")


def test_headless_progress_prints_few_lines(monkeypatch, capsys):
    clock = iter(range(10_000))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setenv(progress.LINES, "lines")
    with progress.Progress(1000, "counting") as bar:
        for _ in range(1000):
            bar.update()
    lines = capsys.readouterr().out.splitlines()
    assert 15 <= len(lines) <= 21
    assert lines[0].startswith("counting:") and "s left" in lines[0] and "100 % of 1,000, 0 s left" in lines[-1]


def test_headless_progress_is_silent_about_what_is_quick(monkeypatch, capsys):
    monkeypatch.setenv(progress.LINES, "lines")
    with progress.Progress(1000, "counting") as bar:
        bar.update(1000)
    assert capsys.readouterr().out == ""
