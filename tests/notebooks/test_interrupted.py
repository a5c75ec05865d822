"""A notebook that is stopped in the middle of its training, in a copy of the repository."""

import json
import os
import shutil
import signal
import subprocess

import nbformat
import pandas as pd
from notebook_tools import RUNNER, call, runnable_copy


def test_an_interrupted_notebook_is_kept_readable_and_goes_on_and_another_run_is_equal_to_the_bit(tmp_path):
    copy, name = runnable_copy(tmp_path), "02_baseline_unet_cgan"
    outputs = copy / "outputs" / "test"
    call(copy, *RUNNER, name)
    first = outputs / "first" / name
    shutil.move(outputs / name, first)
    environment = os.environ | {"PYTHONPATH": str(copy)}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([*RUNNER, "--set", "epochs_long=200", name], cwd=copy, env=environment, **streams)
    for line in process.stdout:
        if line.startswith("epoch 3/200"):
            process.send_signal(signal.SIGTERM)
            break
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130 and "TrainingInterrupted: training stopped after iteration" in errors, errors
    failed = nbformat.read(outputs / name / f"{name}.failed.ipynb", as_version=4)
    assert any("TrainingInterrupted" in str(cell.get("outputs")) for cell in failed.cells)
    assert not (outputs / name / f"{name}.ipynb").exists()
    histories = [pd.read_csv(folder / "history.csv") for folder in (outputs / name, first)]
    history, expected = (history.drop(columns="seconds") for history in histories)
    assert len(expected) > 5
    pd.testing.assert_frame_equal(history[: len(expected)], expected, check_exact=True)

    reached = history.epoch.max()
    call(copy, *RUNNER, "--set", f"epochs_long={reached + 1}", name)
    epochs = pd.read_csv(outputs / name / "history.csv").query("kind == 'epoch'").epoch
    assert epochs.tolist() == list(range(1, reached + 2))
    assert not (outputs / name / f"{name}.failed.ipynb").exists()
    models = [
        model for model in json.loads((outputs / name / "metrics.json").read_text())["validation"] if "U-Net" in model
    ]
    assert models == [f"U-Net cGAN, {k} epochs" for k in (1, reached + 1)]
