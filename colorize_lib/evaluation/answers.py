"""Ways to colour, as functions of L (N,1,H,W) that give sRGB (N,3,H,W) in [0,1]: three that need no network, and those
of trained generators; and how different several colourings of one photograph are."""

import json
from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from .. import color
from ..data.loader import LabLoader
from ..models.painting import colorize_batch, paint_batch
from ..models.weights import load_generator

Paint = Callable[[torch.Tensor], torch.Tensor]  # L (N,1,H,W) to sRGB (N,3,H,W) in [0,1]


def mean_ab(dl: LabLoader) -> torch.Tensor:
    """The mean ab of all pixels of a loader's photographs, each taken once: (1,2,1,1), on the CPU."""
    total, pixels = torch.zeros(2, dtype=torch.float64), 0
    for batch in dl.in_order():
        total += batch["ab"].sum(dim=(0, 2, 3)).cpu()
        pixels += batch["ab"][:, 0].numel()
    return (total / pixels).float()[None, :, None, None]


def paint_plain(ab: torch.Tensor, L: torch.Tensor) -> torch.Tensor:
    """One colour, ab (1,2,1,1), everywhere."""
    return color.lab_to_rgb(L, ab.to(L.device).expand(len(L), 2, *L.shape[2:]))


def paint_grey(L: torch.Tensor) -> torch.Tensor:
    """The grey answer, ab = 0."""
    return paint_plain(torch.zeros(1, 2, 1, 1), L)


class NearestNeighbor:
    """The ab, pixel by pixel, of the training photograph, mirrored or not, that looks most alike in grey: whose 16x16
    thumbnail of L has the smallest Euclidean distance."""

    def __init__(self, train_dl: LabLoader):
        self.dataset = train_dl.dataset
        self.thumbnails = torch.cat([self.thumbnail(batch["L"]) for batch in train_dl.in_order()])  # (M,256)

    def __call__(self, L: torch.Tensor) -> torch.Tensor:
        distances = [torch.cdist(self.thumbnail(one), self.thumbnails) for one in (L, L.flip(-1))]  # each (N,M)
        (straight, row), (mirrored, mirror_row) = (one.min(dim=1) for one in distances)
        flip = mirrored < straight
        rows = torch.where(flip, mirror_row, row).cpu().numpy()
        _, ab = color.to_lab(self.dataset.rgb(rows).to(L.device), flip)
        return color.lab_to_rgb(L, ab)

    @staticmethod
    def thumbnail(L: torch.Tensor) -> torch.Tensor:
        return F.adaptive_avg_pool2d(L, 16).flatten(1)


def simple_answers(train_dl: LabLoader) -> dict[str, Paint]:
    """The answers that need no network, by name: grey, the training photographs' mean colour, `NearestNeighbor`."""
    mean_colour = partial(paint_plain, mean_ab(train_dl))
    return {"grey": paint_grey, "mean colour": mean_colour, "nearest neighbour": NearestNeighbor(train_dl)}


def find_generators(folder: Path, places: dict[str, str], size: int, photographs: str) -> dict[str, nn.Module]:
    """The trained generators of a profile's folder that can be judged together; the others are named with the reason.

    places: the name for readers -> the run's folder below `folder`. size: of the pictures, in pixels. photographs:
    `PhotoSet.digest` of those to be trained on: a generator of others may have seen those that it is judged by.
    """
    found = {}
    for name, place in places.items():
        path = folder / place / "net_G.safetensors"
        if not path.is_file():
            print(f"left out, {name}: {folder.name}/{place}/{path.name} is not there; run its notebook first")
            continue
        net_G, generator = load_generator(path)
        trained_on = json.loads((path.parent / "config.json").read_text()).get("photographs")
        if generator.size != size and not (generator.architecture == "light" and size % 32 == 0):
            print(f"left out, {name}: it paints {generator.size} px and not {size}")
        elif trained_on not in (None, photographs):
            print(f"left out, {name}: it was trained on another draw of photographs and may have seen these")
        else:
            found[name] = net_G
    return found


def of_generators(generators: dict[str, nn.Module], device: torch.device | str = "cpu") -> dict[str, Paint]:
    """Generators by name as answers by name, each with the true L, moved to the device."""
    return {name: partial(paint_batch, net_G.to(device)) for name, net_G in generators.items()}


def colorings(generators: dict[str, nn.Module], L: torch.Tensor, n: int) -> dict[str, torch.Tensor]:
    """n colourings of each picture by every generator that has dropout, which is left on, the noise of pix2pix:
    L (N,1,H,W) to ab (n,N,2,H,W)."""
    noisy = [name for name, net_G in generators.items() if any(isinstance(m, nn.Dropout) for m in net_G.modules())]
    return {k: torch.stack([colorize_batch(generators[k], L, dropout=True) for _ in range(n)]) for k in noisy}


def variety(ab: torch.Tensor, L: torch.Tensor | None = None, perceptual: Callable | None = None) -> dict[str, float]:
    """How different two colourings of a picture are, ab (n,N,2,H,W), over all pairs of them and all pictures: the mean
    `variety`, the ab distance in Lab units, and `perceptual_lite0` if its function and L (N,1,H,W) are."""
    pairs = list(combinations(ab, 2))
    distances = [(one - other).square().sum(dim=1).sqrt().mean(dim=(1, 2)) for one, other in pairs]
    found = {"variety": (torch.stack(distances).mean(dim=0) * color.AB_SCALE).mean().item()}
    if perceptual is not None:
        distances = [perceptual(color.lab_to_rgb(L, one), color.lab_to_rgb(L, other)) for one, other in pairs]
        found["perceptual_lite0"] = torch.stack(distances).mean().item()
    return found
