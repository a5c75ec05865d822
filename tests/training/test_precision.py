"""Steps in bf16 beside steps in full precision."""

import pytest
import torch
from accelerate.state import AcceleratorState

from colorize_lib.models.init import init_weights
from colorize_lib.models.unet import Unet
from colorize_lib.runs.device import make_accelerator
from colorize_lib.training.gan import D_ACCURACY, GanConfig, MainModel
from colorize_lib.training.trainable import RegressionModel

MODELS = {
    "gan": lambda net_G, accelerator: MainModel(net_G, GanConfig(n_down_D=1), accelerator),
    "regression": lambda net_G, accelerator: RegressionModel(net_G, accelerator=accelerator),
}


def losses(kind: str, mixed_precision: str, device: str) -> torch.Tensor:
    AcceleratorState._reset_state(reset_partial_state=True)  # accelerate keeps one precision for a process
    accelerator = make_accelerator(device, mixed_precision)
    torch.manual_seed(0)
    model = MODELS[kind](init_weights(Unet(n_down=5, num_filters=16)), accelerator)
    model.set_modes()
    seen, generator = [], torch.Generator().manual_seed(1)
    for _ in range(3):
        L = torch.rand(4, 1, 64, 64, generator=generator) * 2 - 1
        model.setup_input({"L": L, "ab": torch.randn(4, 2, 64, 64, generator=generator) * 0.1})
        model.step()
        seen.append(model.losses().cpu())
    assert all(p.dtype == torch.float32 for p in model.net_G.parameters())
    AcceleratorState._reset_state(reset_partial_state=True)
    return torch.stack(seen)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("device", ["cpu", *(["auto"] if torch.cuda.is_available() else [])])
def test_losses_in_bf16_are_those_of_full_precision_within_half_a_percent(kind, device):
    full, half = losses(kind, "no", device), losses(kind, "bf16", device)
    assert not torch.equal(full, half)
    shares = len(D_ACCURACY) if kind == "gan" else 0  # of D's answers: whole answers flip
    n = full.shape[1] - shares
    torch.testing.assert_close(half[:, :n], full[:, :n], rtol=5e-3, atol=0)  # bf16 rounds by up to 0.4 %, means by less
    torch.testing.assert_close(half[:, n:], full[:, n:], rtol=0, atol=0.02)
