"""What each optimisation does to the speed of a training step: the step as it is, without what was adopted, and with
what was tried and left out, in turns.

python benchmarks/optimisations.py [--size 64] [--batch-size 16] [--device auto] [--generators unet resnet18_fast]

Prints images per second of the GAN step as it is, and the median ratio to it of every other step, with the range of the
ratios over rounds. Batches are ready on the device: the data path is not in it.
"""

import argparse
from collections.abc import Callable, Iterator
from statistics import median

import pandas as pd
import torch
from reference import timed

from colorize_lib.gan import GanConfig, MainModel
from colorize_lib.models import build_generator, fitting_config
from colorize_lib.models.init import init_weights
from colorize_lib.models.patchgan import PatchDiscriminator
from colorize_lib.run import keep_freed_memory, make_accelerator, seed_everything


class OnePass(MainModel):
    """D judges fakes and truths in one batch. With BatchNorm in D that is another function: its statistics are then of
    both together."""

    def backward_D(self) -> None:
        both = torch.cat([self.color_hat.detach(), self.color])
        fake_preds, real_preds = self.net_D(torch.cat([torch.cat([self.L, self.L]), both], dim=1)).chunk(2)
        self.loss_D_fake = self.GANcriterion(fake_preds, False)
        self.loss_D_real = self.GANcriterion(real_preds, True)
        self.loss_D = (self.loss_D_fake + self.loss_D_real) * 0.5
        self.backward(self.loss_D, self.net_D)


class TwoHalves(MainModel):
    """Gradient accumulation: every network's gradients from two half batches, one after the other.

    It halves the memory of a step, at the price of G running forward twice: once without a graph for D, and once more
    when its own turn comes. BatchNorm's statistics are then of half batches.
    """

    def optimize(self) -> None:
        halves, self.share = list(zip(self.L.chunk(2), self.ab.chunk(2), strict=True)), 0.5
        self.net_D.requires_grad_(True)
        self.opt_D.zero_grad()
        for self.L, self.ab in halves:
            with torch.no_grad():
                self.forward()
            self.backward_D()
        self.opt_D.step()
        self.net_D.requires_grad_(False)
        self.opt_G.zero_grad()
        for self.L, self.ab in halves:
            self.forward()
            self.backward_G()
        self.opt_G.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--device", default="auto", help="auto | cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--generators", nargs="+", default=["unet", "resnet18_dynamic_unet", "resnet18_fast"])
    parser.add_argument("--only", nargs="+", choices=list(WAYS), default=list(WAYS))
    options = parser.parse_args()
    rows = []
    for name in options.generators:
        rows += compare(name, options)
        print(pd.DataFrame(rows).to_string(index=False, float_format="{:.3g}".format), flush=True)


def compare(name: str, options: argparse.Namespace) -> list[dict]:
    """The rows of one generator."""
    device = make_accelerator(options.device, "no").device
    batch = {"L": torch.rand(options.batch_size, 1, options.size, options.size, device=device) * 2 - 1}
    batch["ab"] = torch.rand(options.batch_size, 2, options.size, options.size, device=device) - 0.5
    steps: dict[str, Iterator] = {}
    speed: dict[str, list[float]] = {}
    for way in ["ours", *options.only]:
        seed_everything(0)
        steps[way] = _steps(WAYS[way](name, options) if way != "ours" else _model(name, options), batch)
        speed[way] = []
        keep_freed_memory(way != "without keeping memory")
        timed(steps[way], 2, device)  # warm up, compile
    for _ in range(options.rounds):
        for way, one in steps.items():
            keep_freed_memory(way != "without keeping memory")
            seconds = timed(one, options.iterations, device)
            speed[way].append(options.iterations * options.batch_size / seconds)
    rows = []
    for way, found in speed.items():
        ratios = [b / a for a, b in zip(speed["ours"], found, strict=True)]
        row = {"generator": name, "with": way, "images/s": median(found)}
        rows.append(row | {"ratio": median(ratios), "from": min(ratios), "to": max(ratios)})
    return rows


def _model(name: str, options: argparse.Namespace, kind: type[MainModel] = MainModel, ema: float = 0.0) -> MainModel:
    n_down_D = 3 if options.size >= 256 else 1
    net_D = init_weights(PatchDiscriminator(input_c=3, n_down=n_down_D))
    accelerator = make_accelerator(options.device, "no")
    net_G = build_generator(fitting_config(name, options.size))
    model = kind(net_G, GanConfig(n_down_D=n_down_D, ema_decay=ema), accelerator, net_D)
    for network in model.networks.values():
        network.train()
    return model


def _channels_last(name: str, options: argparse.Namespace) -> MainModel:
    model = _model(name, options)
    for network in model.networks.values():
        network.to(memory_format=torch.channels_last)
    return model


def _plain_adam(name: str, options: argparse.Namespace) -> MainModel:
    model = _model(name, options)
    for optimizer in model.optimizers.values():
        for group in optimizer.param_groups:
            group["fused"] = False
    return model


def _bf16(name: str, options: argparse.Namespace) -> MainModel:
    model = _model(name, options)
    for network in model.networks.values():
        network.forward = _in_bf16(network.forward, model.accelerator.device.type)
    return model


def _in_bf16(forward: Callable, device: str) -> Callable:
    def run(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device, torch.bfloat16):
            return forward(x).float()

    return run


def _compiled(name: str, options: argparse.Namespace) -> MainModel:
    model = _model(name, options)
    model.net_G, model.net_D = torch.compile(model.net_G), torch.compile(model.net_D)
    return model


def _steps(model: MainModel, batch: dict[str, torch.Tensor]) -> Iterator:
    while True:
        model.setup_input(batch)
        model.step()
        yield None


WAYS: dict[str, Callable[[str, argparse.Namespace], MainModel]] = {
    "without keeping memory": _model,  # set where it is timed
    "without fused Adam": _plain_adam,
    "channels_last": _channels_last,
    "bf16 autocast": _bf16,
    "one pass of D": lambda name, options: _model(name, options, OnePass),
    "two half batches": lambda name, options: _model(name, options, TwoHalves),
    "EMA": lambda name, options: _model(name, options, ema=0.999),
    "torch.compile": _compiled,
}


if __name__ == "__main__":
    main()
