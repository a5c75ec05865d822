"""What the generator and the discriminator are trained on.

The GAN objective: "Image-to-Image Translation with Conditional Adversarial Networks" (pix2pix, arXiv:1611.07004),
section 3.1, and its least-squares form (LSGAN, arXiv:1611.04076, equation 2 with a=0, b=c=1). Reconstruction terms
compare a picture with the truth; the diversity term compares the pictures of a batch with each other.
"""

import torch
from torch import nn
from torch.nn import functional as F

GAN_MODES = {"vanilla": F.binary_cross_entropy_with_logits, "lsgan": F.mse_loss}


class GANLoss(nn.Module):
    """Loss of a discriminator's logits against "all real" (1) or "all fake" (0).

    gan_mode: `vanilla` (binary cross-entropy on logits) or `lsgan` (mean squared error). The labels are buffers, as
    people's saved weights of the tutorial's MainModel have them.
    Raises ValueError for an unknown mode.
    """

    def __init__(self, gan_mode: str = "vanilla"):
        super().__init__()
        if gan_mode not in GAN_MODES:
            raise ValueError(f"gan_mode {gan_mode!r} is unknown; choose one of {', '.join(GAN_MODES)}")
        self.register_buffer("real_label", torch.tensor(1.0))
        self.register_buffer("fake_label", torch.tensor(0.0))
        self.loss, self.middle = GAN_MODES[gan_mode], 0.5 if gan_mode == "lsgan" else 0.0

    def forward(self, preds: torch.Tensor, target_is_real: bool) -> torch.Tensor:
        """preds: logits of any shape. Returns the mean loss, a scalar."""
        label = self.real_label if target_is_real else self.fake_label
        return self.loss(preds, label.to(preds.dtype).expand_as(preds))

    def says_real(self, preds: torch.Tensor) -> torch.Tensor:
        """Which of a discriminator's answers lie nearer to "real" than to "fake": bool, as preds."""
        return preds > self.middle


def cosine_distance(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean over all pixels of 1 - cos, of the angle between the channel vectors (N,C,H,W) of a pixel: [0,2]."""
    return 1 - F.cosine_similarity(prediction, target, dim=1).mean()


def repeated_colors(ab_hat: torch.Tensor, ab: torch.Tensor, cells: int = 4) -> torch.Tensor:
    """How much less the generated pictures of a batch differ in colour from each other than the true ones: [0,1].

    ab_hat, ab: (N,2,H,W), N > 1. Each picture is reduced to the mean ab of `cells` x `cells` squares, and the spread of
    a batch is the mean absolute difference between its pictures. The term is 1 - spread(ab_hat) / spread(ab), not below
    0: 1 if every picture has the same colours in the same places, 0 once they vary as the true ones do. It knows
    nothing of which colours are right.
    """

    def spread(colors: torch.Tensor) -> torch.Tensor:
        reduced = F.adaptive_avg_pool2d(colors, cells).flatten(1)  # (N,2*cells*cells)
        return (reduced[:, None] - reduced[None]).abs().mean()

    return (1 - spread(ab_hat) / spread(ab).clamp(min=1e-6)).clamp(min=0)
