"""Keep the colours of a film's frames in step with those of the frame before.

Each frame's small colours are mixed with the last ones, brought along the optical flow between both small grey frames:
that of Kroeger et al., "Fast optical flow using dense inverse search" (2016), OpenCV's. On pans and zooms of 192 px it
errs by 0.04 to 0.13 px in 3 ms; scikit-image's TV-L1 by 0.02 to 0.09 in 200, its iterative Lucas-Kanade by 0.2 to 1.7
in 110. The check that tells what was not seen before is that of Sundaram et al., "Dense point trajectories" (2010).
"""

from dataclasses import dataclass, field

import numpy as np

try:
    import cv2
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        "films and --frames need OpenCV: pip install 'colorize-lab[film]', or av and opencv-python-headless alone"
    ) from None

KEPT = 0.85  # share of the last colours where a pixel was seen before
CUT = 0.4  # a frame of which less than this share was seen before begins anew
CHANGED = 0.12  # of the range of L, after the mean change is taken out: what differs more is another thing


@dataclass
class Steadier:
    """Called with one frame's small L after the other, with its colours, it gives them steadied.

    last: L (S,S) and steadied ab (2,S,S) of the last frame: all that it remembers. None begins anew. cuts: how often it
    began anew since.
    """

    last: tuple[np.ndarray, np.ndarray] | None = None
    cuts: int = 0
    _flow: object = field(default_factory=lambda: cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM))

    def __call__(self, L: np.ndarray, ab: np.ndarray) -> np.ndarray:
        """float32 L (S,S) in [-1,1] and ab (2,S,S) to steadied ab (2,S,S)."""
        if self.last is not None:
            before, colours = self.last
            flow, seen = self.flow(L, before)
            if seen.mean() < CUT:
                self.cuts += 1
            else:
                share = KEPT * cv2.GaussianBlur(seen, (0, 0), 1.0) * seen
                ab = share * np.stack([_follow(of, flow) for of in colours]) + (1 - share) * ab
        self.last = L, ab
        return ab

    def flow(self, L: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where in the frame before each pixel came from, relative (S,S,2), and 1.0 where that is to be believed (S,S):
        inside, come back to by the opposite flow, and of like lightness."""
        now, then = (((of + 1) * 127.5).clip(0, 255).astype(np.uint8) for of in (L, before))
        back, forth = self._flow.calc(now, then, None), self._flow.calc(then, now, None)
        returned = back + _follow(forth, back)
        reach = (back**2).sum(axis=2) + (_follow(forth, back) ** 2).sum(axis=2)
        to, (height, width) = _places(back), L.shape
        inside = (to >= 0).all(axis=2) & (to[..., 0] <= width - 1) & (to[..., 1] <= height - 1)
        change = L - _follow(before, back)
        like = np.abs(change - np.median(change)) < 2 * CHANGED
        return back, (inside & like & ((returned**2).sum(axis=2) < 0.01 * reach + 0.5)).astype(np.float32)


def _places(flow: np.ndarray) -> np.ndarray:
    rows, columns = np.indices(flow.shape[:2], dtype=np.float32)
    return flow + np.stack([columns, rows], axis=2)


def _follow(values: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Values (S,S) or (S,S,C) of the places that a flow points to."""
    return cv2.remap(values, _places(flow), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
