"""Arms that differ in one field, several seeds each, judged on the same photographs: one JSON record an arm and seed.

    make claims PHOTOS=DIR[,DIR]        trains what has no record yet; can be stopped, resumed, and carried on by others
    python benchmarks/claims.py --table reads the records

Arms, bases, seeds and the figure that decides are in claims.yaml. A seed draws the photographs, their order and the
weights, and is the same for all arms, so that effects are paired over seeds and photographs. Judged are *judge*
photographs that an encoder cannot have seen (none of ImageNet's), at 96 px.
"""

import argparse
import hashlib
import json
import re
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from torch import nn
from torch.nn import functional as F

from colorize_lib import color
from colorize_lib.data.augment import Augment
from colorize_lib.data.cache import cached_photographs
from colorize_lib.data.judging import tune_or_judge
from colorize_lib.data.loader import ColorizationDataset, LabLoader
from colorize_lib.data.manifest import PhotoConfig, find_photographs
from colorize_lib.evaluation.scores import evaluate
from colorize_lib.evaluation.tables import draw_counts, interval
from colorize_lib.files import DATA_DIR, ROOT, atomic_path
from colorize_lib.models import distribution
from colorize_lib.models.light import LightConfig, build_light
from colorize_lib.models.painting import colorize_batch
from colorize_lib.runs.device import make_accelerator, seed_everything
from colorize_lib.runs.run import environment
from colorize_lib.training.distribution import DistributionConfig, DistributionModel, set_prior

RECORDS = ROOT / "outputs" / "published" / "claims"
PLAN = yaml.safe_load((Path(__file__).parent / "claims.yaml").read_text())
CACHE, N_JUDGE = 96, 400
IMAGENET = r"(?:^|/)(?:imagen|inetmini|n\d{8})"  # of a path: photographs that ImageNet's encoders were trained on
READINGS = {"bins": (0.0, 0.8), "ab": (1.0, 1.6, 2.0)}  # vividness, or what L1's colours are multiplied by
FIGURES = ["l1_ab", "auc", "auc_rebalanced", "colorfulness", "colorfulness_gap_per_image"]


def settings(arm: str) -> dict:
    """The fields of an arm."""
    changed = dict(PLAN["arms"][arm])
    fields = dict(PLAN["bases"][changed.pop("base")])
    if unknown := changed.keys() - fields.keys():
        raise ValueError(f"claims.yaml: arm {arm!r} changes {min(unknown)}, which its base does not have")
    return fields | changed


def record_path(arm: str, seed: int, folder: Path = RECORDS) -> Path:
    """Where a record lies; the name has a digest of the settings."""
    digest = hashlib.sha256(json.dumps(settings(arm), sort_keys=True).encode()).hexdigest()[:8]
    name = re.sub("[^a-z0-9]+", "-", arm.lower())
    return folder / f"{name}-{digest}-{seed}.json"


