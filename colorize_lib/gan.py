"""The conditional GAN of pix2pix (arXiv:1611.07004, section 3): G* = argmin_G max_D L_cGAN(G,D) + lambda L1(G), and
plain regression, both as models that `training` can train."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from . import color, processes
from .losses import GANLoss, cosine_distance, repeated_colors
from .models.init import init_weights
from .models.patchgan import PatchDiscriminator
from .models.shared_norm import share_batch_norm
from .models.unet import Unet


@dataclass(frozen=True)
class GanConfig:
    """The objective and the optimisers of the GAN training. A term of weight 0 is left out, but for L1."""

    lr_G: float = 2e-4  # Adam learning rate of the generator
    lr_D: float = 2e-4  # Adam learning rate of the discriminator
    beta1: float = 0.5  # Adam, both
    beta2: float = 0.999  # Adam, both
    lambda_L1: float = 100.0  # weight of the L1 term
    lambda_L2: float = 0.0  # weight of the mean squared error
    lambda_cosine: float = 0.0  # weight of `losses.cosine_distance`
    lambda_diversity: float = 0.0  # weight of `losses.repeated_colors`
    gan_mode: str = "vanilla"  # vanilla | lsgan
    ema_decay: float = 0.0  # of the moving average of the generator's weights, which is judged and saved; 0: no average
    n_down_D: int = 3  # levels of the discriminator: 3 judge patches of 70x70 pixels, 2 of 34x34, 1 of 16x16
    freeze_norm: bool = False  # the generator's BatchNorm keeps the statistics that it comes with


class TrainableModel(nn.Module):
    """What `training` needs of a model: networks, optimisers, one step, and the losses of that step.

    A step is `setup_input(batch)`, then `step()`; then `losses()` has the step's losses in the order of `loss_names`.
    In a run of several processes the batch is this process's share of one, and all processes take the same step; see
    `processes`.
    """

    network_names: tuple[str, ...]
    optimizer_names: tuple[str, ...]
    loss_names: tuple[str, ...]

    def __init__(self, accelerator: Accelerator | None):
        super().__init__()
        self.accelerator = accelerator or Accelerator(cpu=True)
        self.net_G_ema: AveragedModel | None = None

    def prepare(self, net: nn.Module) -> nn.Module:
        """The network on the device, in the accelerator's precision, with BatchNorm over all processes."""
        net = share_batch_norm(net, self.accelerator.device)
        # "Evaluation" leaves out DistributedDataParallel and nothing else; `backward` does its work.
        return self.accelerator.prepare_model(net, evaluation_mode=True)

    def backward(self, loss: torch.Tensor, net: nn.Module) -> None:
        """Leave in `net` the gradients of the loss of the whole batch; `loss` is that of this process's share."""
        self.accelerator.backward(loss * self.share)
        processes.sum_gradients(net)

    def average_generator(self, decay: float) -> None:
        """Keep an exponential moving average of net_G's weights and buffers.

        After each step average = decay * average + (1 - decay) * net_G; after the first, net_G itself.
        Source: "The unusual effectiveness of averaging in GAN training", arXiv:1806.04498.
        """
        average = get_ema_multi_avg_fn(decay)
        self.net_G_ema = AveragedModel(self.networks["net_G"], multi_avg_fn=average, use_buffers=True)
        self.network_names = (*self.network_names, "net_G_ema")

    def set_modes(self) -> None:
        """Put every network in training mode: a fresh DynamicUnet has most of its BatchNorm in eval mode."""
        for network in self.networks.values():
            network.train()

    def refresh_average(self, batches: Iterable[dict[str, torch.Tensor]]) -> None:
        """Take the BatchNorm statistics of the moving average anew, from training batches; without an average, nothing.

        Statistics of net_G, and their average too, belong to other weights. On CIFAR-10 after two epochs the difference
        was a validation L1 of 0.084 against 0.095, and a colourfulness of 22 against 7.
        """
        if self.net_G_ema is not None:
            update_bn((batch["L"] for batch in batches), self.net_G_ema.module)

    @property
    def generator(self) -> nn.Module:
        """The generator to judge and to save: net_G, or its moving average if there is one."""
        return self.networks["net_G"] if self.net_G_ema is None else self.net_G_ema.module

    def step(self) -> None:
        """One training step, and the moving average after it."""
        self.optimize()
        if self.net_G_ema is not None:
            self.net_G_ema.update_parameters(self.networks["net_G"])

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The bare networks by name."""
        return {name: self.accelerator.unwrap_model(getattr(self, name)) for name in self.network_names}

    @property
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers by name."""
        return {name: getattr(self, name) for name in self.optimizer_names}

    def losses(self) -> torch.Tensor:
        """The losses of the last step, of the whole batch, detached: (len(loss_names),)."""
        return processes.total(torch.stack([getattr(self, name).detach() for name in self.loss_names]) * self.share)

    def setup_input(self, batch: dict[str, torch.Tensor]) -> None:
        """Take L (N,1,H,W) and ab (N,2,H,W) as the next step's input."""
        self.L = batch["L"].to(self.accelerator.device)
        self.ab = batch["ab"].to(self.accelerator.device)
        self.batch_size = processes.sum_of(len(self.L))
        self.share = len(self.L) / self.batch_size

    def optimize(self) -> None:
        """One step of the optimisers."""
        raise NotImplementedError


