"""BatchNorm over the batch of all processes: without it, each would normalise by the statistics of its own share, and
several processes would train another network than one.

On GPUs this is torch's SyncBatchNorm, which runs nowhere else; on CPUs the class below computes the same.
"""

import torch
from torch import nn

from ..runs import processes


class SharedBatchNorm(nn.BatchNorm2d):
    """BatchNorm2d by the statistics of the whole batch, of which the input (n,C,H,W) is this process's share."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        wide = x.double()  # the difference of squares below loses digits
        sums = torch.stack([wide.sum(dim=(0, 2, 3)), wide.square().sum(dim=(0, 2, 3))])  # (2,C)
        n = processes.total(sums.new_tensor(x.numel() // x.shape[1]))
        mean, mean_square = processes.total(sums) / n
        var = mean_square - mean.square()
        with torch.no_grad():
            self.num_batches_tracked += 1
            new = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
            self.running_mean += new * (mean - self.running_mean)
            self.running_var += new * (var * n / (n - 1) - self.running_var)
        scale = self.weight * (var + self.eps).rsqrt()  # (C,)
        shift = self.bias - mean * scale
        return (wide * scale[:, None, None] + shift[:, None, None]).to(x.dtype)


def share_batch_norm(net: nn.Module, device: torch.device) -> nn.Module:
    """The network with BatchNorm over all processes; its parameters and `state_dict` stay as they are.

    In a run of one process, the network as it is.
    """
    if processes.count() == 1:
        return net
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(net)
    for module in net.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm  # the same parameters and hooks, in the same place
    return net
