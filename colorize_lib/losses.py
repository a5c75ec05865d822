"""The GAN objective: "Image-to-Image Translation with Conditional Adversarial Networks" (pix2pix, arXiv:1611.07004),
section 3.1, and its least-squares form (LSGAN, arXiv:1611.04076, equation 2 with a=0, b=c=1)."""

import torch
from torch import nn

GAN_MODES = {"vanilla": nn.BCEWithLogitsLoss, "lsgan": nn.MSELoss}


class GANLoss(nn.Module):
    """Loss of a discriminator's logits against "all real" or "all fake".

    gan_mode: `vanilla` (binary cross-entropy on logits) or `lsgan` (mean squared error).
    real_label, fake_label: the targets; kept as buffers, hence part of the `state_dict`.
    Raises ValueError for an unknown mode.
    """

    def __init__(self, gan_mode: str = "vanilla", real_label: float = 1.0, fake_label: float = 0.0):
        super().__init__()
        if gan_mode not in GAN_MODES:
            raise ValueError(f"gan_mode {gan_mode!r} is unknown; choose one of {', '.join(GAN_MODES)}")
        self.register_buffer("real_label", torch.tensor(real_label))
        self.register_buffer("fake_label", torch.tensor(fake_label))
        self.loss = GAN_MODES[gan_mode]()

    def forward(self, preds: torch.Tensor, target_is_real: bool) -> torch.Tensor:
        """preds: logits of any shape. Returns the mean loss, a scalar."""
        label = self.real_label if target_is_real else self.fake_label
        return self.loss(preds, label.to(preds.dtype).expand_as(preds))
