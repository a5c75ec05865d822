"""Training a HintNet on colours that photographs themselves give away, as Zhang et al. simulate a user
(arXiv:1705.02999, section 3.2); the generator stays as it is."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from accelerate import Accelerator

from .. import color
from ..models.hints import HintNet
from ..models.light import LightUnet
from .distribution import rate
from .trainable import Batch, TrainableModel

RARE, LARGEST = 1 / 8, 9  # of the geometric number of hints, from 1; largest side of a hint, in pixels of 256
MOST = 40  # hints of one photograph
L1 = 20.0  # weight of the mean error of what is read faithfully, in normalised ab, beside the bins' loss


def numbers(n: int) -> torch.Tensor:
    """How many hints each of n photographs gets: (n,), geometric."""
    return torch.empty(n).geometric_(RARE).clamp(max=MOST).long()


def draw_hints(ab: torch.Tensor, count: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """True hints of photographs ab (N,2,H,W), `count` (N,) of each: what HintNet takes, by torch's random generator.

    Each is the mean colour of a square; their middles are spread normally about that of the photograph.
    """
    n, most, (height, width) = len(ab), int(count.max()), ab.shape[2:]
    at = (0.5 + torch.randn(n, most, 2) / 4).clamp(0, 1 - 1e-6).to(ab.device)
    side = (torch.randint(1, LARGEST + 1, (n, most), device=ab.device) * height / 256).round().long().clamp(min=1)
    sums = F.pad(ab.double().cumsum(2).cumsum(3), (1, 0, 1, 0)).permute(0, 2, 3, 1)  # of all above and to the left
    left, top = ((at[..., k] * size).long() - side // 2 for k, size in enumerate((width, height)))
    (x0, x1), (y0, y1) = (
        (first.clamp(0, size - 1), torch.minimum(first.clamp(0, size - 1) + side, torch.tensor(size)))
        for first, size in ((left, width), (top, height))
    )
    photo = torch.arange(n, device=ab.device)[:, None]
    total = sums[photo, y1, x1] - sums[photo, y0, x1] - sums[photo, y1, x0] + sums[photo, y0, x0]
    mean = total / ((x1 - x0) * (y1 - y0))[..., None]
    known = torch.arange(most, device=ab.device) < count.to(ab.device)[:, None]
    return at, mean.to(ab.dtype), known


class HintModel(TrainableModel):
    """A HintNet of a frozen generator, trained by AdamW on `steps` batches along a cosine; the average is kept."""

    loss_names = ("loss_bins", "loss_L1")

    def __init__(self, net: HintNet, painter: LightUnet, steps: int, lr=2e-3, accelerator: Accelerator | None = None):
        super().__init__(accelerator)
        self.steps, self.lr, self.net_G = steps, lr, self.prepare(net)
        self.painter = (
            painter.to(self.accelerator.device, memory_format=torch.channels_last).eval().requires_grad_(False)
        )
        self.opt_G = self.accelerator.prepare_optimizer(torch.optim.AdamW(self.net_G.parameters(), lr, fused=True))
        self.average_generator(0.998)

    def refresh_average(self, batches: Iterable[Batch]) -> None:
        """There are no statistics."""

    def optimize(self) -> None:
        """One step on hints that are drawn anew."""
        (group,) = self.opt_G.param_groups
        step = group.get("step_number", 0)
        group["lr"], group["step_number"] = self.lr * rate(step / self.steps, 0.05, 0.0), step + 1
        head = self.painter.head
        with self.accelerator.autocast():
            logits = self.net_G(self.painter, self.L, *draw_hints(self.ab, numbers(len(self.ab))))
        self.loss_bins = head.loss(logits, self.ab)
        small = F.adaptive_avg_pool2d(self.ab, logits.shape[2:])
        self.loss_L1 = F.l1_loss(head.decode(logits, 1.0, 0.6), small)
        self.descend(self.loss_bins + L1 * self.loss_L1)


@torch.no_grad()
def with_hints(net: HintNet, painter: LightUnet, batches: Iterable[Batch], counts=(0, 1, 10)) -> dict[str, float]:
    """PSNR of sRGB and L1 of normalised ab, read faithfully, with so many true hints, always the same ones."""
    found = {f"val_{name}_{count}": [] for count in counts for name in ("psnr", "L1")}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for batch in batches:
            L, ab = batch["L"], batch["ab"]
            rgb = color.lab_to_rgb(L, ab)
            for count in counts:
                hints = draw_hints(ab, torch.full((len(L),), count))
                made = painter.read(net(painter, L, *hints), L.shape[2:], 0.0)
                error = (color.lab_to_rgb(L, made) - rgb).square().mean(dim=(1, 2, 3))
                found[f"val_psnr_{count}"].append(-10 * error.log10())
                found[f"val_L1_{count}"].append((made - ab).abs().mean(dim=(1, 2, 3)))
    means = {name: torch.cat(values).mean().item() for name, values in found.items()}
    return {"val_L1": means[f"val_L1_{counts[-1]}"], **means}
