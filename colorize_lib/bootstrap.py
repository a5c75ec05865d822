"""How sure a mean over images is: percentile bootstrap (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
section 13.3)."""

import numpy as np


def mean_interval(
    values: np.ndarray, level: float = 0.95, n: int = 10_000, seed: int = 0
) -> tuple[float, float, float]:
    """The mean of one figure per image, (N,), and its interval (low, high) at this level.

    The images are drawn anew, with replacement, `n` times. For a paired comparison of two models, give the differences
    image by image: an interval without 0 is a difference that the images resolve.
    Raises ValueError for no values at all.
    """
    values = np.asarray(values, dtype=np.float64)
    if not len(values):
        raise ValueError("there are no values to take the mean of")
    rng = np.random.default_rng(seed)
    means = np.array([values[rng.integers(0, len(values), len(values))].mean() for _ in range(n)])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(values.mean()), float(low), float(high)
