"""What the loop can train: networks, optimisers, one step; and regression, the simplest of them."""

from collections.abc import Iterable

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

Batch = dict[str, torch.Tensor]  # L (N,1,H,W) and ab (N,2,H,W)


class TrainableModel(nn.Module):
    """What the loop needs of a model: networks `net_...`, optimisers `opt_...`, and a step with its losses.

    A step is `setup_input(batch)`, then `step()`; then `losses()` has the step's losses in the order of `loss_names`.
    Several processes take the step on equal shares of a batch, and DistributedDataParallel averages the gradients:
    those of one process on the whole batch, but for rounding, for a term that is no mean over pictures
    (`losses.repeated_colors`) and, on CPUs, for BatchNorm; see `prepare`.
    """

    loss_names: tuple[str, ...]
    keeps_statistics = False  # of BatchNorm in training, and so those of the moving average

    def __init__(self, accelerator: Accelerator | None):
        super().__init__()
        self.accelerator = accelerator or Accelerator(cpu=True)
        self.net_G_ema: AveragedModel | None = None

    def prepare(self, net: nn.Module) -> nn.Module:
        """The network on the device, in the accelerator's precision, shared by several processes if there are.

        BatchNorm then is SyncBatchNorm on GPUs; on CPUs, which it does not run on, each process normalises by its own
        share of the batch, and the first one's statistics are kept.
        """
        several = self.accelerator.num_processes > 1
        if several and self.accelerator.device.type == "cuda":
            net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
        net = self.accelerator.prepare_model(net)
        if several:  # buffers are sent once, here: SyncBatchNorm keeps its own equal, and D passes three times a step
            net.broadcast_buffers = False
        return net

    def average_generator(self, decay: float) -> None:
        """Keep an exponential moving average of net_G's weights and buffers; with a decay of 0, none.

        After each step average = decay * average + (1 - decay) * net_G; after the first, net_G itself.
        Source: "The unusual effectiveness of averaging in GAN training", arXiv:1806.04498.
        """
        if decay:
            average = get_ema_multi_avg_fn(decay)
            self.net_G_ema = AveragedModel(self.networks["net_G"], multi_avg_fn=average, use_buffers=True)

    def set_modes(self) -> None:
        """Put every network in training mode: a fresh DynamicUnet has most of its BatchNorm in eval mode."""
        for network in self.networks.values():
            network.train()

    def refresh_average(self, batches: Iterable[Batch]) -> None:
        """Take the BatchNorm statistics of the moving average, if there is one, anew from training batches.

        Statistics of net_G, and their average too, belong to other weights. On CIFAR-10 after two epochs the difference
        was a validation L1 of 0.084 against 0.095, and a colourfulness of 22 against 7.
        """
        if self.net_G_ema is not None and not self.keeps_statistics:
            update_bn((batch["L"] for batch in batches), self.net_G_ema.module)

    @property
    def generator(self) -> nn.Module:
        """The generator to judge and to save: net_G, or its moving average if there is one."""
        return self.networks["net_G"] if self.net_G_ema is None else self.net_G_ema.module

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks by name, without DistributedDataParallel."""
        unwrap = self.accelerator.unwrap_model
        return {name: unwrap(net) for name, net in self.named_children() if name.startswith("net_")}

    @property
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {name: value for name, value in vars(self).items() if name.startswith("opt_")}

    def setup_input(self, batch: Batch) -> None:
        """Take a batch as the next step's input."""
        self.L, self.ab = (batch[name].to(self.accelerator.device) for name in ("L", "ab"))

    def step(self) -> None:
        """One training step, and the moving average after it."""
        self.optimize()
        if self.net_G_ema is not None:
            self.net_G_ema.update_parameters(self.networks["net_G"])

    def optimize(self) -> None:
        """One step of the optimisers."""
        raise NotImplementedError

    def descend(self, loss: torch.Tensor) -> None:
        """One step of opt_G, the only optimiser, on a loss."""
        self.opt_G.zero_grad()
        self.accelerator.backward(loss)
        self.opt_G.step()

    def losses(self) -> torch.Tensor:
        """The losses of the last step, their mean over the processes, detached: (len(loss_names),)."""
        return self.accelerator.reduce(torch.stack([getattr(self, name).detach() for name in self.loss_names]), "mean")


class RegressionModel(TrainableModel):
    """A generator without a discriminator, trained by Adam on mean |G(L) - ab| (`L1`) or mean (G(L) - ab)^2 (`L2`).

    Adam's betas are its defaults, as the reports' pretraining leaves them. ema_decay: see `average_generator`.
    Raises ValueError for an unknown loss.
    """

    CRITERIA = {"L1": nn.functional.l1_loss, "L2": nn.functional.mse_loss}

    def __init__(self, net_G: nn.Module, lr=1e-4, accelerator: Accelerator | None = None, loss="L1", ema_decay=0.0):
        super().__init__(accelerator)
        if loss not in self.CRITERIA:
            raise ValueError(f"loss {loss!r} is unknown; choose one of {', '.join(self.CRITERIA)}")
        self.loss_names, self.criterion = (f"loss_{loss}",), self.CRITERIA[loss]
        self.net_G = self.prepare(net_G)
        self.opt_G = self.accelerator.prepare_optimizer(torch.optim.Adam(self.net_G.parameters(), lr, fused=True))
        self.average_generator(ema_decay)

    def optimize(self) -> None:
        """One step of Adam on the loss."""
        loss = self.criterion(self.net_G(self.L), self.ab)
        self.descend(loss)
        setattr(self, self.loss_names[0], loss)
