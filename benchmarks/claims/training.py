"""How an arm is trained and judged: for each kind of arm, a function from its fields and a seed to its record."""

import time
from functools import partial

import networks
import numpy as np
import torch
from photographs import CACHE, COCO, Missing, Photographs
from probe import fine_tuned, probe
from torch import nn
from torch.nn import functional as F

from colorize_lib import color
from colorize_lib.data.augment import Augment
from colorize_lib.data.cifar10 import make_image_loaders
from colorize_lib.data.loader import LabLoader
from colorize_lib.evaluation import collapse, hues, metrics
from colorize_lib.evaluation.answers import paint_grey
from colorize_lib.evaluation.perceptual import Lite0
from colorize_lib.evaluation.regions import is_smooth
from colorize_lib.evaluation.scores import Scores, evaluate
from colorize_lib.models import build_discriminator, build_generator, distribution
from colorize_lib.models.cifar import CifarConfig
from colorize_lib.models.init import init_weights
from colorize_lib.models.light import LightConfig, build_light
from colorize_lib.models.painting import as_ab, colorize_batch
from colorize_lib.models.unet import Unet
from colorize_lib.runs.device import seed_everything
from colorize_lib.runs.run import environment
from colorize_lib.training.distribution import DistributionConfig, DistributionModel, set_prior
from colorize_lib.training.gan import GanConfig, MainModel
from colorize_lib.training.trainable import RegressionModel, TrainableModel

__all__ = ["Missing", "run"]
READINGS = {"bins": (0.0, 0.8), "ab": (1.0, 1.6, 2.0)}  # vividness, or what L1's colours are multiplied by
FIGURES = ["l1_ab", "auc", "auc_rebalanced", "colorfulness", "colorfulness_gap_per_image"]
SKY_AND_TREES = ("blue", "green")
OTHERS = ("red", "orange/yellow", "cyan", "purple")
PIXEL_FIGURES = ["spill", "error_small_regions", "error_large_regions", "error_edges"]


def run(claims, arm: str, seed: int, photos: Photographs, accelerator) -> dict:
    """An arm with one seed, trained and judged: its record."""
    began = time.monotonic()
    seed_everything(seed)
    fields = claims.settings(arm)
    kinds = {"colours": colours, "gan": gan, "cifar": cifar, "pretext": pretext}
    found = kinds[claims.trainer(arm)](fields, seed, photos, accelerator)
    own = {"arm": arm, "seed": seed, "settings": fields, "environment": environment()}
    return own | {"seconds": time.monotonic() - began} | found


def train(model: TrainableModel, train_dl: LabLoader, score, epochs: int, iterations: int = 0, first: int = 0) -> list:
    """Epochs' mean losses by name, and what `score` says of the generator after each; `iterations`, if any, in six
    parts in place of epochs. first: number of the first epoch, for the order of the photographs."""
    part, done, rows, losses = iterations // 6 or len(train_dl), 0, [], []
    epoch = first
    while len(rows) < (6 if iterations else epochs):
        train_dl.set_epoch(epoch)
        model.set_modes()
        for batch in train_dl:
            model.setup_input(batch)
            model.step()
            losses.append(model.losses())
            done += 1
            if done % part == 0:
                means = torch.stack(losses).mean(dim=0).tolist()
                rows.append(dict(zip(model.loss_names, means, strict=True)) | score(model.generator))
                losses = []
                model.set_modes()
                if len(rows) == 6 and iterations:
                    break
        epoch += 1
    return rows


