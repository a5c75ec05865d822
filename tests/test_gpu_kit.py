"""The GPU kit, end to end at tiny size: photographs carried in parts, a training stopped and gone on with, its judging,
and weights brought back in parts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from notebook_tools import ROOT
from pictures import save_photographs

KIT = ROOT / "benchmarks" / "gpu"


def run(tool: str, *words: object) -> str:
    command = [sys.executable, KIT / tool, *map(str, words)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".parts"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_parts_are_small_come_in_any_order_and_put_large_files_together(tmp_path):
    rng = np.random.default_rng(0)
    for name, size in {"a/x.bin": 500_000, "a/y.bin": 10, "large.safetensors": 2_600_000}.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(rng.bytes(size))
    run("parts.py", "pack", tmp_path / "in", tmp_path / "parts", "--mb", 1)
    parts = sorted((tmp_path / "parts").iterdir())
    assert len(parts) == 4 and all(part.stat().st_size <= 1_000_000 for part in parts)
    (tmp_path / "came").mkdir()
    for part, said in zip((parts[3], parts[0]), ("0, 1, 2", "1, 2"), strict=True):
        part.rename(tmp_path / "came" / part.name)
        assert f"parts missing: {said}" in run("parts.py", "unpack", tmp_path / "came", tmp_path / "out")
    for part in parts[1:3]:
        part.rename(tmp_path / "came" / part.name)
    assert "all parts are here" in run("parts.py", "unpack", tmp_path / "came", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "in")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kit")
    save_photographs(folder / "sent" / "coco" / "all", 60, (80, 70))
    run("parts.py", "pack", folder / "sent", folder / "parts", "--mb", 0.2)
    run("parts.py", "unpack", folder / "parts", folder / "photographs")
    return folder


def test_a_unet_is_trained_gone_on_with_and_judged_and_its_weights_come_back(photographs, tmp_path):
    common = ["--folder", photographs / "photographs", "--out", tmp_path, "--data", photographs / "data"]
    common += ["--size", 32, "--batch", 8, "--log-every", 1, "--precision", "no", "--name", "s1"]
    run("train.py", "unet", *common, "--epochs", 1)
    assert "resuming after epoch 1" in run("train.py", "unet", *common, "--epochs", 2)
    judged = json.loads((tmp_path / "gpu" / "s1" / "judged.json").read_text())
    assert judged["COCO"].keys() >= {"grey", "mean colour", "U-Net", "photographs"} and "ImageNet" not in judged
    error = judged["COCO"]["U-Net"]["l1_ab"]
    assert error["low"] < error["value"] < error["high"]
    run("parts.py", "pack", tmp_path / "gpu" / "s1", tmp_path / "parts", "--mb", 15)
    run("parts.py", "unpack", tmp_path / "parts", tmp_path / "back")
    back = contents(tmp_path / "back")
    assert back["net_G.safetensors"] == (tmp_path / "gpu" / "s1" / "net_G.safetensors").read_bytes()
    assert {"history.csv", "judged.json", "config.json", "env.json"} <= back.keys()
