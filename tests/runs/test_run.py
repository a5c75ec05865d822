"""The record of a run, seeds, devices, progress lines."""

import json
import random
import time

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


RUNNER = """
import json, pathlib, sys
import colorize_lib  # found, although it may be installed nowhere
_, _, profile, *rest = sys.argv
for name in (one for one in rest if not one.startswith("--set=")):
    folder = pathlib.Path("outputs", profile, name)
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(rest))
sys.exit("bad" in rest)
"""


def test_notebooks_that_another_one_reads_are_named_or_run(tmp_path, monkeypatch, capsys):
    tools = tmp_path / "notebooks" / "tools"
    tools.mkdir(parents=True)
    (tools / "run.py").write_text(RUNNER)
    (tmp_path / "colorize_lib").mkdir()
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "OUTPUTS", tmp_path / "outputs")
    (tmp_path / "outputs" / "mine" / "02").mkdir(parents=True)
    (tmp_path / "outputs" / "mine" / "02" / "metrics.json").write_text("{}")
    assert run.earlier_runs("mine", ["02", "03"]) == ["03"]
    assert capsys.readouterr().out == "Not run under mine: 03. Run them first, or set run_earlier = True above.\n"
    assert run.earlier_runs("mine", ["02", "03", "04"], True, source="folder", folder="", n_images=3) == []
    given = json.loads((tmp_path / "outputs" / "mine" / "04" / "metrics.json").read_text())
    assert given == ["03", "04", "--set=source=folder", "--set=n_images=3"]
    with pytest.raises(RuntimeError, match="not all of bad came to their end"):
        run.earlier_runs("mine", ["bad"], True)


def test_checkpoints_depend_on_the_settings_alone(tmp_path):
    settings = {"gan": GanConfig(lambda_L1=10.0), "widths": (1, 2), "seed": 0}
    folders = [run.start_run("test", name, tmp_path, **settings).checkpoints.name for name in ("first", "second")]
    assert folders == ["179d7c7f"] * 2  # as ever: a run goes on from the checkpoints of an older version
    assert run.start_run("test", "first", tmp_path, **settings | {"seed": 1}).checkpoints.name != folders[0]


def test_parts_of_a_run_have_folders_and_settings_of_their_own(tmp_path):
    whole = run.start_run("test", "whole", outputs=tmp_path, seed=3)
    one = whole.part("one", gan=GanConfig())
    assert one.path == whole.path / "one" and (one.path / "config.json").is_file()
    assert one.settings["seed"] == 3 and one.settings["gan"]["lambda_L1"] == 100.0


def test_metrics_refuse_what_json_cannot_hold(tmp_path):
    one = run.start_run("test", "first", outputs=tmp_path)
    one.write_metrics({"L1": 0.5})
    with pytest.raises(ValueError, match="Out of range"):
        one.write_metrics({"L1": float("nan")})
    assert json.loads((one.path / "metrics.json").read_text()) == {"L1": 0.5}


@pytest.mark.parametrize("deterministic", [True, False])
def test_seeds_cover_every_generator(deterministic):
    def draw() -> tuple:
        return random.random(), np.random.random(), torch.rand(1).item()

    device.seed_everything(3, deterministic)
    first, second = draw(), draw()
    device.seed_everything(3, deterministic)
    assert draw() == first != second
    assert torch.are_deterministic_algorithms_enabled() == deterministic


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


@pytest.fixture
def capable(monkeypatch):
    """A CPU with instructions for bf16."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("capable")
@pytest.mark.parametrize("slower, choice", [("bf16", "no"), ("no", "bf16")])
def test_a_cpu_that_can_takes_the_precision_in_which_the_step_is_faster(slower, choice, capsys):
    seen = []

    def step() -> None:
        seen.append("bf16" if torch.is_autocast_enabled("cpu") else "no")
        time.sleep(0.02 if seen[-1] == slower else 0.001)

    before = torch.get_rng_state()
    assert device.choose_precision(lambda: torch.rand(1) and step) == choice
    assert seen.count("bf16") == seen.count("no") == 3 and torch.equal(torch.get_rng_state(), before)
    line = capsys.readouterr().out
    assert line.startswith(f"mixed_precision {choice}: a training step takes") and line.count("\n") == 1


@pytest.mark.parametrize("why", ["deterministic", "several processes", "no instructions", "torch cannot tell"])
def test_nothing_is_timed_where_nothing_can_be_gained_or_the_result_would_depend_on_it(capable, monkeypatch, why):
    torch.use_deterministic_algorithms(why == "deterministic")
    if why == "several processes":
        monkeypatch.setenv("WORLD_SIZE", "2")
    elif why == "no instructions":
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True})
    elif why == "torch cannot tell":
        monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert device.choose_precision(lambda: pytest.fail("timed")) == "no"
    torch.use_deterministic_algorithms(False)


def test_a_trial_step_passes_a_batch_forward_and_back():
    net = torch.nn.Conv2d(1, 2, 3, padding=1)
    device.trial_step(lambda: net, 2, 8)()
    assert net.weight.grad.abs().sum() > 0
