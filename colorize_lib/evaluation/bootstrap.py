"""How sure a figure over images is: percentile bootstrap (Efron and Tibshirani, "An Introduction to the Bootstrap",
1993, section 13.3)."""

import numpy as np

RESAMPLES = 2_000
LEVEL = 0.95


def draw_counts(n_images: int, n: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """How often each of n_images is in each of n draws of as many images with replacement: (n, n_images).

    Two figures taken over the same counts are paired: their difference has the interval of a paired comparison.
    Raises ValueError for no images.
    """
    if n_images < 1:
        raise ValueError("there are no images to draw from")
    return np.random.default_rng(seed).multinomial(n_images, np.full(n_images, 1 / n_images), size=n)


def interval(draws: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The interval (low, high) that holds this share of the draws, with as many of them below it as above."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
