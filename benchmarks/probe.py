"""A linear probe: how well a linear classifier names the classes of grey photographs from an encoder's last features.

    python benchmarks/probe.py --photos DIR --encoders resnet18:random resnet18:distilled efficientnet_lite2:imagenet

DIR holds a folder for each class. Features are means over the last map (1/32) of L enlarged to --size; the classifier
is scikit-learn's ridge regression on standardised features, its penalty chosen by leave-one-out in training.
After "Understanding intermediate layers using linear classifier probes", arXiv:1610.01644.
"""

import argparse
import copy
import json

import numpy as np
import torch
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn import functional as F

from colorize_lib.data.loader import make_dataloaders
from colorize_lib.data.manifest import PhotoConfig, find_photographs
from colorize_lib.files import OUTPUTS, write_text
from colorize_lib.models.encoders import build_encoder
from colorize_lib.runs.device import keep_freed_memory, seed_everything
from colorize_lib.runs.run import environment


@torch.no_grad()
def features(encoder: torch.nn.Module, dl, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (N,C) and the classes' numbers (N,) of a loader's photographs, in eval mode."""
    encoder.eval()
    found, labels = [], []
    for batch in dl.in_order():
        L = F.interpolate(batch["L"], size, mode="bilinear", align_corners=False)
        found.append(encoder(L)[-1].mean(dim=(2, 3)))
        labels.append(batch["label"])
    return torch.cat(found).cpu().numpy(), torch.cat(labels).cpu().numpy()


def probe(encoder: torch.nn.Module, train_dl, val_dl, size: int) -> dict:
    """Top-1 accuracy on the validation photographs, its standard error, and which were named right."""
    classifier = make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=np.logspace(1, 5, 9)))
    classifier.fit(*features(encoder, train_dl, size))
    seen, labels = features(encoder, val_dl, size)
    right = classifier.predict(seen) == labels
    error = float(right.std() / len(right) ** 0.5)
    return {"accuracy": float(right.mean()), "standard error": error, "photographs": len(right), "right": right * 1}


def fine_tuned(
    encoder: torch.nn.Module, few_dl, val_dl, classes: int, epochs: int = 30, lr: float = 1e-3
) -> np.ndarray:
    """Which validation photographs a copy of the encoder names right, 0 or 1, once it and a linear layer have learned
    from few; one cosine of AdamW."""
    encoder = copy.deepcopy(encoder).requires_grad_(True)
    net = torch.nn.ModuleDict({"encoder": encoder, "last": torch.nn.Linear(encoder.channels[4], classes)})
    net.to(few_dl.device)
    optimizer = torch.optim.AdamW(net.parameters(), lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, epochs * len(few_dl))
    for epoch in range(epochs):
        net.train()
        few_dl.set_epoch(epoch)
        for batch in few_dl:
            optimizer.zero_grad()
            answer = net["last"](encoder(batch["L"])[-1].mean(dim=(2, 3)))
            F.cross_entropy(answer, batch["label"]).backward()
            optimizer.step()
            schedule.step()
    net.eval()
    right = []
    with torch.no_grad():
        for batch in val_dl:
            answer = net["last"](encoder(batch["L"])[-1].mean(dim=(2, 3)))
            right.append(answer.argmax(dim=1) == batch["label"])
    return torch.cat(right).int().cpu().numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, help="a folder with a folder for each class")
    parser.add_argument(
        "--encoders", nargs="+", required=True, help="NAME:WEIGHTS, as models.encoders.build_encoder has"
    )
    parser.add_argument("--size", type=int, default=128, help="of the pictures that the encoder sees (%(default)s)")
    parser.add_argument("--n-images", type=int, default=0, help="how many photographs to draw; 0: all")
    options = parser.parse_args()
    keep_freed_memory()
    photos = find_photographs(PhotoConfig(source="folder", folder=options.photos, n_images=options.n_images), size=64)
    train_dl, val_dl = make_dataloaders(photos, 64, 100, labels=True)
    record = {"environment": environment(), "size": options.size, "classes": len(photos.classes), "probes": {}}
    for name in options.encoders:
        seed_everything(0)
        found = probe(build_encoder(*name.split(":", 1)), train_dl, val_dl, options.size)
        record["probes"][name] = {figure: value for figure, value in found.items() if figure != "right"}
        print(name, record["probes"][name], flush=True)
    write_text(OUTPUTS / "published" / "probe.json", json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