def colours(fields: dict, seed: int, photos: Photographs, accelerator) -> dict:
    """The light network, as a distribution or on L1."""
    augment = Augment(fields["size"], area=(fields["least_area"], 1.0))
    if not fields["vary_lightness"]:
        augment = Augment(fields["size"], area=augment.area, brightness=0, contrast=0, gamma=0, blur=0)
    pixels = photos.drawn(fields["photographs"], fields["extra"], seed)
    train_dl = photos.on_device(pixels, fields["batch"], train=True, seed=seed, augment=augment)
    distribution.UNIFORM = fields["uniform"]
    widths = tuple(round(fields["width"] * channels) for channels in (256, 160, 96))
    net = build_light(LightConfig(size=CACHE, encoder=fields["encoder"], widths=widths), fields["encoder_weights"])
    if "at_eighth" in fields:
        net.ups[1].append(networks.AT_EIGHTH[fields["at_eighth"]](widths[1]))
    if fields["head"] == "ab":
        net.head = PlainColour(widths[-1], 2, kernel_size=1)
    else:
        set_prior(net, train_dl)
    iterations = fields.get("iterations", 0)
    config = DistributionConfig(
        iterations or fields["epochs"] * len(train_dl),
        fields["lr"],
        ema_decay=0.99,
        frozen_levels=fields["frozen_levels"],
    )
    model = DistributionModel(net, config, accelerator)
    if fields["loss_at"] != 4:
        model.head = LossAt(net.head, 4 // fields["loss_at"])
    tune_dl = photos.loader("tune")
    epochs = train(model, train_dl, lambda own: {"tune": mean_loss(own, tune_dl)}, fields["epochs"], iterations)
    readings = READINGS[fields["head"]]
    main = readings[0] if iterations else readings[1]
    judged = colours_judged(model.generator, photos.loader("judge"), readings, main)
    return judged | {"epochs": epochs, "parameters": count(net)}


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


@torch.no_grad()
def mean_loss(net: nn.Module, dl: LabLoader) -> float:
    """The head's loss over a loader's photographs, in eval mode."""
    net.eval()
    return float(np.mean([net.head.loss(net(batch["L"], logits=True), batch["ab"]).item() for batch in dl]))


def colours_judged(net: nn.Module, dl: LabLoader, readings: tuple[float, ...], main: float) -> dict:
    """Figures at every reading, and at the main one every photograph's, for paired intervals."""

    def paint(reading: float, L: torch.Tensor) -> torch.Tensor:
        if isinstance(net.head, PlainColour):
            return color.lab_to_rgb(L, reading * colorize_batch(net, L))
        net.vividness = reading
        return color.lab_to_rgb(L, colorize_batch(net, L))

    scores = evaluate({str(reading): partial(paint, reading) for reading in readings}, dl)
    of_photographs = {name: np.round(each, 3).tolist() for name, each in sums(scores[str(main)]).items()}
    return {"judge": means(scores), "reading": str(main), "photographs": of_photographs}


def sums(scores: Scores) -> dict[str, np.ndarray]:
    """What the figures of photographs are made of; `close` / `weight` is the rebalanced AuC."""
    rarity = scores._rarity
    unit = (scores.bins_truth @ rarity).mean()
    named = {name: scores.images[name].to_numpy() for name in ("l1_ab", "colorfulness_gap_per_image")}
    return named | {"close": scores.closeness @ rarity / unit, "weight": scores.bins_truth @ rarity / unit}


def means(scores: dict[str, Scores]) -> dict[str, dict[str, float]]:
    """The figures that a record shows, by answer."""
    return {name: one.figures()[FIGURES].iloc[0].round(4).to_dict() for name, one in scores.items()}


def count(net: nn.Module) -> int:
    """How many parameters a network has."""
    return sum(parameter.numel() for parameter in net.parameters())


def gan(fields: dict, seed: int, photos: Photographs, accelerator) -> dict:
    """The reports' U-Net and discriminator, from L1 on to the loss of the arm."""
    size, halvings = fields["size"], int(np.log2(fields["size"]))
    pixels = photos.drawn(fields["photographs"], 0, seed, fields["source"])
    train_dl = shrunk(photos.on_device(pixels, fields["batch"], train=True, seed=seed), size)
    tune_dl, judge_dl = (shrunk(photos.loader(part), size) for part in ("tune", "judge"))
    net: nn.Module = Unet(1 + fields["noise"], 2, halvings, fields["filters"])
    net = net if fields["init"] == "torch" else init_weights(net, fields["init"])
    for module in net.modules():
        if isinstance(module, nn.Dropout) and not fields["dropout"]:
            module.p = 0.0
    net = networks.WithNoise(net, fields["noise"]) if fields["noise"] else net

    def score(own: nn.Module) -> dict[str, float]:
        found = metrics.validate(own, tune_dl)
        return {"tune": found["val_L1"], "colorfulness": found["val_colorfulness"]}

    first = RegressionModel(net, fields["lr"], accelerator)
    start = train(first, train_dl, score, fields["start_epochs"])
    model = objective(fields, net, accelerator)
    epochs = train(model, train_dl, score, fields["epochs"], first=fields["start_epochs"])
    return gan_judged(model.generator, judge_dl, photos) | {"start": start, "epochs": epochs, "parameters": count(net)}


def objective(fields: dict, net: nn.Module, accelerator) -> TrainableModel:
    """What a generator is trained on."""
    loss, lr = fields["loss"], fields["lr"]
    if loss in RegressionModel.CRITERIA:
        return RegressionModel(net, lr, accelerator, loss)
    if loss == "feature":
        return networks.FeatureModel(net, lr, accelerator)
    relativistic = fields["game"] == "relativistic"
    config = GanConfig(lr, lr, lambda_L1=fields["lambda_L1"], gan_mode="vanilla" if relativistic else fields["game"])
    kind = networks.RelativisticGame if relativistic else MainModel
    return kind(net, config, accelerator, networks.discriminator(fields["patch"]))


def shrunk(dl: LabLoader, size: int) -> LabLoader:
    """A loader of the same pictures at `size`, in the same memory."""
    rgb = dl.dataset.photographs.permute(0, 3, 1, 2)
    parts = [F.interpolate(one.float(), size, mode="bilinear", antialias=True) for one in rgb.split(500)]
    dl.dataset.photographs = torch.cat([one.round().byte().permute(0, 2, 3, 1) for one in parts])
    return dl


@torch.no_grad()
def gan_judged(net: nn.Module, dl: LabLoader, photos: Photographs) -> dict:
    """Every figure that a test may ask for, of every photograph."""

    def paint(L: torch.Tensor) -> torch.Tensor:
        return color.lab_to_rgb(L, colorize_batch(net, L))

    scores = evaluate({"painted": paint, "grey": paint_grey}, dl, Lite0().to(photos.device).distance)
    painted, grey = scores["painted"], scores["grey"]
    own = sums(painted) | {
        name: painted.images[name].to_numpy() for name in ("auc", "colorfulness", "perceptual_lite0")
    }
    coco = photos.first[0].path.iloc[photos.part("judge")].str.contains(COCO).to_numpy(dtype=float)
    own["l1_ab_coco"] = {"total": own["l1_ab"] * coco, "weight": coco}
    own["grey_coco"] = {"total": grey.images.l1_ab.to_numpy() * coco, "weight": coco}
    for name in PIXEL_FIGURES:
        own[name] = {"total": painted.totals[name].to_numpy(), "weight": painted.weights[name].to_numpy()}
    for name, kinds in {"sky_and_trees": SKY_AND_TREES, "others": OTHERS}.items():
        columns = [f"error_{hue}" for hue in kinds]
        total, weight = (one.totals[columns].sum(axis=1).to_numpy() for one in (painted, grey))
        own[f"share_of_grey_{name}"] = {"total": total, "weight": weight}
    own |= seen_again(net, dl, own["l1_ab"])
    return {"judge": means({"painted": painted}), "photographs": {name: rounded(each) for name, each in own.items()}}


def seen_again(net: nn.Module, dl: LabLoader, l1: np.ndarray) -> dict:
    """Of every photograph: how far two colourings with dropout or noise are apart beside the error, how bright the
    picture is, and the error where the lightness has texture and where it has none."""
    rows: dict[str, list[torch.Tensor]] = {}
    for batch in dl:
        L, ab = batch["L"], batch["ab"]
        ab_hat = colorize_batch(net, L)
        one, other = (colorize_batch(net, L, dropout=True) for _ in range(2))
        distance = (ab_hat - ab).square().sum(dim=1).sqrt() * color.AB_SCALE
        smooth = is_smooth(color.denormalize(L, ab))
        found = {
            "variety": (one - other).abs().mean(dim=(1, 2, 3)) * color.AB_SCALE,
            "brightness": color.lab_to_rgb(L, ab_hat).amax(dim=1).mean(dim=(1, 2)) * 255,
            "smooth": (distance * smooth).sum(dim=(1, 2)),
            "n_smooth": smooth.sum(dim=(1, 2)),
            "textured": (distance * ~smooth).sum(dim=(1, 2)),
            "n_textured": (~smooth).sum(dim=(1, 2)),
        }
        for name, each in found.items():
            rows.setdefault(name, []).append(each.double().cpu())
    all_of = {name: torch.cat(parts).numpy() for name, parts in rows.items()}
    pairs = {f"error_{name}": {"total": all_of[name], "weight": all_of[f"n_{name}"]} for name in ("smooth", "textured")}
    variety = {"total": all_of["variety"], "weight": l1}
    return pairs | {"brightness": all_of["brightness"], "variety_share": variety}


def rounded(values: np.ndarray | dict) -> list | dict:
    """Numbers for a record: four digits."""
    if isinstance(values, dict):
        return {name: rounded(one) for name, one in values.items()}
    return [float(f"{value:.4g}") for value in values]


def cifar(fields: dict, seed: int, photos: Photographs, accelerator) -> dict:
    """S4's networks on CIFAR-10; every third test image is left to choose by."""
    train_images, test_images = photos.images
    train_images = train_images.draw(0, seed)
    own = np.flatnonzero(train_images.labels < fields["classes"])
    chosen = np.sort(np.random.default_rng(seed).permutation(own)[: fields["photographs"]])
    judged = np.flatnonzero(
        (np.arange(len(test_images.images)) % 3 > 0) & (test_images.labels < fields["judged_classes"])
    )
    train_images, test_images = (
        type(one)(one.images[rows], one.labels[rows], one.classes)
        for one, rows in ((train_images, chosen), (test_images, judged))
    )
    train_dl, judge_dl = make_image_loaders(train_images, test_images, fields["batch"], seed, photos.device)
    names = ("output", "activation", "downsample", "norm", "final")
    config = CifarConfig(**{name: fields[name] for name in names})
    weights = {name: fields[name] for name in ("lambda_L1", "lambda_cosine", "lambda_diversity")}
    objective = GanConfig(fields["lr"], fields["lr"], **weights)
    model = MainModel(build_generator(config), objective, accelerator, build_discriminator(config))
    detailed = collapse.detailed_validation(test_images.of_classes(("ship", "airplane")))

    def score(net: nn.Module) -> dict[str, float]:
        found = detailed(net, judge_dl)
        return {"tune": found.pop("val_L1")} | found

    epochs = train(model, train_dl, score, fields["epochs"])
    epochs[-1] |= half_gains(epochs, hues.grey_hue_errors(judge_dl))
    each = [
        (as_ab(colorize_batch(model.generator, batch["L"])) - batch["ab"]).abs().mean(dim=(1, 2, 3)) * color.AB_SCALE
        for batch in judge_dl
    ]
    l1 = torch.cat(each).cpu().numpy()
    judge = {"painted": {"l1_ab": float(l1.mean()), "colorfulness": epochs[-1]["val_colorfulness"]}}
    shown = [{name: float(f"{value:.5g}") for name, value in row.items()} for row in epochs]
    return {"judge": judge, "photographs": {"l1_ab": rounded(l1[:500])}, "epochs": shown}


def half_gains(epochs: list[dict], grey: dict[str, float]) -> dict[str, float]:
    """The epoch by which half of the final gain over grey is had: of red, and the mean of the other hues; one after the
    last for a hue that gained nothing."""
    import pandas as pd

    history = pd.DataFrame(epochs).assign(kind="epoch", epoch=range(1, len(epochs) + 1))
    found = {hue: at or len(epochs) + 1 for hue, at in collapse.half_gain_epochs(history, grey).items()}
    others = [at for hue, at in found.items() if hue not in ("red", "near-grey")]
    return {"half_gain_red": found["red"], "half_gain_others": float(np.mean(others))}


def pretext(fields: dict, seed: int, photos: Photographs, accelerator) -> dict:
    """A ResNet18 that has learned nothing, to colour, or classes, and what it is then worth to a classifier."""
    rows, pixels = photos.second
    names = sorted(rows["class"].unique())
    labels = rows["class"].map(names.index).to_numpy()
    train_rows, val_rows = (np.flatnonzero(rows.split == split) for split in ("train", "val"))
    chosen = np.sort(np.random.default_rng(seed).permutation(train_rows)[: fields["photographs"]])
    size, batch = fields["size"], fields["batch"]
    augment = Augment(size)
    train_dl = photos.on_device(pixels[chosen], batch, train=True, seed=seed, augment=augment, labels=labels[chosen])
    net = build_light(LightConfig(size=size, encoder="resnet18"), "random").to(photos.device)
    encoder, epochs = net.encoder, []
    steps = fields["epochs"] * len(train_dl)
    if fields["learns"] == "colours":
        set_prior(net, train_dl)
        model = DistributionModel(
            net, DistributionConfig(steps, fields["lr"], 1.0, frozen_levels=0, ema_decay=0.99), accelerator
        )
        epochs = train(model, train_dl, lambda own: {}, fields["epochs"])
        encoder = model.generator.encoder
    elif fields["learns"] == "labels":
        model = ClassModel(encoder, len(names), steps, fields["lr"], accelerator)
        epochs = train(model, train_dl, lambda own: {}, fields["epochs"])
    plain = [
        shrunk(photos.on_device(pixels[of], 100, train=False, labels=labels[of]), size)
        for of in (chosen[:8000], val_rows[:2000])
    ]
    few = np.concatenate([chosen[labels[chosen] == k][:10] for k in range(len(names))])
    few_dl = photos.on_device(pixels[few], batch, train=True, seed=seed, augment=augment, labels=labels[few])
    probed = probe(encoder, *plain, size)
    tuned = fine_tuned(encoder, few_dl, plain[1], len(names))
    rights = {"probe": probed["right"].tolist(), "finetuned": tuned.tolist()}
    judge = {"probed": {name: float(np.mean(each)) for name, each in rights.items()}}
    return {"judge": judge, "photographs": rights, "epochs": epochs}


class ClassModel(TrainableModel):
    """An encoder and a linear layer, trained on classes by AdamW along one cosine."""

    loss_names = ("loss_class",)

    def __init__(self, encoder: nn.Module, classes: int, steps: int, lr: float, accelerator):
        super().__init__(accelerator)
        self.net_G = self.prepare(nn.ModuleDict({"encoder": encoder, "last": nn.Linear(encoder.channels[4], classes)}))
        self.opt_G = accelerator.prepare_optimizer(torch.optim.AdamW(self.net_G.parameters(), lr, weight_decay=0.05))
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.opt_G.optimizer, lr, steps)

    def setup_input(self, batch: dict) -> None:
        super().setup_input(batch)
        self.label = batch["label"].to(self.accelerator.device)

    def optimize(self) -> None:
        seen = self.net_G["encoder"](self.L)[-1].mean(dim=(2, 3))
        self.loss_class = F.cross_entropy(self.net_G["last"](seen), self.label)
        self.descend(self.loss_class)
        self.schedule.step()
