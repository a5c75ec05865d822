"""The generator that comes with the repository, and how one is put there."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from notebook_tools import NOTEBOOKS, ROOT, code_cells
from PIL import Image
from safetensors.torch import load_file

import release
from colorize_lib.__main__ import main
from colorize_lib.colorizing.colorizer import Colorizer
from colorize_lib.data.shipped import package_photographs
from colorize_lib.files import sha256
from colorize_lib.models import GeneratorConfig, build_generator, weights
from colorize_lib.models.weights import SHIPPED, CheckpointError, find_weights, read_generator, save_weights
from colorize_lib.training.gan import GanConfig

SMALL = GeneratorConfig("unet", size=32, n_down=5, num_filters=4)
INTERVAL = {"value": 10.5, "low": 9.5, "high": 11.5}


# --- what is shipped -----------------------------------------------------------------------------------------------


def test_the_shipped_weights_are_small_whole_and_of_16_bits_with_a_card_that_says_what_a_reader_must_know():
    assert SHIPPED.stat().st_size <= release.LIMIT
    shipped = sorted(SHIPPED.parent.glob("*.safetensors"))
    assert (SHIPPED.parent / "SHA256SUMS").read_text() == "".join(f"{sha256(one)}  {one.name}\n" for one in shipped)
    kinds = {tensor.dtype for tensor in load_file(SHIPPED).values()}
    assert torch.float16 in kinds and torch.float32 not in kinds
    card = (SHIPPED.parent / "README.md").read_text()
    headings = ("Training", "Data", "Figures", "Limits", "Not to be used for", "Licence")
    assert sha256(SHIPPED) in card and [one for one in headings if f"\n## {one}\n" not in card] == []
    assert not re.search(r"\{[{%]|\bnan\b", card)
    judged = json.loads((ROOT / "outputs" / "published" / "colour" / "vividness_0.8.json").read_text())
    assert f"| {judged['l1_ab']:.4g} [" in card and f"| {judged['auc_rebalanced']:.4g} [" in card


def test_the_command_colours_with_them_by_default_as_when_they_were_shipped(tmp_path, capsys):
    source = package_photographs()["astronaut"]
    assert main(["colorize", str(source), "--output", str(tmp_path / "a.png"), "--device", "cpu"]) == 0
    assert f"weights: {SHIPPED}" in capsys.readouterr().err
    painted = Image.open(tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(painted), np.asarray(Colorizer.load(device="cpu")(source)))
    expected = np.asarray(Image.open(release.REFERENCE), dtype=float)
    assert np.ptp(expected, axis=2).mean() > 10  # the reference has colour
    difference = np.abs(np.asarray(painted.resize(release.REFERENCE_SIZE), dtype=float) - expected)
    assert difference.mean() < 0.5 and difference.max() < 12  # of 255; processors round differently


def test_damaged_weights_are_not_used(tmp_path, monkeypatch, capsys):
    copy = tmp_path / SHIPPED.name
    content = bytearray(SHIPPED.read_bytes())
    content[-5] ^= 1
    copy.write_bytes(content)
    (tmp_path / "SHA256SUMS").write_text((SHIPPED.parent / "SHA256SUMS").read_text())
    monkeypatch.setattr(weights, "SHIPPED", copy)
    assert main(["colorize", str(package_photographs()["coffee"]), "--output", str(tmp_path / "a.png")]) == 1
    assert "damaged or was replaced" in capsys.readouterr().err and not (tmp_path / "a.png").exists()


# --- shipping ------------------------------------------------------------------------------------------------------


@pytest.fixture
def profile(tmp_path, monkeypatch) -> Path:
    """What notebooks 02, 03, 04 and 06 leave, in a folder like outputs/photos."""
    monkeypatch.setattr(weights, "OUTPUTS", tmp_path / "outputs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(release, "ROOT", tmp_path)
    profile = tmp_path / "outputs" / "photos"
    l1 = {"training": {"batch_size": 8, "seed": 0, "lr": 0.0003, "ema_decay": 0.99}, "encoder_weights": "random"}
    gan = {"training": {"batch_size": 8, "seed": 0}, "gan": vars(GanConfig(lr_D=2e-5, lambda_L1=20.0))}
    settings = {
        "02_baseline_unet_cgan": gan,
        "03_resnet18_l1_pretraining": l1,
        "03_resnet18_l1_pretraining/distribution": {
            "how": l1["training"],
            "painter": {"encoder": "efficientnet_lite0"},
            "painter_weights": "imagenet",
        },
        "04_resnet18_gan_finetune": gan | {"start_weights": "abcdef"},
    }
    env = {"device": "cpu", "cpu_threads": 1, "packages": {"torch": "2.15.0"}, "commit": "0123456789abcdef"}
    for name, of in settings.items():
        run = profile / name
        run.mkdir(parents=True)
        (run / "config.json").write_text(json.dumps(of))
        torch.manual_seed(0)
        save_weights(build_generator(SMALL), run / "net_G.safetensors", {"generator": vars(SMALL)})
        if run.parent == profile:
            (run / "env.json").write_text(json.dumps(env))
            epochs = {"kind": ["epoch"] * 2, "epoch": [1, 2], "seconds": [1800, 3600.0]}
            pd.DataFrame(epochs).to_csv(run / "history.csv")
    hues = ("error_blue", "error_cyan", "error_purple")
    figures = dict.fromkeys((*release.FIGURES, "colorfulness_truth", *hues), INTERVAL)
    judged = {"photographs": 245, "validation": dict.fromkeys((*release.BESIDE, *release.JUDGED_AS.values()), figures)}
    (profile / "06_evaluation").mkdir()
    (profile / "06_evaluation" / "metrics.json").write_text(json.dumps(judged))
    return profile


@pytest.mark.parametrize(
    ("notebook", "training"),
    [
        ("02", ["rate of 0.0002, the discriminator's 2e-05, no average", "λ = 20, from random weights"]),
        ("03", ["rate of 0.0003, a moving average", "The encoder started from random weights"]),
        ("03/distribution", ["highest learning rate of 0.0003", "started from imagenet weights"]),
        ("04", ["the discriminator's 2e-05", "notebook 03's generator (its weights' SHA-256 begins with abcdef)"]),
    ],
)
def test_a_release_is_the_trained_generator_in_16_bits_with_its_card(profile, tmp_path, notebook, training):
    target = release.release("photos", notebook, tmp_path / "weights" / "generator.safetensors")
    net_G, config = read_generator(target)
    trained, _ = read_generator(find_weights(f"photos/{notebook}"))
    assert config == SMALL
    for name, tensor in trained.state_dict().items():
        torch.testing.assert_close(net_G.state_dict()[name], tensor, rtol=1e-3, atol=1e-6)
    card = (target.parent / "README.md").read_text()
    for fact in ("2 epochs at 32 px", "1.0 hours", "0123456", "10.5 [9.5, 11.5]", f"NB={notebook}`", sha256(target)):
        assert fact in card, fact
    assert all(fact in card for fact in training)
    rows = [line for line in card.splitlines() if line.startswith("|")]
    assert len(rows) == 5 and len({line.count("|") for line in rows}) == 1


def test_notebook_06_judges_under_the_names_that_a_release_looks_for():
    (path,) = (path for path in NOTEBOOKS if path.name.startswith("06"))
    source = "".join(cell.source for cell in code_cells(path))
    assert all(f'"{name}"' in source for name in release.JUDGED_AS.values())


def test_what_was_not_judged_is_too_large_or_has_no_place_in_16_bits_is_not_shipped(profile, tmp_path, monkeypatch):
    target = tmp_path / "weights" / "generator.safetensors"
    target.parent.mkdir()
    target.write_text("the one before")
    with monkeypatch.context() as patch, pytest.raises(ValueError, match="bytes, and 1,000 are allowed"):
        patch.setattr(release, "LIMIT", 1000)
        release.release("photos", "03", target)
    net_G = build_generator(SMALL)
    net_G.model.model[0].weight.data[0] = 1e6
    path = profile / "03_resnet18_l1_pretraining" / "net_G.safetensors"
    save_weights(net_G, path, {"generator": vars(SMALL)})
    with pytest.raises(CheckpointError, match=r"model\.model\.0\.weight cannot be written in 16 bits"):
        release.release("photos", "03", target)
    judged = profile / "06_evaluation" / "metrics.json"
    judged.write_text('{"photographs": 2, "validation": {"grey": {}}}')
    for _ in range(2):
        with pytest.raises(FileNotFoundError, match=r"has not judged ResNet18, L1 \(03\): run it"):
            release.release("photos", "03", target)
        judged.unlink(missing_ok=True)
    assert target.read_text() == "the one before"
