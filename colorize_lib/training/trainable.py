"""What the loop can train: networks, optimisers, one step; and regression, the simplest of them."""

from collections.abc import Iterable

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn


class TrainableModel(nn.Module):
    """What the loop needs of a model: networks, optimisers, one step, and the losses of that step.

    A step is `setup_input(batch)`, then `step()`; then `losses()` has the step's losses in the order of `loss_names`.
    In a run of several processes each takes the step on its share of the batch, and DistributedDataParallel averages
    the gradients: with equal shares they are those of one process on the whole batch, but for rounding, for a term that
    is no mean over pictures (`losses.repeated_colors`) and, on CPUs, for BatchNorm; see `prepare`.
    """

    network_names: tuple[str, ...]
    optimizer_names: tuple[str, ...]
    loss_names: tuple[str, ...]

    def __init__(self, accelerator: Accelerator | None):
        super().__init__()
        self.accelerator = accelerator or Accelerator(cpu=True)
        self.net_G_ema: AveragedModel | None = None

    def prepare(self, net: nn.Module) -> nn.Module:
        """The network on the device, in the accelerator's precision, and shared by the processes if there are several.

        BatchNorm then is torch's SyncBatchNorm on GPUs; on CPUs, which it does not run on, each process normalises by
        its own share of the batch, and the first one's statistics are kept.
        """
        several = self.accelerator.num_processes > 1
        if several and self.accelerator.device.type == "cuda":
            net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
        net = self.accelerator.prepare_model(net)
        if several:  # buffers are sent once, here: SyncBatchNorm keeps its own equal, and D passes three times a step
            net.broadcast_buffers = False
        return net

    def adam(self, net: nn.Module, lr: float, betas: tuple[float, float] = (0.9, 0.999)) -> torch.optim.Optimizer:
        """Adam for the weights of a prepared network."""
        return self.accelerator.prepare_optimizer(torch.optim.Adam(net.parameters(), lr, betas, fused=True))

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

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks by name, without DistributedDataParallel."""
        return {name: self.accelerator.unwrap_model(getattr(self, name)) for name in self.network_names}

    @property
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers by name."""
        return {name: getattr(self, name) for name in self.optimizer_names}

    def setup_input(self, batch: dict[str, torch.Tensor]) -> None:
        """Take L (N,1,H,W) and ab (N,2,H,W) as the next step's input."""
        self.L = batch["L"].to(self.accelerator.device)
        self.ab = batch["ab"].to(self.accelerator.device)

    def step(self) -> None:
        """One training step, and the moving average after it."""
        self.optimize()
        if self.net_G_ema is not None:
            self.net_G_ema.update_parameters(self.networks["net_G"])

    def optimize(self) -> None:
        """One step of the optimisers."""
        raise NotImplementedError

    def losses(self) -> torch.Tensor:
        """The losses of the last step, their mean over the processes, detached: (len(loss_names),)."""
        return self.accelerator.reduce(torch.stack([getattr(self, name).detach() for name in self.loss_names]), "mean")


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
        self.criterion = criteria[loss]()
        self.net_G = self.prepare(net_G)
        self.opt_G = self.adam(self.net_G, lr)
        if ema_decay:
            self.average_generator(ema_decay)

    def optimize(self) -> None:
        """One step of Adam on the loss."""
        self.opt_G.zero_grad()
        loss = self.criterion(self.net_G(self.L), self.ab)
        self.accelerator.backward(loss)
        self.opt_G.step()
        setattr(self, self.loss_names[0], loss)
