"""The pairs of a test: drawn by seed, saved before anyone sees them, and never changed once there are answers."""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from PIL import Image

from ... import color
from ...color import to_lab
from ...files import atomic_path

if TYPE_CHECKING:  # who serves a test needs neither networks nor photographs
    from ...data.loader import LabLoader
    from ...evaluation.answers import Paint

PRACTICE, SCORED, VIGILANCE = 10, 40, 4  # vigilance: 10 % of the scored ones, added to them
COLUMNS = ["pair", "kind", "photograph", "fake_side", "truth", "fake"]


@dataclass(frozen=True)
class PairList:
    """A folder with pairs.csv, pictures/ and answers/. pairs.csv has a row a pair: its number, its kind (practice,
    scored, vigilance), which photograph, on which side the fake is (left, right), and both files."""

    folder: Path

    @property
    def table(self) -> pd.DataFrame:
        """pairs.csv. Raises FileNotFoundError that says how to make it."""
        path = self.folder / "pairs.csv"
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist: notebook 06 draws the pairs")
        return pd.read_csv(path)

    @property
    def digest(self) -> str:
        """What tells this list and its pictures from any other; every answer carries it."""
        digest = hashlib.sha256((self.folder / "pairs.csv").read_bytes())
        for name in sorted({*self.table.truth, *self.table.fake}):
            digest.update((self.folder / name).read_bytes())
        return digest.hexdigest()[:12]

    @property
    def answers(self) -> Path:
        """The folder of the raters' CSVs."""
        return self.folder / "answers"


def draw_pairs(n_photographs: int, seed: int) -> pd.DataFrame:
    """Which photographs are shown in which order, on which side: a row a pair, without the files.

    The practice pairs come first, then the scored ones with the vigilance pairs strewn among them. No photograph is
    shown twice unless there are fewer than there are pairs; then all are used before any comes again.
    Raises ValueError for no photographs.
    """
    if n_photographs < 1:
        raise ValueError("there are no photographs to draw pairs from")
    rng = np.random.default_rng(seed)
    kinds = ["scored"] * SCORED + ["vigilance"] * VIGILANCE
    rng.shuffle(kinds)
    kinds = ["practice"] * PRACTICE + kinds
    order = [int(i) for _ in range(-(-len(kinds) // n_photographs)) for i in rng.permutation(n_photographs)]
    sides = rng.choice(["left", "right"], len(kinds))
    rows = {"pair": range(len(kinds)), "kind": kinds, "photograph": order[: len(kinds)], "fake_side": sides}
    return pd.DataFrame(rows)


def write_pairs(folder: Path, paint: "Paint", dl: "LabLoader", seed: int = 0) -> PairList:
    """Draw the pairs of a test from the photographs of a loader, and write them and their pictures.

    paint: the answer to be judged. The fakes of vigilance pairs have the true colours turned round and a purple cast.
    If the folder holds other pairs already, those are moved to `FOLDER-DIGEST` with all their answers.
    """
    pairs = draw_pairs(len(dl.dataset), seed)
    fresh = folder.with_name(f".{folder.name}.partial")
    (fresh / "pictures").mkdir(parents=True, exist_ok=True)
    # Names that tell nothing: whoever looks at the page's traffic does not learn which one is the fake.
    names = np.random.default_rng((seed, 1)).permutation(2 * len(pairs))
    pairs["truth"] = [f"pictures/{name:03d}.png" for name in names[::2]]
    pairs["fake"] = [f"pictures/{name:03d}.png" for name in names[1::2]]
    for row in pairs.itertuples():
        L, ab = to_lab(dl.dataset.rgb(np.array([row.photograph])).to(dl.device))
        fake = color.lab_to_rgb(L, _obviously_wrong(ab)) if row.kind == "vigilance" else paint(L)
        _save(color.lab_to_rgb(L, ab), fresh / row.truth)
        _save(fake, fresh / row.fake)
    with atomic_path(fresh / "pairs.csv") as partial:
        pairs[COLUMNS].to_csv(partial, index=False)
    return _keep(PairList(fresh), PairList(folder))


def _keep(fresh: PairList, final: PairList) -> PairList:
    """Put the fresh list in its place, unless the same one is there already."""
    if (final.folder / "pairs.csv").exists():
        if final.digest == fresh.digest:
            shutil.rmtree(fresh.folder)
            return final
        final.folder.rename(final.folder.with_name(f"{final.folder.name}-{final.digest}"))
    elif final.folder.exists():
        shutil.rmtree(final.folder)
    fresh.folder.rename(final.folder)
    return final


def _obviously_wrong(ab: torch.Tensor) -> torch.Tensor:
    """The opposite of every colour, and a purple cast of 40 Lab units for those that have none."""
    return (-1.5 * ab + ab.new_tensor([40.0, -40.0])[None, :, None, None] / color.AB_SCALE).clamp(-1, 1)


def _save(rgb: torch.Tensor, path: Path) -> None:
    Image.fromarray(color.to_uint8(rgb)[0].numpy()).save(path)
