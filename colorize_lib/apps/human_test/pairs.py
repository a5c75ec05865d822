"""A two-alternative forced choice: which of two pictures has the fake colours?

The protocol is that of Zhang et al., "Colorful image colorization", arXiv:1603.08511, section 3.1: each picture is seen
for one second, then there is no limit to answer. Pairs are drawn by seed, saved before anyone sees them, and never
changed once there are answers; `server` shows them, `results` reads the answers.
"""

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

if TYPE_CHECKING:  # who serves a test needs neither networks nor photographs
    from ...data.loader import LabLoader
    from ...evaluation.answers import Paint

PRACTICE, SCORED, VIGILANCE = 10, 40, 4  # vigilance: 10 % of the scored ones, added to them


@dataclass(frozen=True)
class PairList:
    """A folder with pairs.csv, pictures/ and answers/. A row of pairs.csv: pair (its number), kind (practice, scored,
    vigilance), photograph, fake_side (left, right), and both files, truth and fake."""

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
        names = ["pairs.csv", *sorted({*self.table.truth, *self.table.fake})]
        return hashlib.sha256(b"".join((self.folder / name).read_bytes() for name in names)).hexdigest()[:12]

    def names(self, number: int, seed: int) -> tuple[list[str], list[str]]:
        """Files for so many pairs, (truths, fakes), whose names tell nothing: whoever looks at the page's traffic does
        not learn which one is the fake."""
        order = np.random.default_rng((seed, 1)).permutation(2 * number)
        names = [f"pictures/{name:03d}.png" for name in order]
        return names[::2], names[1::2]

    @property
    def answers(self) -> Path:
        """The folder of the raters' CSVs."""
        return self.folder / "answers"


def draw_pairs(n_photographs: int, seed: int, practice: int | None = None) -> pd.DataFrame:
    """Which photographs are shown in which order, on which side: a row a pair, without the files.

    The practice pairs come first, then the scored ones with the vigilance pairs strewn among them. All photographs are
    used before any comes again. Raises ValueError for no photographs.
    """
    if n_photographs < 1:
        raise ValueError("there are no photographs to draw pairs from")
    rng = np.random.default_rng(seed)
    kinds = ["scored"] * SCORED + ["vigilance"] * VIGILANCE
    rng.shuffle(kinds)
    kinds = ["practice"] * (PRACTICE if practice is None else practice) + kinds
    order = np.concatenate([rng.permutation(n_photographs) for _ in range(-(-len(kinds) // n_photographs))])
    sides = rng.choice(["left", "right"], len(kinds))
    rows = {"pair": range(len(kinds)), "kind": kinds, "photograph": order[: len(kinds)], "fake_side": sides}
    return pd.DataFrame(rows)


def write_pairs(folder: Path, paint: "Paint", dl: "LabLoader", seed: int = 0) -> PairList:
    """Draw the pairs of a test from the photographs of a loader, and write them and their pictures.

    paint: the answer to be judged. The fakes of vigilance pairs have the opposite of every colour, and a purple cast.
    Other pairs in the folder are moved as `keep` does.
    """
    pairs = draw_pairs(len(dl.dataset), seed)
    fresh = PairList(folder.with_name(f".{folder.name}.partial"))
    (fresh.folder / "pictures").mkdir(parents=True, exist_ok=True)
    pairs["truth"], pairs["fake"] = fresh.names(len(pairs), seed)
    for row in pairs.itertuples():
        L, ab = color.to_lab(dl.dataset.rgb(np.array([row.photograph])).to(dl.device))
        truth = _picture(color.lab_to_rgb(L, ab))
        truth.save(fresh.folder / row.truth)
        (purple(truth) if row.kind == "vigilance" else _picture(paint(L))).save(fresh.folder / row.fake)
    return keep(fresh, pairs, folder)


def purple(picture: Image.Image) -> Image.Image:
    """An RGB picture with the opposite of every colour, and a purple cast: obviously wrong."""
    L, ab = color.to_lab(torch.from_numpy(np.array(picture))[None])
    cast = ab.new_tensor([40.0, -40.0])[:, None, None] / color.AB_SCALE
    return _picture(color.lab_to_rgb(L, (cast - 1.5 * ab).clamp(-1, 1)))


def _picture(rgb: torch.Tensor) -> Image.Image:
    return Image.fromarray(color.to_uint8(rgb)[0].numpy())


def keep(fresh: PairList, pairs: pd.DataFrame, folder: Path) -> PairList:
    """Put pairs, whose pictures lie in the folder of `fresh`, in their place. If that holds other pairs already, those
    are moved to `FOLDER-DIGEST` with all their answers; the same ones stay."""
    final = PairList(folder)
    pairs.to_csv(fresh.folder / "pairs.csv", index=False)
    if (folder / "pairs.csv").exists():
        if final.digest == fresh.digest:
            shutil.rmtree(fresh.folder)
            return final
        folder.rename(folder.with_name(f"{folder.name}-{final.digest}"))
    elif folder.exists():
        shutil.rmtree(folder)
    fresh.folder.rename(folder)
    return final
