"""The conditional GAN of pix2pix (arXiv:1611.07004, section 3): G* = argmin_G max_D L_cGAN(G,D) + lambda L1(G)."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Adam

from .. import color
from ..models.init import init_weights
from ..models.painting import as_ab
from ..models.patchgan import PatchDiscriminator
from ..models.unet import Unet
from .losses import GANLoss, cosine_distance, repeated_colors
from .trainable import TrainableModel


@dataclass(frozen=True)
class GanConfig:
    """The objective and the optimisers of the GAN training. A term of weight 0 is left out, but for L1."""

    lr_G: float = 2e-4  # Adam learning rate of the generator
    lr_D: float = 2e-4  # Adam learning rate of the discriminator
    beta1: float = 0.5  # Adam, both
    beta2: float = 0.999  # Adam, both
    lambda_L1: float = 100.0  # weights of the terms beside the GAN's, see EXTRA
    lambda_L2: float = 0.0
    lambda_cosine: float = 0.0
    lambda_diversity: float = 0.0
    gan_mode: str = "vanilla"  # vanilla | lsgan
    ema_decay: float = 0.0  # of the moving average of the generator's weights, which is judged and saved; 0: no average
    n_down_D: int = 3  # levels of the discriminator: 3 judge patches of 70x70 pixels, 2 of 34x34, 1 of 16x16
    freeze_norm: bool = False  # the generator's BatchNorm keeps the statistics that it comes with

    def __post_init__(self):
        if not 1 <= self.n_down_D <= 5:
            raise ValueError(f"n_down_D is {self.n_down_D}; it must be from 1 (patches of 16 px) to 5")


EXTRA = {  # terms of the generator's loss that are there only if they have a weight
    "L2": lambda model: F.mse_loss(model.color_hat, model.color),
    "cosine": lambda model: cosine_distance(model.color_hat, model.color),
    "diversity": lambda model: repeated_colors(as_ab(model.color_hat), model.ab),
}

D_ACCURACY = ("accuracy_D_fake", "accuracy_D_real")  # shares of D's answers that are right, logged beside the losses


class MainModel(TrainableModel):
    """The conditional GAN: generator, discriminator and one step of their training.

    net_G: L (N,1,H,W) to ab (N,2,H,W), or to RGB (N,3,H,W) in [-1,1]; a fresh, initialised `Unet` if None.
    net_D: judges [L, ab] or [L, RGB]; a fresh, initialised `PatchDiscriminator` for ab if None.
    """

    loss_names = ("loss_D_fake", "loss_D_real", "loss_D", "loss_G_GAN", "loss_G_L1", "loss_G")

    def __init__(self, net_G=None, config: GanConfig | None = None, accelerator=None, net_D=None):
        super().__init__(accelerator)
        self.config = config = config or GanConfig()
        self.keeps_statistics = config.freeze_norm
        net_G = init_weights(Unet()) if net_G is None else net_G
        net_D = init_weights(PatchDiscriminator(input_c=3, n_down=config.n_down_D)) if net_D is None else net_D
        self.net_G, self.net_D = self.prepare(net_G), self.prepare(net_D)
        self.GANcriterion = GANLoss(config.gan_mode).to(self.accelerator.device)
        prepare, betas = self.accelerator.prepare_optimizer, (config.beta1, config.beta2)
        self.opt_G = prepare(Adam(self.net_G.parameters(), config.lr_G, betas, fused=True))
        self.opt_D = prepare(Adam(self.net_D.parameters(), config.lr_D, betas, fused=True))
        self.average_generator(config.ema_decay)
        self.extra = {name: weight for name in EXTRA if (weight := getattr(config, f"lambda_{name}"))}
        self.loss_names = (*MainModel.loss_names, *(f"loss_G_{name}" for name in self.extra), *D_ACCURACY)

    def set_modes(self) -> None:
        """Training mode; with `freeze_norm`, the generator normalises by its statistics and leaves them as they are."""
        super().set_modes()
        for module in self.net_G.modules():
            if self.keeps_statistics and isinstance(module, _BatchNorm):
                module.eval()

    def forward(self) -> None:
        """G(L), and the truth in the form that G paints: ab, or RGB in [-1,1]."""
        self.color_hat = self.net_G(self.L)
        self.color = self.ab if self.color_hat.shape[1] == 2 else color.lab_to_rgb(self.L, self.ab) * 2 - 1

    def backward_D(self) -> None:
        """loss_D = (D(L, G(L)) against fake + D(L, truth) against real) / 2; the fake is detached from G.

        Two passes: BatchNorm sees fakes and reals apart, as in the reference.
        """
        fake_preds = self.net_D(torch.cat([self.L, self.color_hat.detach()], dim=1))
        self.loss_D_fake = self.GANcriterion(fake_preds, False)
        real_preds = self.net_D(torch.cat([self.L, self.color], dim=1))
        self.loss_D_real = self.GANcriterion(real_preds, True)
        self.accuracy_D_fake = (~self.GANcriterion.says_real(fake_preds)).float().mean()
        self.accuracy_D_real = self.GANcriterion.says_real(real_preds).float().mean()
        self.loss_D = (self.loss_D_fake + self.loss_D_real) * 0.5
        self.accelerator.backward(self.loss_D)

    def backward_G(self) -> None:
        """loss_G = D(L, G(L)) against real + lambda_L1 * mean |G(L) - truth| + the other weighted terms."""
        # D bare: DistributedDataParallel would wait for the gradients of its weights, and D is frozen here.
        fake_preds = self.networks["net_D"](torch.cat([self.L, self.color_hat], dim=1))
        self.loss_G_GAN = self.GANcriterion(fake_preds, True)
        self.loss_G_L1 = F.l1_loss(self.color_hat, self.color) * self.config.lambda_L1
        self.loss_G = self.loss_G_GAN + self.loss_G_L1
        for name, weight in self.extra.items():
            loss = EXTRA[name](self) * weight
            setattr(self, f"loss_G_{name}", loss)
            self.loss_G = self.loss_G + loss
        self.accelerator.backward(self.loss_G)

    def optimize(self) -> None:
        """One step: forward once, update D, then freeze D and update G."""
        self.forward()
        self.net_D.requires_grad_(True)
        self.opt_D.zero_grad()
        self.backward_D()
        self.opt_D.step()
        self.net_D.requires_grad_(False)
        self.opt_G.zero_grad()
        self.backward_G()
        self.opt_G.step()
