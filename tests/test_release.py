"""The generator that comes with the repository, and how one is put there."""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from notebook_tools import ROOT

from colorize_lib import weights
from colorize_lib.checkpoint import CheckpointError, save_weights
from colorize_lib.files import sha256
from colorize_lib.models import GeneratorConfig, build_generator
from colorize_lib.weights import find_weights, read_generator

sys.path.insert(0, str(ROOT / "notebooks"))
import release

SMALL = GeneratorConfig("unet", size=32, n_down=5, num_filters=4)
INTERVAL = {"value": 10.5, "low": 9.5, "high": 11.5}


# --- shipping ------------------------------------------------------------------------------------------------------


@pytest.fixture
def profile(tmp_path, monkeypatch) -> Path:
    """What notebooks 03 and 06 leave, in a folder like outputs/photos."""
    monkeypatch.setattr(weights, "ROOT", tmp_path)
    monkeypatch.setattr(weights, "from_root", lambda path: tmp_path / path)
    monkeypatch.setattr(release, "ROOT", tmp_path)
    profile = tmp_path / "outputs" / "photos"
    run = profile / "03_resnet18_l1_pretraining"
    (run / "bold").mkdir(parents=True)
    training = {"training": {"batch_size": 8, "seed": 0}, "encoder_weights": "random"}
    for part, more in ((run, {}), (run / "bold", {"colour_gain": 1.5})):
        (part / "config.json").write_text(json.dumps(training | more))
        torch.manual_seed(0)
        save_weights(build_generator(SMALL), part / "net_G.safetensors", {"generator": vars(SMALL)})
    env = {"device": "cpu", "cpu_threads": 1, "packages": {"torch": "2.15.0"}, "commit": "0123456789abcdef"}
    (run / "env.json").write_text(json.dumps(env))
    (run / "metrics.json").write_text("{}")
    pd.DataFrame({"kind": ["epoch"] * 2, "epoch": [1, 2], "seconds": [1800, 3600.0]}).to_csv(run / "history.csv")
    figures = dict.fromkeys((*release.FIGURES, "colorfulness_truth"), INTERVAL)
    judged = {"photographs": 245, "validation": dict.fromkeys((*release.BESIDE, *release.JUDGED_AS.values()), figures)}
    (profile / "06_evaluation").mkdir()
    (profile / "06_evaluation" / "metrics.json").write_text(json.dumps(judged))
    return profile


@pytest.mark.parametrize(("notebook", "gain"), [("03", False), ("03/bold", True)])
def test_a_release_is_the_trained_generator_in_16_bits_with_its_card(profile, tmp_path, notebook, gain):
    target = release.release("photos", notebook, tmp_path / "weights" / "generator.safetensors")
    net_G, config = read_generator(target)
    trained, _ = read_generator(find_weights(f"photos/{notebook}"))
    assert config == SMALL
    for name, tensor in trained.state_dict().items():
        torch.testing.assert_close(net_G.state_dict()[name], tensor, rtol=1e-3, atol=1e-6)
    card = (target.parent / "README.md").read_text()
    for fact in ("2 epochs at 32 px", "1.0 hours", "0123456", "10.5 [9.5, 11.5]", f"NB={notebook}`", sha256(target)):
        assert fact in card, fact
    assert ("multiplied by 1.5" in card) == gain
    rows = [line for line in card.splitlines() if line.startswith("|")]
    assert len(rows) == 5 and len({line.count("|") for line in rows}) == 1


def test_a_generator_that_was_not_judged_is_not_shipped(profile, tmp_path):
    target = tmp_path / "weights" / "generator.safetensors"
    (profile / "06_evaluation" / "metrics.json").write_text('{"photographs": 2, "validation": {"grey": {}}}')
    with pytest.raises(FileNotFoundError, match=r"notebook 06 has not judged ResNet18, L1 \(03\): run it again"):
        release.release("photos", "03", target)
    (profile / "06_evaluation" / "metrics.json").unlink()
    with pytest.raises(FileNotFoundError, match="run notebook 06 first"):
        release.release("photos", "03", target)
    assert not target.exists()


def test_weights_that_16_bits_cannot_hold_or_that_are_too_large_are_refused(profile, tmp_path, monkeypatch):
    target = tmp_path / "weights" / "generator.safetensors"
    monkeypatch.setattr(release, "LIMIT", 1000)
    with pytest.raises(ValueError, match="bytes, and 1,000 are allowed"):
        release.release("photos", "03", target)
    net_G = build_generator(SMALL)
    net_G.model.model[0].weight.data[0] = 1e6
    path = profile / "03_resnet18_l1_pretraining" / "net_G.safetensors"
    save_weights(net_G, path, {"generator": vars(SMALL)})
    with pytest.raises(CheckpointError, match=r"model\.model\.0\.weight cannot be written in 16 bits"):
        release.release("photos", "03", target)
    assert not target.exists()