class PlainColour(nn.Conv2d):
    """A head that paints ab and learns by L1, where ColourDistribution believes in bins."""

    def loss(self, ab_hat: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:
        return F.l1_loss(ab_hat.float(), F.adaptive_avg_pool2d(ab, ab_hat.shape[2:]))


class LossAt(nn.Module):
    """A head whose loss sees its colours enlarged."""

    def __init__(self, head: nn.Module, scale: int):
        super().__init__()
        self.head, self.scale = head, scale

    def loss(self, colours: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:
        return self.head.loss(F.interpolate(colours, scale_factor=self.scale, mode="bilinear"), ab)


class Photographs:
    """The pixels, and which of them an arm trains on, chooses by and is judged on."""

    def __init__(self, folder: str, extra: str):
        every = [self._load(one) for one in (folder, extra) if one]
        self.pixels = [pixels for _, pixels in every]
        rows = every[0][0]
        seen, part = rows.path.str.contains(IMAGENET), rows.sha256.map(tune_or_judge)
        self.train = [np.flatnonzero(one.split == "train") for one, _ in every]
        val = (rows.split == "val") & ~seen
        self.tune, self.judge = (np.flatnonzero(val & (part == name))[:N_JUDGE] for name in ("tune", "judge"))

    @staticmethod
    def _load(folder: str) -> tuple[pd.DataFrame, np.ndarray]:
        photos = find_photographs(PhotoConfig(source="folder", folder=folder, n_images=0), DATA_DIR, CACHE)
        return photos.usable, cached_photographs(photos, CACHE, DATA_DIR)

    def drawn(self, counts: list[int], seed: int) -> np.ndarray:
        """uint8 (N,H,W,3): so many of each folder, drawn by the seed; more of them hold the ones of fewer."""
        rng = np.random.default_rng(seed)
        chosen = [
            (p, np.sort(rng.permutation(rows)[:n])) for p, rows, n in zip(self.pixels, self.train, counts, strict=True)
        ]
        return np.concatenate([pixels[rows] for pixels, rows in chosen])


def train(arm: str, seed: int, photos: Photographs, precision: str) -> dict:
    """One arm with one seed, trained and judged: its record."""
    fields, began = settings(arm), time.monotonic()
    seed_everything(seed)
    accelerator = make_accelerator("auto", precision)
    counts = [fields["photographs"], fields["extra"]][: len(photos.pixels)]
    if fields["extra"] and len(counts) < 2:
        raise SystemExit(f"the arm {arm!r} needs a second folder: --extra DIR")
    augment = Augment(fields["size"], area=(fields["least_area"], 1.0))
    if not fields["vary_lightness"]:
        augment = Augment(fields["size"], area=augment.area, brightness=0, contrast=0, gamma=0, blur=0)
    dataset = ColorizationDataset(photos.drawn(counts, seed))
    train_dl = LabLoader(dataset, fields["batch"], train=True, seed=seed, augment=augment)
    tune_dl, judge_dl = (
        LabLoader(ColorizationDataset(photos.pixels[0], rows), 100, train=False) for rows in (photos.tune, photos.judge)
    )
    distribution.UNIFORM = fields["uniform"]
    widths = tuple(round(fields["width"] * channels) for channels in (256, 160, 96))
    net = build_light(LightConfig(size=CACHE, encoder=fields["encoder"], widths=widths), fields["encoder_weights"])
    if fields["head"] == "ab":
        net.head = PlainColour(widths[-1], 2, kernel_size=1)
    else:
        set_prior(net, train_dl)
    config = DistributionConfig(
        fields["epochs"] * len(train_dl), fields["lr"], ema_decay=0.99, frozen_levels=fields["frozen_levels"]
    )
    model = DistributionModel(net, config, accelerator)
    if fields["loss_at"] != 4:
        model.head = LossAt(net.head, 4 // fields["loss_at"])
    epochs = []
    for epoch in range(fields["epochs"]):
        train_dl.set_epoch(epoch)
        model.set_modes()
        losses = []
        for batch in train_dl:
            model.setup_input(batch)
            model.step()
            losses.append(model.losses().item())
        epochs.append({"train": float(np.mean(losses)), "tune": mean_loss(model.generator, tune_dl)})
    record = {"arm": arm, "seed": seed, "settings": fields, "environment": environment(), "epochs": epochs}
    record |= {"seconds": time.monotonic() - began, "parameters": sum(p.numel() for p in net.parameters())}
    return record | judged(model.generator, judge_dl, READINGS[fields["head"]])


@torch.no_grad()
def mean_loss(net: nn.Module, dl: LabLoader) -> float:
    """The head's loss over a loader's photographs, in eval mode."""
    net.eval()
    return float(np.mean([net.head.loss(net(batch["L"], logits=True), batch["ab"]).item() for batch in dl]))


def judged(net: nn.Module, dl: LabLoader, readings: tuple[float, ...]) -> dict:
    """Figures at every reading, and at the middle or last one every photograph's, for paired intervals."""

    def paint(reading: float, L: torch.Tensor) -> torch.Tensor:
        if isinstance(net.head, PlainColour):
            return color.lab_to_rgb(L, reading * colorize_batch(net, L))
        net.vividness = reading
        return color.lab_to_rgb(L, colorize_batch(net, L))

    scores = evaluate({str(reading): partial(paint, reading) for reading in readings}, dl)
    main = scores[str(readings[1])]
    rarity = main._rarity
    each = {
        "l1_ab": main.images.l1_ab,
        "colorfulness_gap_per_image": main.images.colorfulness_gap_per_image,
        "close": main.closeness @ rarity / (main.bins_truth @ rarity).mean(),
        "weight": main.bins_truth @ rarity / (main.bins_truth @ rarity).mean(),
    }
    return {
        "judge": {name: one.figures()[FIGURES].iloc[0].round(4).to_dict() for name, one in scores.items()},
        "photographs": {name: np.round(np.asarray(values), 3).tolist() for name, values in each.items()},
    }


def figure(photographs: dict[str, np.ndarray], counts: np.ndarray, name: str) -> np.ndarray:
    """A figure over draws of photographs, counts (B,N) and values (S,N): (S,B)."""
    if name == "auc_rebalanced":
        return (photographs["close"] @ counts.T) / (photographs["weight"] @ counts.T)
    return photographs[name] @ counts.T / counts.sum(axis=1)


def effect(arm: list[dict], base: list[dict], name: str, draws: int = 2000) -> dict[str, float]:
    """The mean difference arm - base of a figure, and its 95 % interval: bootstrap over photographs AND seeds, both
    paired. arm, base: records of the same seeds, in order."""
    stacked = [
        {key: np.array([r["photographs"][key] for r in one]) for key in one[0]["photographs"]} for one in (arm, base)
    ]
    once = np.ones((1, len(arm[0]["photographs"]["l1_ab"])))
    counts = draw_counts(once.shape[1], draws)
    seeds = draw_counts(len(arm), draws, seed=1) / len(arm)  # (B,S)
    minus = figure(stacked[0], counts, name) - figure(stacked[1], counts, name)  # (S,B)
    low, high = interval(np.einsum("bs,sb->b", seeds, minus))
    value = float((figure(stacked[0], once, name) - figure(stacked[1], once, name)).mean())
    return {"effect": value, "low": low, "high": high, "verdict": "unresolved" if low <= 0 <= high else "resolved"}


def table(folder: Path = RECORDS) -> pd.DataFrame:
    """Every arm whose seeds are all there: its means on judge, and its effect on the figure that decides."""
    rows, bases = {}, {}
    for arm in PLAN["arms"]:
        paths = [record_path(arm, seed, folder) for seed in range(PLAN["seeds"])]
        if not all(path.exists() for path in paths):
            continue
        records = [json.loads(path.read_text()) for path in paths]
        base = bases.setdefault(PLAN["arms"][arm]["base"], records)
        middle = [list(record["judge"].values())[1] for record in records]
        rows[arm] = {name: np.mean([one[name] for one in middle]) for name in FIGURES}
        rows[arm]["tune loss"] = np.mean([record["epochs"][-1]["tune"] for record in records])
        if records is not base:
            rows[arm] |= effect(records, base, PLAN["primary"])
    return pd.DataFrame(rows).T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", help="a folder of photographs, or several: A,B")
    parser.add_argument("--extra", default="", help="a second folder, for arms with `extra`")
    parser.add_argument("--arms", nargs="*", help="only these")
    parser.add_argument("--precision", default="no", help="no | bf16")
    parser.add_argument("--table", action="store_true", help="only read the records")
    options = parser.parse_args()
    if options.table:
        print(table().round(3).to_string())
        return
    wanted = [(arm, seed) for seed in range(PLAN["seeds"]) for arm in options.arms or PLAN["arms"]]
    left = [(arm, seed) for arm, seed in wanted if not record_path(arm, seed).exists()]
    photos, times = Photographs(options.photos, options.extra), []
    for done, (arm, seed) in enumerate(left):
        record = train(arm, seed, photos, options.precision)
        with atomic_path(record_path(arm, seed)) as partial_path:
            partial_path.write_text(json.dumps(record))
        times.append(record["seconds"])
        rest = len(left) - done - 1
        print(f"{arm}, seed {seed}: {list(record['judge'].values())[1]}", flush=True)
        print(f"{rest} left, about {rest * np.mean(times) / 60:.0f} minutes", flush=True)


if __name__ == "__main__":
    main()
