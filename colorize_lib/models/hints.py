"""Colours that somebody points at, in a light generator that stays as it is.

Every place asks every hint (attention, arXiv:1706.03762): how alike are what the decoder sees there and here, and how
far apart are they? What the answers say is mixed by two convolutions into a colour to aim at and how surely, and is
added to the distribution's logits. Without hints nothing is added. Zhang et al., "Real-Time User-Guided Image
Colorization with Learned Deep Priors" (arXiv:1705.02999), give hints as three more channels to a network instead; here
those would have had to train all of it, and to reach over the picture through its convolutions.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..color import AB_SCALE
from ..files import sha256
from .distribution import BIN
from .light import LightUnet
from .weights import filled, load_weights

NAME = "hints.safetensors"  # beside the generator that it belongs to
FAR = (-2.0, 7.0)  # logarithms of how fast the heads' attention falls with the square of the distance, at first
UNLIKE = 2.0  # the same for the squared differences of lightness and of what is painted without hints


class HintNet(nn.Module):
    """What hints change in the logits of a LightUnet with a ColourDistribution and a decoder of these widths.

    Hints are `at` (N,K,2), x and y as shares of width and height, and `ab` (N,K,2), normalised; `known` (N,K) is False
    for those that only fill the batch.
    """

    def __init__(self, widths: tuple[int, int, int], bins: int, width: int = 64, heads: int = 8):
        super().__init__()
        self.heads = heads
        self.levels = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in widths)
        self.pair = nn.Conv2d(width, 2 * width, 1)  # queries and keys
        unlike = torch.full((2, heads), UNLIKE)
        self.near = nn.Parameter(torch.cat([torch.linspace(*FAR, heads)[None], unlike]).T)  # place, L, ab
        self.nothing = nn.Parameter(torch.zeros(heads))  # the score of no hint at all
        self.mix = nn.Sequential(
            *(nn.Conv2d(width + 5 * heads, 96, 3, padding=1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(96, 96, 3, padding=2, dilation=2), nn.ReLU(inplace=True)),
        )
        self.aim, self.shift = nn.Conv2d(96, 3 + 2 * heads, 1), nn.Conv2d(96, bins, 1)
        for layer in (self.aim, self.shift):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, net_G: LightUnet, L: torch.Tensor, at: torch.Tensor, ab: torch.Tensor, known: torch.Tensor
    ) -> torch.Tensor:
        """The generator's logits (N,Q,H/4,W/4) for L (N,1,H,W) with hints."""
        head, maps = net_G.head, net_G.maps(L)
        logits = head(maps[-1])
        if not known.any():
            return logits
        size = logits.shape[2:]
        seen = sum(
            F.interpolate(level(own), size, mode="bilinear", align_corners=False)
            for level, own in zip(self.levels, maps, strict=True)
        )
        query, key = self.pair(seen).chunk(2, dim=1)
        here = torch.cat([_middles(logits), F.adaptive_avg_pool2d(L, size), head.decode(logits, 1.0, 1.0)], dim=1)
        there = F.grid_sample(
            torch.cat([key, here], dim=1), 2 * at[:, :, None] - 1, padding_mode="border", align_corners=False
        )[..., 0]  # (N,C,K)
        key, there = there.split([key.shape[1], 5], dim=1)
        query, key = (of.flatten(2).unflatten(1, (self.heads, -1)) for of in (query, key))
        apart = (here.flatten(2)[:, :, None] - there[..., None]).square()  # (N,5,K,P)
        apart = torch.stack([apart[:, :2].sum(dim=1), apart[:, 2], apart[:, 3:].sum(dim=1)], dim=1)
        score = torch.einsum("nhcp,nhck->nhkp", query, key) / query.shape[2] ** 0.5
        score = score - torch.einsum("ht,ntkp->nhkp", self.near.exp(), apart)
        score = score.masked_fill(~known[:, None, :, None], -torch.inf)
        nothing = self.nothing[:, None, None].expand(len(score), -1, 1, score.shape[3])
        weight = torch.cat([score, nothing], dim=2).softmax(dim=2)[:, :, :-1]
        values = torch.cat([torch.ones_like(ab[..., :1]), ab, ab - there[:, 3:].mT], dim=2)  # (N,K,5)
        told = torch.einsum("nhkp,nkv->nhvp", weight, values).unflatten(3, size)
        scale = told.new_tensor([1, 4, 4, 4, 4])[:, None, None]
        mixed = self.mix(torch.cat([seen, (told * scale).flatten(1, 2)], dim=1))
        aside, precision, shares = self.aim(mixed).float().split([2, 1, 2 * self.heads], dim=1)
        # The colours of which one is chosen: each head's hints, and what was painted, moved as the hints say.
        least = told[:, :, :1].clamp(min=1e-4)
        colours = torch.cat([told[:, :, 1:3] / least, here[:, None, 3:] + told[:, :, 3:] / least], dim=1)
        aim = (shares.softmax(dim=1)[:, :, None] * colours).sum(dim=1) + aside / 10
        # log N(bin; aim, 1 / precision) but for what all bins share, and the shift, in one product over the bins.
        bins, sure = head.centres / BIN, told[:, :, 0].mean(dim=1, keepdim=True)
        rows = torch.cat([bins, bins.square().sum(dim=1, keepdim=True) / -2], dim=1)[:, :, None, None]
        with torch.autocast(logits.device.type, enabled=False):
            pull = F.softplus(precision) * torch.cat([AB_SCALE / BIN * aim, torch.ones_like(sure)], dim=1)
            weights = torch.cat([self.shift.weight, self.shift.bias[:, None, None, None], rows], dim=1)
            return logits.float() + F.conv2d(sure * torch.cat([mixed, torch.ones_like(sure), pull], dim=1), weights)

    def believe(self, net_G: LightUnet, L: torch.Tensor, at: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:
        """As `LightUnet.believe`, with hints: the logits (N,Q,H/4,W/4), the mean of L's and its mirror image's."""
        mirrored = torch.stack([1 - at[..., 0], at[..., 1]], dim=2)
        known = torch.ones_like(at[..., 0], dtype=torch.bool)
        one = self(net_G, L, at, ab, known)
        return (one + self(net_G, L.flip(3), mirrored, ab, known).flip(3)) / 2


def load_hints(generator: Path, net_G: nn.Module) -> HintNet | None:
    """The HintNet in hints.safetensors beside a generator's file; None if there is none that was trained with it.

    Raises CheckpointError for a damaged file.
    """
    path = generator.with_name(NAME)
    if not (generator.is_file() and path.is_file()):
        return None
    state, config = load_weights(path)
    if config.get("generator") != sha256(generator):
        return None
    net = HintNet([up[0].out_channels for up in net_G.ups], len(net_G.head.centres))
    return filled(net, state, path)


def _middles(maps: torch.Tensor) -> torch.Tensor:
    """x and y of the middles of all cells of maps (N,C,h,w), as shares of width and height: (N,2,h,w)."""
    height, width = maps.shape[2:]
    y, x = ((torch.arange(n, device=maps.device) + 0.5) / n for n in (height, width))
    return torch.stack(torch.meshgrid(x, y, indexing="xy")).expand(len(maps), -1, -1, -1)
