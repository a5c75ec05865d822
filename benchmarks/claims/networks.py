"""Networks and objectives that only the claims need."""

import torch
from torch import nn
from torch.nn import functional as F

from colorize_lib import color
from colorize_lib.evaluation.perceptual import Lite0
from colorize_lib.models.init import init_weights
from colorize_lib.models.patchgan import PatchDiscriminator
from colorize_lib.training.distribution_gan import moved_with_a_hole
from colorize_lib.training.gan import MainModel
from colorize_lib.training.trainable import TrainableModel

N_DOWN = {"16": 1, "34": 2, "70": 3}  # of the PatchGAN, by the side of its patch in pixels


def discriminator(patch: str) -> nn.Module:
    """[L, ab] (N,3,H,W) to logits, one for each patch: of 1, 16, 34 or 70 pixels, or the whole `image`.

    1 is pix2pix's PixelGAN (arXiv:1611.07004, section 6.1.2); `image` halves down to 4x4 and judges that as one.
    """
    if patch in N_DOWN:
        return init_weights(PatchDiscriminator(3, n_down=N_DOWN[patch]))
    if patch == "1":
        middle = [nn.Conv2d(64, 128, 1, bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(0.2, True)]
        return init_weights(nn.Sequential(nn.Conv2d(3, 64, 1), nn.LeakyReLU(0.2, True), *middle, nn.Conv2d(128, 1, 1)))
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 4, 2, 1), nn.LeakyReLU(0.2, True)]
    for channels in (64, 128, 256):
        layers += [nn.Conv2d(channels, 2 * channels, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * channels)]
        layers += [nn.LeakyReLU(0.2, True)]
    return init_weights(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Conv2d(512, 1, 4)))


class WithNoise(nn.Module):
    """A generator that gets `channels` of Gaussian noise beside L, drawn anew at every call."""

    def __init__(self, net: nn.Module, channels: int):
        super().__init__()
        self.net, self.channels = net, channels

    def forward(self, L: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(len(L), self.channels, *L.shape[2:], device=L.device)
        return self.net(torch.cat([L, noise], dim=1))


class RelativisticGame(MainModel):
    """The relativistic game (arXiv:1807.00734) on moved pictures with a hole (after DiffAugment, arXiv:2006.10738)."""

    loss_names = ("loss_D", "loss_G_GAN", "loss_G_L1", "loss_G")

    def __init__(self, net_G, config, accelerator, net_D):
        super().__init__(net_G, config, accelerator, net_D)
        self.loss_names = RelativisticGame.loss_names

    def backward_D(self) -> None:
        fake, real = self._judged(self.color_hat.detach()), self._judged(self.ab)
        self.loss_D = F.softplus(fake - real).mean()
        self.accelerator.backward(self.loss_D)

    def backward_G(self) -> None:
        with torch.no_grad():
            real = self._judged(self.ab)
        self.loss_G_GAN = F.softplus(real - self._judged(self.color_hat)).mean()
        self.loss_G_L1 = F.l1_loss(self.color_hat, self.ab) * self.config.lambda_L1
        self.loss_G = self.loss_G_GAN + self.loss_G_L1
        self.accelerator.backward(self.loss_G)

    def _judged(self, ab: torch.Tensor) -> torch.Tensor:
        return self.networks["net_D"](moved_with_a_hole(torch.cat([self.L, ab], dim=1)))


class FeatureModel(TrainableModel):
    """A generator trained on `perceptual_lite0` of its pictures to the true ones (after arXiv:1603.08155)."""

    loss_names = ("loss_feature",)

    def __init__(self, net_G: nn.Module, lr: float, accelerator):
        super().__init__(accelerator)
        self.net_G = self.prepare(net_G)
        self.distance = Lite0().to(accelerator.device).distance
        self.opt_G = accelerator.prepare_optimizer(torch.optim.Adam(net_G.parameters(), lr, (0.5, 0.999)))

    def optimize(self) -> None:
        painted = color.lab_to_rgb(self.L, self.net_G(self.L))
        self.loss_feature = self.distance(painted, color.lab_to_rgb(self.L, self.ab)).mean()
        self.descend(self.loss_feature)


class Attention(nn.Module):
    """Self-attention over all places of a map, added to it by a factor that begins at 0 (SAGAN, arXiv:1805.08318)."""

    def __init__(self, channels: int):
        super().__init__()
        self.query, self.key = (nn.Conv2d(channels, channels // 8, 1) for _ in range(2))
        self.value, self.last = nn.Conv2d(channels, channels // 2, 1), nn.Conv2d(channels // 2, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = (of(x).flatten(2).mT for of in (self.query, self.key, self.value))  # (N,HW,C')
        seen = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        return x + self.gamma * self.last(seen.mT.unflatten(2, x.shape[2:]))


class Residual(nn.Module):
    """A convolution of about the attention's cost in its place, added to a map by a factor that begins at 0."""

    def __init__(self, channels: int):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(channels, channels // 4, 3, padding=1), nn.Conv2d(channels // 4, channels, 1)
        )
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.gamma * self.net(x)


AT_EIGHTH = {"attention": Attention, "convolution": Residual}
