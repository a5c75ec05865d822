"""A GAN stage for a generator whose colour is a distribution: the decoded colours are judged, the bins' loss stays on.

D and G play the relativistic game of "The GAN is dead; long live the GAN!" (R3GAN, arXiv:2501.05441): D is to find the
truth more real than the painting of the same photograph, patch by patch, G the other way round; D's slope at both is
held down by zero-centred gradient penalties (R1 and R2, its section 2). D sees everything moved and with a hole, so
that few photographs are not learnt by heart (DiffAugment, arXiv:2006.10738, without its changes of colour).
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from ..models.light import LightUnet
from .gan import GanConfig, MainModel


@dataclass(frozen=True)
class DistributionGanConfig(GanConfig):
    """As GanConfig, whose lambdas and gan_mode are not used here."""

    lr_G: float = 5e-5
    lr_D: float = 1e-4
    ema_decay: float = 0.998
    n_down_D: int = 2  # patches of 34 px: at 128 px what 70 are at 256
    freeze_norm: bool = True
    lambda_GAN: float = 0.1  # of the adversarial term, beside the bins' loss
    gamma: float = 1.0  # of both gradient penalties


class DistributionGan(MainModel):
    """MainModel's step with D's and G's losses of the relativistic game; net_G: a LightUnet with a distribution."""

    loss_names = ("loss_D", "loss_D_penalty", "loss_G_GAN", "loss_bins", "loss_G")

    def __init__(self, net_G: LightUnet, config: DistributionGanConfig | None = None, accelerator=None):
        super().__init__(net_G, config or DistributionGanConfig(), accelerator)
        self.loss_names = DistributionGan.loss_names

    def forward(self) -> None:
        """The belief, and the colours that it is read as."""
        self.logits = self.net_G(self.L, logits=True)
        self.color_hat = self.networks["net_G"].read(self.logits, self.L.shape[2:])

    def backward_D(self) -> None:
        """loss_D = softplus(D(painted) - D(true)), plus gamma / 2 times both mean squared slopes of D."""
        seen = [self._seen(ab).requires_grad_() for ab in (self.color_hat.detach(), self.ab)]
        fake, real = (self.net_D(one) for one in seen)
        self.loss_D = F.softplus(fake - real).mean()
        penalties = [squared_slope(preds, one) for preds, one in zip((fake, real), seen, strict=True)]
        self.loss_D_penalty = self.config.gamma / 2 * sum(penalties)
        self.accelerator.backward(self.loss_D + self.loss_D_penalty)

    def backward_G(self) -> None:
        """loss_G = the bins' loss + lambda_GAN softplus(D(true) - D(painted))."""
        net_D = self.networks["net_D"]
        with torch.no_grad():
            real = net_D(self._seen(self.ab))
        self.loss_G_GAN = F.softplus(real - net_D(self._seen(self.color_hat))).mean()
        self.loss_bins = self.networks["net_G"].head.loss(self.logits, self.ab)
        self.loss_G = self.loss_bins + self.config.lambda_GAN * self.loss_G_GAN
        self.accelerator.backward(self.loss_G)

    def _seen(self, ab: torch.Tensor) -> torch.Tensor:
        return moved_with_a_hole(torch.cat([self.L, ab], dim=1))


def squared_slope(preds: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Mean over pictures of |gradient of a picture's mean prediction with respect to it|^2; seen: (N,C,H,W)."""
    (slope,) = torch.autograd.grad(preds.float().flatten(1).mean(dim=1).sum(), seen, create_graph=True)
    return slope.square().flatten(1).sum(dim=1).mean()


def moved_with_a_hole(pictures: torch.Tensor) -> torch.Tensor:
    """Each picture (N,C,H,W) moved by up to an eighth of its side, with 0 where nothing is, and a random square of half
    its side set to 0; all channels alike, and differentiable."""
    n, _, height, width = pictures.shape
    device, far = pictures.device, (height // 8, width // 8)
    padded = F.pad(pictures, (far[1], far[1], far[0], far[0]))
    top, left = (torch.randint(0, 2 * reach + 1, (n,)).tolist() for reach in far)
    moved = [one[:, y : y + height, x : x + width] for one, y, x in zip(padded, top, left, strict=True)]
    middle = torch.rand(n, 2, 1, 1, device=device)
    rows = torch.arange(height, device=device)[None, :, None] / height
    columns = torch.arange(width, device=device)[None, None, :] / width
    hole = ((rows - middle[:, 0]).abs() < 0.25) & ((columns - middle[:, 1]).abs() < 0.25)
    return torch.stack(moved) * ~hole[:, None]