class MainModel(TrainableModel):
    """The conditional GAN: generator, discriminator and one step of their training.

    net_G: L (N,1,H,W) to ab (N,2,H,W), or to RGB (N,3,H,W) in [-1,1]; a fresh, initialised `Unet` if None.
    net_D: judges [L, ab] or [L, RGB]; a fresh, initialised `PatchDiscriminator` for ab if None.
    """

    network_names = ("net_G", "net_D")
    optimizer_names = ("opt_G", "opt_D")
    loss_names = ("loss_D_fake", "loss_D_real", "loss_D", "loss_G_GAN", "loss_G_L1", "loss_G")

    def __init__(
        self,
        net_G: nn.Module | None = None,
        config: GanConfig | None = None,
        accelerator: Accelerator | None = None,
        net_D: nn.Module | None = None,
    ):
        super().__init__(accelerator)
        self.config = config = config or GanConfig()
        net_G = init_weights(Unet()) if net_G is None else net_G
        net_D = init_weights(PatchDiscriminator(input_c=3, n_down=config.n_down_D)) if net_D is None else net_D
        self.net_G, self.net_D = self.prepare(net_G), self.prepare(net_D)
        self.GANcriterion = GANLoss(config.gan_mode).to(self.accelerator.device)
        self.L1criterion, self.L2criterion = nn.L1Loss(), nn.MSELoss()
        betas = (config.beta1, config.beta2)
        self.opt_G = self.accelerator.prepare(torch.optim.Adam(self.net_G.parameters(), config.lr_G, betas, fused=True))
        self.opt_D = self.accelerator.prepare(torch.optim.Adam(self.net_D.parameters(), config.lr_D, betas, fused=True))
        if config.ema_decay:
            self.average_generator(config.ema_decay)
        extra = {"loss_G_L2": config.lambda_L2, "loss_G_cosine": config.lambda_cosine}
        extra |= {"loss_G_diversity": config.lambda_diversity}
        self.loss_names = (*MainModel.loss_names, *(name for name, weight in extra.items() if weight))

    def set_modes(self) -> None:
        """Training mode; with `freeze_norm`, the generator normalises by its statistics and leaves them as they are."""
        super().set_modes()
        if self.config.freeze_norm:
            for module in self.net_G.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def refresh_average(self, batches: Iterable[dict[str, torch.Tensor]]) -> None:
        """As of any model; with `freeze_norm` nothing, as the average has the statistics that are kept."""
        if not self.config.freeze_norm:
            super().refresh_average(batches)

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
        self.loss_D = (self.loss_D_fake + self.loss_D_real) * 0.5
        self.backward(self.loss_D, self.net_D)

    def backward_G(self) -> None:
        """loss_G = D(L, G(L)) against real + lambda_L1 * mean |G(L) - truth| + the other weighted terms."""
        fake_preds = self.net_D(torch.cat([self.L, self.color_hat], dim=1))
        self.loss_G_GAN = self.GANcriterion(fake_preds, True)
        self.loss_G_L1 = self.L1criterion(self.color_hat, self.color) * self.config.lambda_L1
        self.loss_G = self.loss_G_GAN + self.loss_G_L1
        if self.config.lambda_L2:
            self.loss_G_L2 = self.L2criterion(self.color_hat, self.color) * self.config.lambda_L2
            self.loss_G = self.loss_G + self.loss_G_L2
        if self.config.lambda_cosine:
            self.loss_G_cosine = cosine_distance(self.color_hat, self.color) * self.config.lambda_cosine
            self.loss_G = self.loss_G + self.loss_G_cosine
        if self.config.lambda_diversity:
            # Of the whole batch: how its pictures differ from each other is no mean over the shares.
            pair = (processes.whole_batch(ab, self.batch_size) for ab in (as_ab(self.color_hat), self.ab))
            self.loss_G_diversity = repeated_colors(*pair) * self.config.lambda_diversity
            self.loss_G = self.loss_G + self.loss_G_diversity
        self.backward(self.loss_G, self.net_G)

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


