"""What share of the device's matmul peak a training step reaches, and which operations its time goes into.

python benchmarks/utilization.py [--size 256] [--batch-size 16] [--device auto] [--generators unet resnet18_fast]

The peak is measured: the best of several products of square matrices in the precision that training uses. The
operations of a step are counted by torch's FlopCounterMode (multiply-adds of convolutions and matrix products, two
operations each). Batches are ready on the device: the data path is not in it, see `bench.py`.
"""

import argparse

import pandas as pd
import torch
from reference import timed
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from colorize_lib.models import ARCHITECTURES, build_generator, fitting_config
from colorize_lib.runs.device import make_accelerator, seed_everything
from colorize_lib.training.gan import GanConfig, MainModel

DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--size", type=int, default=256, help="pixels a side (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--device", default="auto", help="auto | cpu")
    parser.add_argument("--generators", nargs="+", choices=ARCHITECTURES, default=list(ARCHITECTURES))
    parser.add_argument("--matrix", type=int, default=8192, help="side of the matrices of the peak (%(default)s)")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--rows", type=int, default=12, help="operations to list (%(default)s)")
    options = parser.parse_args()
    accelerator = make_accelerator(options.device)
    dtype = DTYPES[accelerator.mixed_precision]
    peak = matmul_peak(options.matrix, dtype, accelerator.device)
    print(f"{dtype} matmul peak of {accelerator.device}: {peak / 1e12:.3g} TFLOP/s")
    rows = []
    for name in options.generators:
        seed_everything(0)
        n_down_D = 3 if options.size >= 256 else 1
        net_G = build_generator(fitting_config(name, options.size))
        model = MainModel(net_G, GanConfig(n_down_D=n_down_D), accelerator)
        steps = _steps(model, options)
        timed(steps, 3, accelerator.device)  # warm up
        with FlopCounterMode(display=False) as counter:
            next(steps)
        seconds = timed(steps, options.iterations, accelerator.device) / options.iterations
        rate = counter.get_total_flops() / seconds
        row = {"generator": name, "ms a step": 1000 * seconds, "images/s": options.batch_size / seconds}
        rows.append(row | {"TFLOP/s": rate / 1e12, "share of the peak": rate / peak})
        print(f"\n{name}, GAN step: where {3 * 1000 * seconds:.0f} ms of three steps go")
        print(where_time_goes(steps, options.rows, accelerator.device))
    print(f"\nGAN step at {options.size} px, batches of {options.batch_size}, {dtype}")
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.3g}".format))


def matmul_peak(side: int, dtype: torch.dtype, device: torch.device) -> float:
    """Operations per second of the fastest of 10 products of two side x side matrices."""
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))

    def products():
        while True:
            yield a @ b

    one = products()
    timed(one, 2, device)
    return 2 * side**3 / min(timed(one, 1, device) for _ in range(10))


def where_time_goes(steps, rows: int, device: torch.device) -> str:
    """torch.profiler's table of three steps, by the device's own time."""
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
    with profile(activities=activities) as profiler:
        timed(steps, 3, device)
    key = f"self_{device.type}_time_total"
    return profiler.key_averages().table(sort_by=key, row_limit=rows, max_name_column_width=50)


def _steps(model: MainModel, options: argparse.Namespace):
    for network in model.networks.values():
        network.train()
    shape, device = (options.batch_size, 3, options.size, options.size), model.accelerator.device
    random = torch.rand(shape, device=device) * 2 - 1
    batch = {"L": random[:, :1], "ab": random[:, 1:] / 2}
    while True:
        model.setup_input(batch)
        model.step()
        yield None


if __name__ == "__main__":
    main()
