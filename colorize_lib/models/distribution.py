"""Colour as a distribution over ab bins, after "Colorful Image Colorization" (arXiv:1603.08511), sections 2.1 to 2.3.

A pixel's colour is not one value but a belief: a probability for each bin of the ab plane. It is trained by
cross-entropy with rare colours weighted up, and read as a mean that is sharpened (T) and from which the weighting is
taken out again (alpha): with targets weighted by w, the network learns p(bin | L) w(bin) up to a factor, so dividing by
w**alpha gives the honest belief at alpha = 1 and the rebalanced one at 0. Zhang et al. read at alpha = 0 alone; one
training gives the whole way from faithful to vivid here.
"""

from functools import cache

import torch
from torch import nn

from .. import color

BIN = 10.0  # side of a bin in Lab units; bins are centred on multiples of it
NEIGHBOURS, SIGMA = 5, 5.0  # bins of a soft target, and the width in Lab units of the Gaussian that weights them
UNIFORM = 0.5  # lambda of section 2.2: how much of a uniform distribution is mixed into the prior
REACH = 110  # a* and b* of the table of soft targets: -REACH..REACH
# (alpha, T) from faithful, vividness 0, to vivid, 1; in equal steps, straight lines between them.
# Chosen among six readings of 100 *tune* photographs; no T under 0.6, and none under 0.7 at alpha = 0, was tried.
PATH = ((1.0, 0.6), (0.7, 0.6), (0.4, 0.6), (0.0, 0.7))


@cache
def bin_centres() -> torch.Tensor:
    """The centres (Q,2), in Lab units, of all bins that hold a colour of the sRGB cube: Q = 261.

    A cube of 65 levels finds the same as one of 256. Zhang et al. count 313 by a rule that they do not print.
    """
    levels = torch.linspace(0, 1, 65)
    found = torch.zeros(23, 23, dtype=torch.bool)
    for red in levels:  # a plane of the cube at a time
        plane = torch.stack(torch.meshgrid(red[None], levels, levels, indexing="ij")).reshape(1, 3, 65, 65)
        a, b = (color.rgb_to_lab(plane)[0, 1:] / BIN).round().long() + 11
        found[a, b] = True
    return (found.nonzero() - 11) * BIN


@cache
def _soft_targets(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """For every integer (a, b): its nearest bins (K,5) and their weights (K,5), which sum to 1. K = 221 * 221.

    A table, as searching the neighbours of each pixel costs more than the network does.
    """
    axis = torch.arange(-REACH, REACH + 1, dtype=torch.float32)
    points = torch.cartesian_prod(axis, axis)
    with torch.inference_mode(False):
        distance, index = torch.cdist(points, bin_centres()).topk(NEIGHBOURS, largest=False)
        weight = torch.softmax(-(distance**2) / (2 * SIGMA**2), dim=1)
        return index.to(device), weight.to(device)


def soft_encode(ab: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The soft targets of normalised ab (N,2,H,W): bins (N,5,H,W) and weights (N,5,H,W) that sum to 1 over the five."""
    index, weight = _soft_targets(ab.device)
    a, b = (ab.float() * color.AB_SCALE).round().long().clamp(-REACH, REACH).add(REACH).unbind(dim=1)
    row = a * (2 * REACH + 1) + b
    return index[row].permute(0, 3, 1, 2), weight[row].permute(0, 3, 1, 2)


def class_weights(prior: torch.Tensor) -> torch.Tensor:
    """w (Q,) = 1 / ((1 - lambda) prior + lambda / Q), scaled so that its mean under the prior is 1 (section 2.2)."""
    weights = 1 / ((1 - UNIFORM) * prior + UNIFORM / len(prior))
    return weights / (prior * weights).sum()


def alpha_and_temperature(vividness: float) -> tuple[float, float]:
    """(alpha, T) at a vividness in [0,1] along PATH. Raises ValueError outside of it."""
    if not 0 <= vividness <= 1:
        raise ValueError(f"vividness {vividness} must lie between 0 (faithful) and 1 (vivid)")
    step, rest = divmod(vividness * (len(PATH) - 1), 1)
    low, high = PATH[int(step)], PATH[min(int(step) + 1, len(PATH) - 1)]
    return tuple(a + rest * (b - a) for a, b in zip(low, high, strict=True))


class ColourDistribution(nn.Module):
    """The head of a generator: features (N,C,H,W) to logits over ab bins (N,Q,H,W), and from them to ab.

    prior: (Q,), the share of each bin in the training photographs; uniform until `set_prior`. Kept with the weights.
    """

    def __init__(self, channels: int):
        super().__init__()
        centres = bin_centres()
        self.project = nn.Conv2d(channels, len(centres), kernel_size=1)
        self.register_buffer("centres", centres, persistent=False)
        self.register_buffer("prior", torch.full((len(centres),), 1 / len(centres)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.project(features)

    def loss(self, logits: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:
        """Weighted cross-entropy of logits (N,Q,h,w) with ab (N,2,H,W), which is averaged down to (h,w): a scalar.

        1.0 for certain and right; ln Q = 5.6 for a uniform belief.
        """
        small = nn.functional.adaptive_avg_pool2d(ab, logits.shape[2:])
        index, weight = soft_encode(small)
        weight = weight * class_weights(self.prior)[index]
        return -(weight * logits.float().log_softmax(dim=1).gather(1, index)).sum(dim=1).mean()

    def decode(self, logits: torch.Tensor, alpha: float, temperature: float) -> torch.Tensor:
        """Normalised ab (N,2,H,W) of logits (N,Q,H,W): the annealed mean (section 2.3) of the corrected belief."""
        belief = self.belief(logits, alpha, temperature)
        return torch.einsum("nqhw,qc->nchw", belief, self.centres / color.AB_SCALE)

    def belief(self, logits: torch.Tensor, alpha: float, temperature: float) -> torch.Tensor:
        """Probabilities (N,Q,H,W): softmax((logits - alpha ln w) / T)."""
        correction = alpha * class_weights(self.prior).log()
        return ((logits.float() - correction[None, :, None, None]) / temperature).softmax(dim=1)
