"""What the systems look like, drawn: the U-Net, the PatchGAN, and one step of training."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

DOWN, UP, SKIP, TRUE, PAINTED = "tab:blue", "tab:orange", "0.6", "tab:green", "tab:orange"


def unet(size: int, n_down: int, num_filters: int) -> Figure:
    """The U-Net of `models.unet.Unet`: its levels with their sides and channels, and the skip connections."""
    figure, axis = _blank(9, 4.2, (-1.2, 2 * n_down + 1.2), (-n_down - 0.6, 1))
    channels = [min(num_filters * 2**k, num_filters * 8) for k in range(n_down)]
    levels = [(size, 1), *((size >> (k + 1), channels[k]) for k in range(n_down))]
    for level, (side, depth) in enumerate(levels):
        for x, colour in ((level, DOWN), (2 * n_down - level, UP)):
            if level == n_down and colour == UP:
                continue
            shown = 2 if level == 0 and colour == UP else depth
            height = 0.25 + 0.6 * side / size
            axis.add_patch(plt.Rectangle((x - 0.16, -level - height / 2), 0.32, height, color=colour, alpha=0.85))
            beside = {"ha": "right" if colour == DOWN else "left", "va": "center", "fontsize": 7}
            axis.text(x + (-0.22 if colour == DOWN else 0.22), -level, f"{side}²×{shown}", **beside)
        if level < n_down:
            _arrow(axis, (level + 0.2, -level - 0.1), (level + 0.8, -level - 0.9), DOWN)
            _arrow(axis, (2 * n_down - level - 0.8, -level - 0.9), (2 * n_down - level - 0.2, -level - 0.1), UP)
        if 0 < level < n_down:
            _arrow(axis, (level + 0.25, -level), (2 * n_down - level - 0.25, -level), SKIP, "--")
    axis.text(n_down, 0.4, "L in, left; ab out, right; dashed: skip connections, concatenated", ha="center", fontsize=9)
    return figure


def patchgan(size: int, n_down: int) -> Figure:
    """The PatchGAN of `models.patchgan.PatchDiscriminator`: each logit judges a patch of the picture."""
    patch, logits = 18 * 2 ** (n_down - 1) - 2, size // 2**n_down - 2
    figure, axis = _blank(7, 3, (-0.2, 5.2), (-0.3, 2.3))
    axis.add_patch(plt.Rectangle((0, 0), 2, 2, fill=False, color="0.3"))
    side = 2 * min(patch / size, 1)
    axis.add_patch(plt.Rectangle((0.5, 0.7), side, side, color=DOWN, alpha=0.4))
    axis.text(1, -0.05, f"[L, ab], {size} px", ha="center", va="top", fontsize=9)
    axis.add_patch(plt.Rectangle((3.4, 0.4), 1.2, 1.2, fill=False, color="0.3"))
    axis.add_patch(plt.Rectangle((3.4 + 0.45, 0.4 + 0.6), 0.08, 0.08, color=DOWN))
    axis.text(4, 0.32, f"{logits}×{logits} logits: true or painted?", ha="center", va="top", fontsize=9)
    _arrow(axis, (0.5 + side, 0.7 + side / 2), (3.82, 1.04), DOWN)
    axis.text(2.7, 1.35, f"each sees {patch}×{patch} px", ha="center", fontsize=9)
    return figure


def training_step() -> Figure:
    """One step: forward once, D on both, then G with D frozen."""
    figure, axis = _blank(9, 3.2, (0, 9), (0, 3.2))
    boxes = {
        "L": (0.7, 1.6, "0.4"), "G": (2.3, 1.6, UP), "painted ab": (4.1, 1.6, PAINTED), "true ab": (4.1, 0.5, TRUE),
        "D": (5.9, 1.6, DOWN), "loss D\nfake 0, true 1": (7.9, 2.6, DOWN), "loss G\nD says true + λ L1": (7.9, 0.9, UP),
    }  # fmt: skip
    for name, (x, y, colour) in boxes.items():
        style = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": colour, "linewidth": 2}
        axis.add_patch(FancyBboxPatch((x - 0.55, y - 0.25), 1.1, 0.5, **style))
        axis.text(x, y, name, ha="center", va="center", fontsize=8)
    lines = [("L", "G"), ("G", "painted ab"), ("painted ab", "D"), ("true ab", "D"), ("D", "loss D\nfake 0, true 1")]
    for one, other in [*lines, ("D", "loss G\nD says true + λ L1"), ("true ab", "loss G\nD says true + λ L1")]:
        (x, y, colour), (to_x, to_y, _) = boxes[one], boxes[other]
        _arrow(axis, (x + 0.7, y), (to_x - 0.72, to_y), colour)
    axis.text(
        4.1, 2.85, "1  G paints once   2  D learns: L beside both   3  D frozen, G learns", ha="center", fontsize=9
    )
    return figure


def _blank(width: float, height: float, x: tuple[float, float], y: tuple[float, float]) -> tuple[Figure, Axes]:
    figure, axis = plt.subplots(figsize=(width, height), layout="constrained")
    axis.set(xlim=x, ylim=y)
    axis.axis("off")
    return figure, axis


def _arrow(axis: Axes, start: tuple, end: tuple, colour: str, style: str = "-") -> None:
    arrow = {"arrowstyle": "-|>", "color": colour, "linestyle": style, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", end, start, arrowprops=arrow)
