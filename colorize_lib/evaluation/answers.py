"""Ways to colour, as functions of L: three that need no network, and those of trained generators."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from .. import color
from ..color import to_lab
from ..data.loader import LabLoader
from ..models.painting import paint_batch
from ..models.weights import load_generator


def find_generators(
    folder: Path, places: dict[str, str], size: int, photographs: str | None = None
) -> dict[str, nn.Module]:
    """The trained generators of a profile's folder that can be judged together; the others are named with the reason.

    places: the name for readers -> the run's folder below `folder`, which holds net_G.safetensors and config.json.
    size: of the pictures, in pixels. photographs: the digest of the photographs that generators of photographs must
    have been trained on (`PhotoSet.digest`): one trained on others may have seen those that it is judged by.
    """
    found = {}
    for name, place in places.items():
        path = folder / place / "net_G.safetensors"
        if not path.is_file():
            print(f"left out, {name}: {folder.name}/{place}/{path.name} is not there; run its notebook first")
            continue
        net_G, generator = load_generator(path)
        trained_on = json.loads((path.parent / "config.json").read_text()).get("photographs")
        if generator.size != size:
            print(f"left out, {name}: it paints {generator.size} px and not {size}")
        elif trained_on is not None and photographs is not None and trained_on != photographs:
            print(f"left out, {name}: it was trained on another draw of photographs and may have seen these")
        else:
            found[name] = net_G
    return found


THUMBNAIL = 16  # pixels of the lightness thumbnails by which pictures are compared


def mean_ab(dl: LabLoader) -> torch.Tensor:
    """The mean ab of all pixels of a loader's photographs, each taken once: (1,2,1,1), on the CPU."""
    total, pixels = torch.zeros(2, dtype=torch.float64), 0
    for batch in dl.in_order():
        total += batch["ab"].sum(dim=(0, 2, 3)).cpu()
        pixels += batch["ab"][:, 0].numel()
    return (total / pixels).float()[None, :, None, None]


def paint_grey(L: torch.Tensor) -> torch.Tensor:
    """The grey answer, ab = 0: L (N,1,H,W) to sRGB (N,3,H,W) in [0,1]."""
    return color.lab_to_rgb(L, L.new_zeros(len(L), 2, *L.shape[2:]))


class MeanColor:
    """The mean colour of the training photographs everywhere: called with L (N,1,H,W), gives sRGB (N,3,H,W)."""

    def __init__(self, train_dl: LabLoader):
        self.ab = mean_ab(train_dl)

    def __call__(self, L: torch.Tensor) -> torch.Tensor:
        return color.lab_to_rgb(L, self.ab.to(L.device).expand(len(L), 2, *L.shape[2:]))


class NearestNeighbor:
    """The colours of the training photograph that looks most alike in grey: L (N,1,H,W) to sRGB (N,3,H,W).

    Alike: the smallest Euclidean distance between 16x16 thumbnails of L, mirrored photographs included. The ab of that
    photograph is laid over L as it is, pixel by pixel.
    """

    def __init__(self, train_dl: LabLoader):
        self.dataset = train_dl.dataset
        self.thumbnails = torch.cat([_thumbnails(batch["L"]) for batch in train_dl.in_order()])  # (M,256)

    def __call__(self, L: torch.Tensor) -> torch.Tensor:
        distances = [torch.cdist(_thumbnails(one), self.thumbnails) for one in (L, L.flip(-1))]  # each (N,M)
        (straight, row), (mirrored, mirror_row) = (one.min(dim=1) for one in distances)
        flip = mirrored < straight
        rows = torch.where(flip, mirror_row, row).cpu().numpy()
        _, ab = to_lab(self.dataset.rgb(rows).to(L.device), flip)
        return color.lab_to_rgb(L, ab)


def of_generators(generators: dict[str, nn.Module], device: torch.device | str = "cpu") -> dict[str, Callable]:
    """Generators by name as answers by name, each L (N,1,H,W) to sRGB (N,3,H,W) with that L, moved to the device."""
    return {name: partial(paint_batch, net_G.to(device)) for name, net_G in generators.items()}


def _thumbnails(L: torch.Tensor) -> torch.Tensor:
    """(N,1,H,W) to (N,THUMBNAIL**2)."""
    return F.adaptive_avg_pool2d(L, THUMBNAIL).flatten(1)
