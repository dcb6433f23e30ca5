"""The 95 % interval of a mean over images, by the percentile bootstrap over images or whole scenes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
RESAMPLED_AT_ONCE = 2_000_000  # numbers at once: a few dozen megabytes, however many images there are

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Mean:
    """A mean over images and its 95 % interval; the ends are NaN where there is only one image, or one scene."""

    mean: float
    low: float
    high: float

    @property
    def has_interval(self) -> bool:
        return not math.isnan(self.low)


def mean_with_interval(values: Numbers, scenes: Sequence[str] | None = None) -> Mean:
    """The mean of (N,) values, at least one of them a number, and its percentile bootstrap interval, 10,000 draws.

    NaN is left out. Where `scenes` names the scene of each value, whole scenes are resampled instead of images, since
    the errors of one scene's images agree and would make the interval too narrow. The mean stays that over images.
    """
    known = ~np.isnan(values)
    kept = values[known]
    groups = np.arange(len(kept)) if scenes is None else np.unique(np.asarray(scenes)[known], return_inverse=True)[1]
    sums, counts = (np.asarray(np.bincount(groups, x), np.float64) for x in (kept, np.ones(len(kept))))
    if len(sums) < 2:  # every resample would equal it, which says nothing about other images
        return Mean(float(kept.mean()), math.nan, math.nan)
    low, high = np.percentile(_resampled_means(sums, counts), [2.5, 97.5])
    return Mean(float(kept.mean()), float(low), float(high))


def _resampled_means(sums: Numbers, counts: Numbers) -> Numbers:  # (DRAWS,)
    """The means over images of as many groups as there are, drawn with replacement by a fixed seed."""
    random, size = np.random.default_rng(0), len(sums)
    rows = max(1, RESAMPLED_AT_ONCE // size)
    means = []
    for start in range(0, RESAMPLES, rows):
        drawn = random.integers(0, size, (min(rows, RESAMPLES - start), size))
        means.append(sums[drawn].sum(1) / counts[drawn].sum(1))
    return np.concatenate(means)
