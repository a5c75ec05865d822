"""The conditional GAN of pix2pix (arXiv:1611.07004, section 3): G* = argmin_G max_D L_cGAN(G,D) + lambda L1(G), and
the plain L1 objective, both as models that `training` can train."""

from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import nn

from .losses import GANLoss
from .models.init import init_weights
from .models.patchgan import PatchDiscriminator
from .models.unet import Unet


@dataclass(frozen=True)
class GanConfig:
    """The objective and the optimisers of the GAN training."""

    lr_G: float = 2e-4  # Adam learning rate of the generator
    lr_D: float = 2e-4  # Adam learning rate of the discriminator
    beta1: float = 0.5  # Adam, both
    beta2: float = 0.999  # Adam, both
    lambda_L1: float = 100.0  # weight of the L1 term
    gan_mode: str = "vanilla"  # vanilla | lsgan
    n_down_D: int = 3  # levels of the discriminator: 3 judge patches of 70x70 pixels, 2 of 34x34, 1 of 16x16


class TrainableModel(nn.Module):
    """What `training` needs of a model: networks, optimisers, one step, and the losses of that step.

    A step is `setup_input(batch)`, then `optimize()`; then `losses()` has the step's losses in the order of
    `loss_names`.
    """

    network_names: tuple[str, ...]
    optimizer_names: tuple[str, ...]
    loss_names: tuple[str, ...]

    def __init__(self, accelerator: Accelerator | None):
        super().__init__()
        self.accelerator = accelerator or Accelerator(cpu=True)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The bare networks by name."""
        return {name: self.accelerator.unwrap_model(getattr(self, name)) for name in self.network_names}

    @property
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers by name."""
        return {name: getattr(self, name) for name in self.optimizer_names}

    def losses(self) -> torch.Tensor:
        """The losses of the last step, detached: (len(loss_names),)."""
        return torch.stack([getattr(self, name).detach() for name in self.loss_names])

    def setup_input(self, batch: dict[str, torch.Tensor]) -> None:
        """Take L (N,1,H,W) and ab (N,2,H,W) as the next step's input."""
        self.L = batch["L"].to(self.accelerator.device)
        self.ab = batch["ab"].to(self.accelerator.device)

    def optimize(self) -> None:
        """One training step."""
        raise NotImplementedError


class MainModel(TrainableModel):
    """The conditional GAN: generator, discriminator and one step of their training.

    net_G: L (N,1,H,W) to ab (N,2,H,W); a fresh, initialised `Unet` if None. net_D judges [L, ab].
    """

    network_names = ("net_G", "net_D")
    optimizer_names = ("opt_G", "opt_D")
    loss_names = ("loss_D_fake", "loss_D_real", "loss_D", "loss_G_GAN", "loss_G_L1", "loss_G")

    def __init__(
        self,
        net_G: nn.Module | None = None,
        config: GanConfig | None = None,
        accelerator: Accelerator | None = None,
    ):
        super().__init__(accelerator)
        self.config = config = config or GanConfig()
        net_G = init_weights(Unet()) if net_G is None else net_G
        net_D = init_weights(PatchDiscriminator(input_c=3, n_down=config.n_down_D))
        self.net_G, self.net_D = self.accelerator.prepare(net_G, net_D)
        self.GANcriterion = GANLoss(config.gan_mode).to(self.accelerator.device)
        self.L1criterion = nn.L1Loss()
        betas = (config.beta1, config.beta2)
        self.opt_G = self.accelerator.prepare(torch.optim.Adam(self.net_G.parameters(), config.lr_G, betas))
        self.opt_D = self.accelerator.prepare(torch.optim.Adam(self.net_D.parameters(), config.lr_D, betas))

    def forward(self) -> None:
        """ab_hat = G(L)."""
        self.ab_hat = self.net_G(self.L)

    def backward_D(self) -> None:
        """loss_D = (D(L, G(L)) against fake + D(L, ab) against real) / 2; the fake is detached from G.

        Two passes: BatchNorm sees fakes and reals apart, as in the reference.
        """
        fake_preds = self.net_D(torch.cat([self.L, self.ab_hat.detach()], dim=1))
        self.loss_D_fake = self.GANcriterion(fake_preds, False)
        real_preds = self.net_D(torch.cat([self.L, self.ab], dim=1))
        self.loss_D_real = self.GANcriterion(real_preds, True)
        self.loss_D = (self.loss_D_fake + self.loss_D_real) * 0.5
        self.accelerator.backward(self.loss_D)

    def backward_G(self) -> None:
        """loss_G = D(L, G(L)) against real + lambda_L1 * mean |G(L) - ab|."""
        fake_preds = self.net_D(torch.cat([self.L, self.ab_hat], dim=1))
        self.loss_G_GAN = self.GANcriterion(fake_preds, True)
        self.loss_G_L1 = self.L1criterion(self.ab_hat, self.ab) * self.config.lambda_L1
        self.loss_G = self.loss_G_GAN + self.loss_G_L1
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


class L1Model(TrainableModel):
    """A generator trained on mean |G(L) - ab| alone; its loss has no factor lambda.

    Adam's betas are its defaults (0.9, 0.999), as the reports' pretraining leaves them.
    """

    network_names = ("net_G",)
    optimizer_names = ("opt_G",)
    loss_names = ("loss_L1",)

    def __init__(self, net_G: nn.Module, lr: float = 1e-4, accelerator: Accelerator | None = None):
        super().__init__(accelerator)
        self.net_G = self.accelerator.prepare(net_G)
        self.L1criterion = nn.L1Loss()
        self.opt_G = self.accelerator.prepare(torch.optim.Adam(self.net_G.parameters(), lr))

    def optimize(self) -> None:
        """One step of Adam on the L1 loss."""
        self.opt_G.zero_grad()
        self.loss_L1 = self.L1criterion(self.net_G(self.L), self.ab)
        self.accelerator.backward(self.loss_L1)
        self.opt_G.step()


@torch.no_grad()
def colorize_batch(net_G: nn.Module, L: torch.Tensor, dropout: bool = False) -> torch.Tensor:
    """ab_hat (N,2,H,W) for L (N,1,H,W), in eval mode (BatchNorm's running statistics); the network's mode is restored.

    dropout: leave dropout on, the noise z of pix2pix, so that every call gives another colouring.
    """
    modes = {module: module.training for module in net_G.modules()}
    net_G.eval()
    if dropout:
        for module in net_G.modules():
            if isinstance(module, nn.Dropout):
                module.train()
    try:
        return net_G(L)
    finally:
        for module, training in modes.items():
            module.training = training
