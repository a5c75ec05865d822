"""What the loop can train: networks, optimisers, one step; and regression, the simplest of them."""

from collections.abc import Iterable

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from ..models.shared_norm import share_batch_norm
from ..runs import processes


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
