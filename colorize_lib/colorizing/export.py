"""Write a generator as ONNX, which runs wherever onnxruntime does, and hold what was written against torch."""

import io
import json
import time
import warnings
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..color import AB_SCALE
from ..files import atomic_path
from ..models import AnyConfig, is_fixed, size_step
from ..models.distribution import PATH, ColourDistribution
from ..models.painting import as_ab, colorize_batch
from .onnx_colorizer import EXTRA, OnnxColorizer

# Lab units that a file's ab may be away from torch's at any pixel. Weights that had 16 bits before lose nothing.
TOLERANCE = {"fp32": 0.05, "fp16": 2.0}


class _Painter(nn.Module):
    """What the graph holds: L (1,1,H,W), and the vividness () of a distribution, to normalised ab (1,2,H,W)."""

    def __init__(self, net_G: nn.Module):
        super().__init__()
        self.net_G = net_G

    def forward(self, L: torch.Tensor, vividness: torch.Tensor | None = None) -> torch.Tensor:
        if vividness is None:
            return as_ab(self.net_G(L))
        knots = torch.arange(len(PATH))  # straight lines between the points of PATH, which are in equal steps
        near = (1 - (vividness * (len(PATH) - 1) - knots).abs()).clamp(min=0)
        alpha, temperature = (near[:, None] * torch.tensor(PATH)).sum(dim=0).unbind()
        ab = self.net_G.head.decode(self.net_G.believe(L), alpha, temperature)
        return F.interpolate(ab, size=L.shape[2:], mode="bilinear", align_corners=False)


def export_onnx(net_G: nn.Module, config: AnyConfig, folder: Path, L: torch.Tensor) -> dict[str, dict[str, float]]:
    """Write generator.onnx (fp32) and generator_fp16.onnx, which stores weights in 16 bits and computes in 32.

    Inputs `L` (1,1,height,width), normalised, sides free but for those that are fixed, and of a distribution
    `vividness` (); output `ab` (1,2,height,width), normalised. L: pictures (N,1,size,size) that both are held against
    torch with. Returns by file name {"bytes", "seconds" for a picture, "ab_difference", the largest, in Lab units}.
    Raises RuntimeError for a file that is further away than TOLERANCE, which is not kept; ModuleNotFoundError if
    onnx or onnxruntime is not installed.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"export needs the package {error.name}: {EXTRA}") from None
    net_G = net_G.cpu().eval()
    model = onnx.load_model_from_string(_traced(net_G, config))
    onnx.helper.set_model_props(model, {"about": json.dumps(_about(net_G, config))})
    report = {}
    for name, kind in (("generator.onnx", "fp32"), ("generator_fp16.onnx", "fp16")):
        if kind == "fp16":
            _store_in_16_bits(model)
        with atomic_path(folder / name) as partial:
            onnx.save(model, partial)
            far, seconds = _difference(net_G, partial, L)
            if not far <= TOLERANCE[kind]:
                raise RuntimeError(f"{name} paints ab up to {far:.3g} Lab units from torch's; {TOLERANCE[kind]} may be")
            report[name] = {"bytes": partial.stat().st_size, "seconds": seconds, "ab_difference": far}
    return report


def _about(net_G: nn.Module, config: AnyConfig) -> dict:
    """What `OnnxColorizer` has to know, and the configuration."""
    vividness = net_G.vividness if _is_distribution(net_G) else None
    sizes = {"size": config.size, "step": size_step(config), "fixed": is_fixed(config)}
    return {**sizes, "vividness": vividness, "generator": asdict(config)}


def _is_distribution(net_G: nn.Module) -> bool:
    return isinstance(getattr(net_G, "head", None), ColourDistribution)


def _traced(net_G: nn.Module, config: AnyConfig) -> bytes:
    """The graph, by tracing: torch.export with free sizes takes more than ten minutes for EfficientNet-Lite0."""
    names = ["L", "vividness"] if _is_distribution(net_G) else ["L"]
    example = (torch.zeros(1, 1, config.size, config.size), torch.tensor(0.8))[: len(names)]
    free = {} if is_fixed(config) else dict.fromkeys(("L", "ab"), {2: "height", 3: "width"})
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of tracing's limits, which do not touch these networks, and of its age
        torch.onnx.export(
            _Painter(net_G),
            example,
            file,
            dynamo=False,
            opset_version=18,
            training=torch.onnx.TrainingMode.PRESERVE,  # BatchNorm apart: 16 bits hold the weights as they are
            input_names=names,
            output_names=["ab"],
            dynamic_axes=free,
        )
    return file.getvalue()


def _store_in_16_bits(model) -> None:
    """Halve a model's file: weights in 16 bits, and a cast to 32 after each, which runtimes do once, when they load."""
    from onnx import TensorProto, helper, numpy_helper

    for weight in model.graph.initializer:
        if weight.data_type == TensorProto.FLOAT:
            name, values = weight.name, numpy_helper.to_array(weight)
            weight.CopyFrom(numpy_helper.from_array(values.astype("float16"), f"{name}.fp16"))
            model.graph.node.insert(0, helper.make_node("Cast", [weight.name], [name], to=TensorProto.FLOAT))


def _difference(net_G: nn.Module, path: Path, L: torch.Tensor) -> tuple[float, float]:
    """The largest difference of ab, in Lab units, over pictures L (N,1,S,S), and the seconds of the quickest."""
    paint, far, seconds = OnnxColorizer(path, L.shape[-1]).paint, 0.0, []
    for one in L:
        began = time.perf_counter()
        ab = paint(one.numpy())
        seconds.append(time.perf_counter() - began)
        far = max(far, (torch.from_numpy(ab) - colorize_batch(net_G, one[None])[0]).abs().max().item() * AB_SCALE)
    return far, min(seconds)
