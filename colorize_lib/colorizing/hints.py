"""Hints: what colour something in a photograph has, told by whoever knows, and what the network would guess there."""

import csv
from collections.abc import Sequence
from pathlib import Path

import torch

from ..color import AB_SCALE, hex_to_ab, lab_to_rgb, to_uint8
from ..models.distribution import ColourDistribution

Hint = tuple[float, float, str]  # x and y in pixels of the upright photograph, from the left and the top; #rrggbb
APART = 20.0  # Lab units between two suggestions


def parse(text: str) -> Hint:
    """A hint written as x,y,#rrggbb. Raises ValueError."""
    try:
        x, y, colour = (part.strip() for part in text.split(","))
        hint = float(x), float(y), colour
    except ValueError:
        raise ValueError(
            f"hint {text!r}: give a place in pixels and its colour, x,y,#rrggbb: 310,120,#c03028"
        ) from None
    hex_to_ab(hint[2:])
    return hint


def read_csv(path: Path) -> list[Hint]:
    """The hints in a file with a line x,y,#rrggbb for each, below such a line with names or not. Raises ValueError."""
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(path.read_text("utf-8-sig").splitlines()) if row]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ValueError(f"hints {path} cannot be read ({reason}): give a file with lines x,y,#rrggbb") from error
    hints = []
    for row in rows[1:] if rows and rows[0][:2] == ["x", "y"] else rows:
        try:
            hints.append(parse(",".join(row)))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    if not hints:
        raise ValueError(f"{path} holds no hint: give lines x,y,#rrggbb")
    return hints


def points(hints: Sequence[Hint], size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """What `models.hints.HintNet` takes of hints in a photograph of this size (width, height): (1,K,2) twice.

    Raises ValueError for a hint outside of the photograph, and for one that names no colour.
    """
    width, height = size
    for hint in hints:
        x, y, _ = hint
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(f"hint {x:g},{y:g} lies outside of the photograph, which is {width} x {height} pixels")
    at = torch.tensor([[(x + 0.5) / width, (y + 0.5) / height] for x, y, _ in hints])
    return at[None], hex_to_ab([colour for *_, colour in hints])[None]


def suggest(
    head: ColourDistribution, L: torch.Tensor, logits: torch.Tensor, at: tuple[float, float], count: int = 6
) -> list[str]:
    """The likeliest colours #rrggbb of a place, the likeliest first and each unlike the others, by a belief's logits
    (1,Q,h,w) under the small L (1,1,S,S). at: x and y as shares of width and height."""

    def there(maps: torch.Tensor) -> torch.Tensor:
        column, row = (min(int(share * n), n - 1) for share, n in zip(at, maps.shape[:1:-1], strict=True))
        return maps[:, :, row : row + 1, column : column + 1].cpu()

    belief = head.belief(there(logits).to(logits.device), 1.0, 1.0).flatten().cpu()
    centres, chosen = head.centres.cpu(), []
    for candidate in belief.argsort(descending=True).tolist():
        if all((centres[candidate] - centres[other]).norm() >= APART for other in chosen):
            chosen.append(candidate)
    ab = centres[chosen[:count]].T[None, :, None] / AB_SCALE  # (1,2,1,count)
    levels = to_uint8(lab_to_rgb(there(L).expand(-1, -1, 1, ab.shape[3]), ab))[0, 0]
    return ["#" + bytes(level.tolist()).hex() for level in levels]
