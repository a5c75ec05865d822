"""Arms of the claims are trained and judged, at tiny size; and a linear probe names what features tell apart."""

import importlib
import json
from functools import partial

import numpy as np
import pytest
import torch
from notebook_tools import ROOT
from pictures import save_photographs

from colorize_lib.data.loader import ColorizationDataset, LabLoader
from colorize_lib.evaluation.claims import RUNS, Claims, main_figures, photographs
from colorize_lib.models import distribution
from colorize_lib.runs.device import make_accelerator
from colorize_lib.training.gan import GanConfig

TINY = {"photographs": 8, "batch": 4, "epochs": 3, "size": 32}


@pytest.fixture
def bench(monkeypatch, tmp_path):
    """The modules of benchmarks/claims, and a few photographs that they read, COCO's among them."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.syspath_prepend(ROOT / "benchmarks" / "claims")
    arms, read = importlib.import_module("arms"), importlib.import_module("photographs")
    monkeypatch.setattr(read, "DATA_DIR", tmp_path / "data")
    monkeypatch.setattr(distribution, "UNIFORM", distribution.UNIFORM)
    save_photographs(tmp_path / "photographs" / "coco", 24, (110, 100))
    images = {"images": np.random.default_rng(0).integers(0, 255, (60, 32, 32, 3), dtype=np.uint8)}
    images["labels"] = np.arange(60) % 10
    for split in ("train", "test"):
        np.savez(tmp_path / f"{split}.npz", **images)
    photos = read.Photographs(str(tmp_path / "photographs"), str(tmp_path / "photographs"), str(tmp_path))
    photos.part = lambda name: np.arange(4) if name == "judge" else np.arange(4, 8)
    return arms, photos


def networks():
    return importlib.import_module("networks")


def asked_of(arm: str) -> set[str]:
    """The figures that tests ask of an arm."""
    tests = [test for of in Claims().plan["claims"].values() for test in of["tests"] if arm in test.values()]
    return {test[key] for test in tests for key in ("figure", "less") if key in test}


@pytest.mark.parametrize(
    "arm, small",
    [
        ("loss at 1/2 of the size", {"encoder": "resnet18", "encoder_weights": "random", "width": 0.1}),
        ("L1, ImageNet's encoder", {"encoder": "resnet18", "encoder_weights": "random", "width": 0.1, "iterations": 6}),
        ("L1, encoder from own labels", {"encoder": "resnet18", "width": 0.1, "iterations": 6}),
        ("L1 + GAN", {"filters": 4, "start_epochs": 1}),
        ("feature loss", {"filters": 4, "start_epochs": 1}),
        ("noise beside L", {"filters": 4, "start_epochs": 1}),
        ("S4", {"size": None}),
    ],
)
def test_an_arm_is_trained_and_has_what_its_tests_ask_for(bench, monkeypatch, arm, small):
    arms, photos = bench
    claims = Claims()
    base = claims.plan["bases"][claims.arms[arm]["base"]]
    claims.plan["bases"]["pretext"] |= {"photographs": 16, "epochs": 1, "batch": 8, "size": 32}
    changed = {key: value for key, value in (TINY | small).items() if value is not None}
    monkeypatch.setattr(claims, "settings", lambda of: base | claims.arms[of] | changed)
    record = arms.run(claims, arm, 0, photos, make_accelerator("cpu", "no"))
    strip = record.pop("pictures", np.zeros((32, 32 * 8, 3), np.uint8))
    assert strip.shape[1] == 8 * len(strip) and strip.any() == (claims.trainer(arm) != "cifar")
    record = json.loads(json.dumps(record))
    asked = asked_of(arm)
    for name in asked - RUNS.keys():
        values = photographs(record, name, list_only=True)
        assert len(values) in (4, 40) and np.isfinite(values).all()
    assert all(np.isfinite(RUNS[name](record["epochs"])) for name in asked & RUNS.keys())
    own = main_figures(record)
    assert own["l1_ab"] == pytest.approx(np.mean(record["photographs"]["l1_ab"]), abs=0.02)
    assert record["seed"] == 0 and record["environment"]["device"] == "cpu"


@pytest.mark.parametrize("patch, logits", [("1", 64), ("16", 30), ("34", 14), ("70", 6), ("image", 1)])
def test_a_discriminator_judges_patches_of_its_size(bench, patch, logits):
    """Each logit's slope reaches as far as its patch."""
    net = networks().discriminator(patch).eval()
    seen = torch.rand(1, 3, 64, 64, requires_grad=True)
    answers = net(seen)
    assert answers.shape == (1, 1, logits, logits)
    answers[0, 0, logits // 2, logits // 2].backward()
    rows = seen.grad.abs().sum(dim=(0, 1, 3)).nonzero().flatten()
    side = 64 if patch in ("70", "image") else int(patch)
    assert rows.max() - rows.min() + 1 == side or (patch == "70" and rows.max() - rows.min() + 1 > 34)


def test_attention_begins_as_nothing_and_then_sees_every_place(bench):
    block, x = networks().Attention(16), torch.rand(1, 16, 4, 4, requires_grad=True)
    assert torch.equal(block(x), x)
    torch.nn.init.constant_(block.gamma, 1.0)
    (block(x)[0, :, 0, 0]).sum().backward()
    assert (x.grad.abs().sum(dim=1) > 0).all()


def test_the_relativistic_game_asks_which_of_two_is_truer(bench):
    """D that sees no difference loses ln 2, and so does G beside its L1."""
    model = networks().RelativisticGame(
        torch.nn.Conv2d(1, 2, 1), GanConfig(lambda_L1=10), make_accelerator("cpu", "no"), zeros_module()
    )
    model.setup_input({"L": torch.zeros(2, 1, 16, 16), "ab": torch.zeros(2, 2, 16, 16)})
    model.step()
    of = dict(zip(model.loss_names, model.losses().tolist(), strict=True))
    assert (of["loss_D"], of["loss_G_GAN"]) == pytest.approx((np.log(2), np.log(2)), rel=1e-3)  # D has moved between
    assert of["loss_G"] == pytest.approx(of["loss_G_GAN"] + of["loss_G_L1"])


def zeros_module() -> torch.nn.Module:
    """A discriminator with a weight that says 0 to everything."""
    net = torch.nn.Conv2d(3, 1, 1)
    for parameter in net.parameters():
        torch.nn.init.zeros_(parameter)
    return net


def test_more_photographs_hold_the_fewer_and_a_source_is_kept_to(bench):
    _, photos = bench
    few, more = (photos.drawn(n, 0, seed=1) for n in (4, 12))
    assert {one.tobytes() for one in few} < {one.tobytes() for one in more}
    assert len(photos.drawn(4, 0, 1, "coco")) == 4
    with pytest.raises(RuntimeError, match=r"it needs 4 training photographs \(imagenet\), and there are 0"):
        photos.drawn(4, 0, 1, "imagenet")


@pytest.mark.parametrize("learns, loss", [("labels", "loss_class"), ("cgan", "loss_G_L1")])
def test_an_encoder_is_probed_and_fine_tuned(bench, monkeypatch, learns, loss):
    arms, photos = bench
    rows, pixels = photos.second
    monkeypatch.setattr(
        photos, "second", (rows.assign(**{"class": np.where(np.arange(len(rows)) % 2, "a", "b")}), pixels)
    )
    few = partial(importlib.import_module("probe").fine_tuned, epochs=2)
    monkeypatch.setattr(importlib.import_module("pretext"), "fine_tuned", few)
    fields = {"learns": learns, "photographs": 16, "epochs": 1, "batch": 8, "size": 32, "lr": 0.001}
    record = arms.pretext(fields, 0, photos, make_accelerator("cpu", "no"))
    assert set(record["photographs"]["probe"]) <= {0, 1} and len(record["photographs"]["finetuned"]) >= 2
    assert record["epochs"][0][loss] > 0


def test_a_linear_probe_names_classes_that_features_tell_apart(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    probe = importlib.import_module("probe")
    labels = np.arange(40) % 2
    photographs = np.broadcast_to((labels * 90 + 60)[:, None, None, None], (40, 32, 32, 3)).astype(np.uint8)
    train, val = (
        LabLoader(ColorizationDataset(photographs, rows), 8, train, labels=labels[rows])
        for train, rows in ((True, np.arange(24)), (False, np.arange(24, 40)))
    )
    assert probe.probe(lambda_module(lambda L: L), train, val, 32)["accuracy"] == 1
    assert probe.probe(lambda_module(torch.zeros_like), train, val, 32)["accuracy"] == 0.5


def lambda_module(how) -> torch.nn.Module:
    module = torch.nn.Module()
    module.forward = lambda L: [how(L)]
    return module
