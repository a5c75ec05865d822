"""The recipe that a reader would otherwise run, as well-known tutorials of this method have it: what ours is timed
against.

Every photograph is opened, resized by PIL, flipped and converted by scikit-image anew in every epoch, in the workers of
a DataLoader that keeps the files' order; networks are in fp32 and eager mode; the losses are read after every
iteration. It is written plainly and nothing in it is slowed down.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.color import rgb2lab
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from colorize_lib.models.init import init_weights
from colorize_lib.models.patchgan import PatchDiscriminator


class ReferenceDataset(Dataset):
    """Paths to {"L": (1,size,size) in [-1,1], "ab": (2,size,size) in about [-1,1]}."""

    def __init__(self, paths: list[Path], size: int, train: bool):
        resize = transforms.Resize((size, size), transforms.InterpolationMode.BICUBIC)
        flip = [transforms.RandomHorizontalFlip()] if train else []
        self.transforms, self.paths = transforms.Compose([resize, *flip]), paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        image = self.transforms(Image.open(self.paths[index]).convert("RGB"))
        lab = transforms.ToTensor()(rgb2lab(np.array(image)).astype("float32"))
        return {"L": lab[[0]] / 50.0 - 1.0, "ab": lab[[1, 2]] / 110.0}


def reference_loader(paths: list[Path], size: int, batch_size: int, workers: int, train: bool = True) -> DataLoader:
    """Batches of it, in the files' order."""
    dataset = ReferenceDataset(paths, size, train)
    return DataLoader(dataset, batch_size, num_workers=workers, pin_memory=torch.cuda.is_available(), drop_last=train)


class ReferenceGan:
    """The GAN step: D on a detached fake and on the truth, then G; BCE with logits, Adam, lambda 100."""

    def __init__(self, net_G: nn.Module, device: torch.device, n_down_D: int = 3):
        self.device, self.net_G = device, net_G.to(device)
        self.net_D = init_weights(PatchDiscriminator(input_c=3, n_down=n_down_D)).to(device)
        self.bce, self.l1 = nn.BCEWithLogitsLoss(), nn.L1Loss()
        self.opt_G = torch.optim.Adam(self.net_G.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self.opt_D = torch.optim.Adam(self.net_D.parameters(), lr=2e-4, betas=(0.5, 0.999))

    def step(self, batch: dict[str, torch.Tensor]) -> list[float]:
        """One iteration: the losses."""
        L, ab = batch["L"].to(self.device), batch["ab"].to(self.device)
        fake = self.net_G(L)
        self.net_D.requires_grad_(True)
        self.opt_D.zero_grad()
        loss_D_fake = self.judged(torch.cat([L, fake.detach()], dim=1), 0.0)
        loss_D_real = self.judged(torch.cat([L, ab], dim=1), 1.0)
        loss_D = (loss_D_fake + loss_D_real) * 0.5
        loss_D.backward()
        self.opt_D.step()
        self.net_D.requires_grad_(False)
        self.opt_G.zero_grad()
        loss_G_GAN = self.judged(torch.cat([L, fake], dim=1), 1.0)
        loss_G_L1 = self.l1(fake, ab) * 100.0
        loss_G = loss_G_GAN + loss_G_L1
        loss_G.backward()
        self.opt_G.step()
        return [loss.item() for loss in (loss_D_fake, loss_D_real, loss_D, loss_G_GAN, loss_G_L1, loss_G)]

    def judged(self, pictures: torch.Tensor, label: float) -> torch.Tensor:
        """The loss of D's logits against a label."""
        logits = self.net_D(pictures)
        return self.bce(logits, torch.full_like(logits, label))


class ReferenceRegression:
    """The L1 pretraining step of the ResNet18 generator."""

    def __init__(self, net_G: nn.Module, device: torch.device):
        self.device, self.net_G, self.l1 = device, net_G.to(device), nn.L1Loss()
        self.opt_G = torch.optim.Adam(self.net_G.parameters(), lr=1e-4)

    def step(self, batch: dict[str, torch.Tensor]) -> list[float]:
        """One iteration: the loss."""
        L, ab = batch["L"].to(self.device), batch["ab"].to(self.device)
        loss = self.l1(self.net_G(L), ab)
        self.opt_G.zero_grad()
        loss.backward()
        self.opt_G.step()
        return [loss.item()]
