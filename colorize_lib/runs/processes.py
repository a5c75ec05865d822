"""The processes of one run: a launcher starts one for each GPU, on one host or several, and all run the same code.

Each process holds all networks, takes its share of every batch (`LabLoader.share`), and multiplies its loss, a mean
over the share, by share / batch. The sum of that over the processes is the loss of the whole batch, so the sum of the
gradients is its gradient, however uneven the shares are. What processes exchange within a step (the statistics of
BatchNorm, `whole_batch`) are sums too, and are differentiated as such. All then take the same step of the optimisers.
torch's DistributedDataParallel would do this for one pass forward and one backward per step; the GAN runs its
discriminator three times and backwards twice, and one explicit sum after each backward pass is shorter than the
exceptions. Its price: the sum does not overlap with the backward pass.

The first process alone prints and writes. In a run of one process, everything here does nothing.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

T = TypeVar("T")


class ProcessLost(RuntimeError):
    """Another process of the run has ended, or does not answer any more."""


def count() -> int:
    """How many processes the run has; 1 until an Accelerator has been made."""
    return dist.get_world_size() if dist.is_initialized() else 1


def index() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if dist.is_initialized() else int(os.environ.get("RANK", "0"))


def is_main() -> bool:
    """True in the first process, which alone prints and writes."""
    return index() == 0


def say(line: str) -> None:
    """Print a line, once in the run."""
    if is_main():
        print(line, flush=True)


def total(x: torch.Tensor) -> torch.Tensor:
    """The sum of x over the processes, of the same shape; differentiable."""
    return x if count() == 1 else _Total.apply(x)


class _Total(torch.autograd.Function):
    """Every process's output depends on every process's input, so the gradient is the sum of the gradients."""

    @staticmethod
    def forward(ctx, x: torch.Tensor) -> torch.Tensor:
        x = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        return _Total.apply(gradient)


def whole_batch(share: torch.Tensor, size: int) -> torch.Tensor:
    """The whole batch (size,...) in its order, from this process's share (n,...) of it; differentiable."""
    if count() == 1:
        return share
    whole = share.new_zeros(size, *share.shape[1:])
    whole[index() :: count()] = share  # as `LabLoader` deals them out
    return total(whole)


def sum_gradients(net: nn.Module) -> None:
    """Replace the gradients of a network by their sums over the processes."""
    if count() > 1:
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        together = parameters_to_vector(gradients)  # one exchange instead of one for each layer
        dist.all_reduce(together)
        vector_to_parameters(together, gradients)


def copy_from_main(networks: Iterable[nn.Module]) -> None:
    """Give all processes the first one's weights and buffers."""
    if count() > 1:
        for network in networks:
            for tensor in network.state_dict().values():
                dist.broadcast(tensor, src=0)


def seed_noise(*key: int) -> None:
    """Seed torch's generators with `key` and the process, so that no two processes drop out the same units.

    Not in the first process: its generators run on as they do in a run of one, and their state is in the checkpoints.
    """
    if not is_main():
        torch.manual_seed(int(np.random.SeedSequence((*key, index())).generate_state(1)[0]))


def sum_of(number: int) -> int:
    """The sum of an integer over the processes."""
    return _agreed(number, dist.ReduceOp.SUM)


def anywhere(flag: bool) -> bool:
    """True, in all processes, if the flag is true in one of them."""
    return bool(_agreed(int(flag), dist.ReduceOp.MAX))


def from_main(make: Callable[[], T]) -> T:
    """What `make` returns in the first process, which alone calls it, in all processes."""
    if count() == 1:
        return make()
    box = [make() if is_main() else None]
    dist.broadcast_object_list(box, src=0, group=_messages())
    return box[0]


def wait_for_all() -> None:
    """Go on when all processes have come here."""
    anywhere(False)


@contextmanager
def losses_named(advice: str) -> Iterator[None]:
    """Turn what the exchange with a lost process raises into ProcessLost with this advice."""
    try:
        yield
    except RuntimeError as error:
        if count() > 1 and (isinstance(error, dist.DistError) or "gloo" in str(error)):
            what = f"another process of this run has ended or does not answer. {advice}"
            print(what, file=sys.stderr, flush=True)  # the launcher may end this process before it shows the exception
            raise ProcessLost(what) from error
        raise


def _agreed(number: int, how: dist.ReduceOp.RedOpType) -> int:
    if count() == 1:
        return number
    box = torch.tensor(number)
    dist.all_reduce(box, how, group=_messages())
    return int(box)


@cache
def _messages() -> dist.ProcessGroup | None:
    """The group for what is not on the device: messages by way of it would wait for all that it has still to do."""
    return None if dist.get_backend() == "gloo" else dist.new_group(backend="gloo")
