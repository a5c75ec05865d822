"""Encoders that know what things are, learnt from photographs: a teacher's answers, classes, or both.

"Distilling the Knowledge in a Neural Network" (arXiv:1503.02531), section 2: the student is trained on the teacher's
softened answers, here on the same crops ("Knowledge distillation: a good teacher is patient and consistent",
arXiv:2106.05237). The teacher sees them large and in colour; the student smaller, and half of them grey, as it will
serve as an encoder of grey pictures. Its inputs are scaled to [-1,1], as L / 50 - 1 is.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from .. import color
from .distribution import rate
from .trainable import Batch, TrainableModel


@dataclass(frozen=True)
class DistilConfig:
    """The optimiser, its schedule, and the weights of what the student learns from."""

    steps: int  # of the whole schedule
    lr: float = 2e-3  # highest learning rate of AdamW
    weight_decay: float = 0.05
    temperature: float = 2.0  # of both answers
    class_weight: float = 0.3  # of the cross-entropy over known classes, beside a teacher; without one it is 1
    size: int = 128  # of the student's pictures; the teacher's are those of the batch


class DistilModel(TrainableModel):
    """The student as net_G, RGB (N,3,H,W) in [-1,1] to logits, trained on the answers of a frozen teacher and classes.

    teacher: None for classes alone. Batches with "label" (N,), -1 where it is not known, have classes.
    """

    loss_names = ("loss_KL", "loss_class")

    def __init__(self, student: nn.Module, teacher: nn.Module | None, config: DistilConfig, accelerator=None):
        super().__init__(accelerator)
        self.config = config
        self.net_G = self.prepare(student.to(memory_format=torch.channels_last))
        self.teacher = teacher and teacher.to(self.accelerator.device, memory_format=torch.channels_last).eval()
        optimizer = torch.optim.AdamW(student.parameters(), config.lr, weight_decay=config.weight_decay, fused=True)
        self.opt_G = self.accelerator.prepare_optimizer(optimizer)

    def setup_input(self, batch: Batch) -> None:
        """Take a batch as the next step's input."""
        super().setup_input(batch)
        unknown = torch.full((len(self.L),), -1)
        self.label = batch.get("label", unknown).to(self.accelerator.device)

    def optimize(self) -> None:
        """One step of AdamW on T^2 KL(teacher, student) and the cross-entropy of known classes."""
        (group,), config = self.opt_G.param_groups, self.config
        step = group.get("step_number", 0)
        group["lr"], group["step_number"] = config.lr * rate(step / config.steps, 0.05, 0.0), step + 1
        seen = color.lab_to_rgb(self.L, self.ab) * 2 - 1
        grey = torch.rand(len(seen), 1, 1, 1, device=seen.device) < 0.5
        logits = self.net_G(_reduced(torch.where(grey, self.L, seen), config.size)).float()
        known = (self.label >= 0).sum().clamp(min=1)
        self.loss_class = F.cross_entropy(logits, self.label, ignore_index=-1, reduction="sum") / known
        self.loss_KL, loss = torch.zeros_like(self.loss_class), self.loss_class
        if self.teacher is not None:
            with torch.no_grad(), self.accelerator.autocast():
                answer = (self.teacher(seen).float() / config.temperature).log_softmax(dim=1)
            belief = (logits / config.temperature).log_softmax(dim=1)
            divergence = F.kl_div(belief, answer, log_target=True, reduction="batchmean")
            self.loss_KL = config.temperature**2 * divergence
            loss = self.loss_KL + config.class_weight * self.loss_class
        self.descend(loss)


@torch.no_grad()
def agreement(student: nn.Module, teacher: nn.Module, batches: Iterable[Batch], size=128, grey=True) -> float:
    """Share of photographs for which student and teacher name the same class; the student sees them grey, or not.

    batches: at the teacher's size; size: of the student's pictures.
    """
    same, count = 0, 0
    student.eval()
    for batch in batches:
        seen = color.lab_to_rgb(batch["L"], batch["ab"]) * 2 - 1
        shown = _reduced(batch["L"].expand_as(seen) if grey else seen, size)
        same += (student(shown).argmax(dim=1) == teacher(seen).argmax(dim=1)).sum().item()
        count += len(seen)
    return same / count


def _reduced(pictures: torch.Tensor, size: int) -> torch.Tensor:
    return F.interpolate(pictures, size, mode="bilinear", antialias=True, align_corners=False)
