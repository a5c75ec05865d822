"""Tables of what a network's layers make of their input."""

import pandas as pd
import torch
from torch import nn

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
ACTIVATIONS = (nn.LeakyReLU, nn.ReLU, nn.Tanh)
NAMED = (*CONVOLUTIONS, *ACTIVATIONS, nn.Linear, nn.BatchNorm2d, nn.Dropout, nn.MaxPool2d, nn.Flatten)


@torch.no_grad()
def shape_table(net: nn.Module, x: torch.Tensor) -> pd.DataFrame:
    """One row per block of `net` in the order in which they run: what it is made of (a convolution as kernel/stride),
    its output's shape, its parameters. x: an input of the network. A block is a child of `net`, or of a list or a
    sequence that is one.
    """
    blocks: list[nn.Module] = []
    for child in net.children():
        nested = isinstance(child, nn.ModuleList) or any(isinstance(module, nn.Sequential) for module in child)
        blocks += list(child) if nested else [child]
    rows = []

    def note(block: nn.Module, _: tuple, output: torch.Tensor) -> None:
        names = [_name(module) for module in block.modules() if isinstance(module, NAMED)]
        parameters = f"{sum(p.numel() for p in block.parameters()):,}"
        rows.append({"block": ", ".join(names), "output": tuple(output.shape), "parameters": parameters})

    hooks = [block.register_forward_hook(note) for block in blocks]
    training = net.training
    net.eval()(x)
    net.train(training)
    for hook in hooks:
        hook.remove()
    return pd.DataFrame(rows)


def _name(module: nn.Module) -> str:
    kind = next(kind for kind in NAMED if isinstance(module, kind))  # not a parametrised subclass of it
    name = kind.__name__.removesuffix("2d")
    if kind not in CONVOLUTIONS:
        return name
    return f"{name} {module.kernel_size[0]}x{module.kernel_size[1]}/{module.stride[0]}"
