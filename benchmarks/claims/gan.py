"""Arms of the reports' U-Net and discriminator."""

import networks
import numpy as np
import torch
from fitting import count, means, pictures, rounded, shrunk, sums, train
from photographs import COCO, Photographs
from torch import nn

from colorize_lib import color
from colorize_lib.data.loader import LabLoader
from colorize_lib.evaluation import metrics
from colorize_lib.evaluation.answers import paint_grey
from colorize_lib.evaluation.perceptual import Lite0
from colorize_lib.evaluation.regions import is_smooth
from colorize_lib.evaluation.scores import evaluate
from colorize_lib.models.init import init_weights
from colorize_lib.models.painting import colorize_batch
from colorize_lib.models.unet import Unet
from colorize_lib.training.gan import GanConfig, MainModel
from colorize_lib.training.trainable import RegressionModel, TrainableModel

SKY_AND_TREES = ("blue", "green")
OTHERS = ("red", "orange/yellow", "cyan", "purple")
PIXEL_FIGURES = ["spill", "error_small_regions", "error_large_regions", "error_edges"]


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
    trained = {"start": start, "epochs": epochs, "parameters": count(net)}
    return gan_judged(model.generator, judge_dl, photos, size) | trained


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


@torch.no_grad()
def gan_judged(net: nn.Module, dl: LabLoader, photos: Photographs, size: int) -> dict:
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
    figures = {"judge": means({"painted": painted}), "photographs": {name: rounded(each) for name, each in own.items()}}
    return figures | {"pictures": pictures(paint, size, photos.device)}


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