class RegressionModel(TrainableModel):
    """A generator trained without a discriminator, on mean |G(L) - ab| (`L1`) or mean (G(L) - ab)^2 (`L2`); the loss
    has no factor lambda.

    Adam's betas are its defaults (0.9, 0.999), as the reports' pretraining leaves them. ema_decay: of a moving average
    of the weights, which is judged and saved; 0: none.
    Raises ValueError for an unknown loss.
    """

    network_names = ("net_G",)
    optimizer_names = ("opt_G",)

    def __init__(
        self,
        net_G: nn.Module,
        lr: float = 1e-4,
        accelerator: Accelerator | None = None,
        loss: str = "L1",
        ema_decay: float = 0.0,
    ):
        super().__init__(accelerator)
        criteria = {"L1": nn.L1Loss, "L2": nn.MSELoss}
        if loss not in criteria:
            raise ValueError(f"loss {loss!r} is unknown; choose one of {', '.join(criteria)}")
        self.loss_names = (f"loss_{loss}",)
        self.net_G = self.prepare(net_G)
        self.criterion = criteria[loss]()
        self.opt_G = self.accelerator.prepare(torch.optim.Adam(self.net_G.parameters(), lr, fused=True))
        if ema_decay:
            self.average_generator(ema_decay)

    def optimize(self) -> None:
        """One step of Adam on the loss."""
        self.opt_G.zero_grad()
        loss = self.criterion(self.net_G(self.L), self.ab)
        self.backward(loss, self.net_G)
        self.opt_G.step()
        setattr(self, self.loss_names[0], loss)


@torch.no_grad()
def colorize_batch(net_G: nn.Module, L: torch.Tensor, dropout: bool = False) -> torch.Tensor:
    """ab_hat (N,2,H,W) for L (N,1,H,W), in eval mode (BatchNorm's running statistics); the network's mode is restored.

    Of a generator that paints RGB the ab is taken, and its lightness dropped; `paint_batch` keeps it.
    dropout: leave dropout on, the noise z of pix2pix, so that every call gives another colouring.
    """
    return as_ab(_generate(net_G, L, dropout))


@torch.no_grad()
def paint_batch(net_G: nn.Module, L: torch.Tensor, keep_L: bool = True) -> torch.Tensor:
    """The generator's pictures, sRGB (N,3,H,W) in [0,1].

    keep_L: with the lightness L of the input. Without it, the pictures of a generator that paints RGB are its own.
    """
    painted = _generate(net_G, L)
    if keep_L or painted.shape[1] == 2:
        return color.lab_to_rgb(L, as_ab(painted))
    return _unsigned(painted)


def as_ab(painted: torch.Tensor) -> torch.Tensor:
    """What a generator painted, ab (N,2,H,W) or RGB (N,3,H,W) in [-1,1], as ab (N,2,H,W)."""
    return painted if painted.shape[1] == 2 else color.rgb_to_ab(_unsigned(painted))


def _unsigned(rgb: torch.Tensor) -> torch.Tensor:
    """RGB from [-1,1] to [0,1]."""
    return (rgb.float().clamp(-1, 1) + 1) / 2


def _generate(net_G: nn.Module, L: torch.Tensor, dropout: bool = False) -> torch.Tensor:
    """G(L) in eval mode, dropout apart; the mode of every layer is restored."""
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
