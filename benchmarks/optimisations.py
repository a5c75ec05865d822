"""What each optimisation does to the speed of a training step: the step as it is, without what was adopted, and with
what was tried and left out, in turns.

python benchmarks/optimisations.py [--size 64] [--batch-size 16] [--device auto] [--generators unet resnet18_fast]

For every way it prints images per second, those of the step as it is beside it, and the median ratio of the two with
its range over rounds. Batches are ready on the device: the data path is not in it.
"""

import argparse
from collections.abc import Callable, Iterator
from statistics import median

import torch
from accelerate import Accelerator
from turns import own_process, prepare, turn

from colorize_lib.models import build_generator, fitting_config
from colorize_lib.models.init import init_weights
from colorize_lib.models.patchgan import PatchDiscriminator
from colorize_lib.runs.device import make_accelerator, seed_everything
from colorize_lib.training.gan import GanConfig, MainModel


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
    parser.add_argument("--only", nargs="+", choices=list(WAYS)[1:], default=list(WAYS)[1:])
    options = parser.parse_args()
    for name in options.generators:
        compare(name, options)


def compare(name: str, options: argparse.Namespace) -> None:
    """Print a row for each way with one generator, as soon as it is measured."""
    device = make_accelerator(options.device).device
    with own_process() as usual:
        prepare(usual, _steps, name, AS_IT_IS, options, device=device)
        print(f"{'generator':22} {'with':23} {'images/s':>9} {'as it is':>9} {'ratio':>6} {'from':>6} {'to':>6}")
        for way in options.only:
            with own_process() as other:
                prepare(other, _steps, name, way, options, device=device)
                count = options.iterations
                seconds = [(turn(usual, count), turn(other, count)) for _ in range(options.rounds)]
            ratios = [as_it_is / tried for as_it_is, tried in seconds]
            speeds = [count * options.batch_size / median(one) for one in zip(*seconds, strict=True)]
            figures = (speeds[1], speeds[0], median(ratios), min(ratios), max(ratios))
            print(f"{name:22} {way:23}", "{:9.3g} {:9.3g} {:6.2f} {:6.2f} {:6.2f}".format(*figures), flush=True)


def _model(
    name: str,
    options: argparse.Namespace,
    kind: type[MainModel] = MainModel,
    ema: float = 0.0,
    accelerator: Accelerator | None = None,
) -> MainModel:
    n_down_D = 3 if options.size >= 256 else 1
    net_D = init_weights(PatchDiscriminator(input_c=3, n_down=n_down_D))
    accelerator = accelerator or make_accelerator(options.device, "no")
    net_G = build_generator(fitting_config(name, options.size))
    model = kind(net_G, GanConfig(n_down_D=n_down_D, ema_decay=ema), accelerator, net_D)
    for network in model.networks.values():
        network.train()
    return model


def _not_keeping(name: str, options: argparse.Namespace) -> MainModel:
    return _model(name, options, accelerator=Accelerator(cpu=options.device == "cpu", mixed_precision="no"))


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


AS_IT_IS = "as it is"
WAYS: dict[str, Callable[[str, argparse.Namespace], MainModel]] = {
    AS_IT_IS: _model,
    "without keeping memory": _not_keeping,
    "without fused Adam": _plain_adam,
    "channels_last": _channels_last,
    "one pass of D": lambda name, options: _model(name, options, OnePass),
    "two half batches": lambda name, options: _model(name, options, TwoHalves),
    "moving average": lambda name, options: _model(name, options, ema=0.999),
    "torch.compile": _compiled,
    "bf16 autocast": _bf16,
}


def _steps(name: str, way: str, options: argparse.Namespace) -> Iterator:
    seed_everything(0)
    model = WAYS[way](name, options)
    shape = (options.batch_size, 1, options.size, options.size)
    batch = {"L": torch.rand(shape) * 2 - 1, "ab": torch.rand(shape).repeat(1, 2, 1, 1) - 0.5}
    batch = {key: values.to(model.accelerator.device) for key, values in batch.items()}
    while True:
        model.setup_input(batch)
        model.step()
        yield None


if __name__ == "__main__":
    main()
