"""How sure a mean is: the interval that it keeps when the same pictures, or scenes, are drawn again."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 10_000
HELD_NUMBERS = 2_000_000  # of draws at once: a few dozen megabytes, however many pictures there are

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Mean:
    """A mean over pictures and its 95 % interval; the ends are NaN where there is only one picture, or one scene."""

    mean: float
    low: float
    high: float

    @property
    def has_interval(self) -> bool:
        return not math.isnan(self.low)


def mean_of(values: Numbers, scenes: Sequence[str] | None = None) -> Mean:
    """The mean of (N,) values, at least one of them a number, and its percentile bootstrap interval, 10,000 draws.

    NaN is left out. Drawn are pictures; or, where `scenes` names the scene of each, whole scenes, since pictures
    of one scene err together and would make the interval too narrow. The mean stays that over pictures.
    """
    known = ~np.isnan(values)
    kept = values[known]
    groups = np.arange(len(kept)) if scenes is None else np.unique(np.asarray(scenes)[known], return_inverse=True)[1]
    sums, counts = (np.asarray(np.bincount(groups, x), np.float64) for x in (kept, np.ones(len(kept))))
    if len(sums) < 2:  # drawn again it is always the same, which says nothing about other pictures
        return Mean(float(kept.mean()), math.nan, math.nan)
    low, high = np.percentile(_drawn_means(sums, counts), [2.5, 97.5])
    return Mean(float(kept.mean()), float(low), float(high))


def _drawn_means(sums: Numbers, counts: Numbers) -> Numbers:  # (DRAWS,)
    """The means over pictures of as many groups as there are, drawn with replacement; the same draws each time."""
    random, size = np.random.default_rng(0), len(sums)
    rows = max(1, HELD_NUMBERS // size)
    means = []
    for start in range(0, DRAWS, rows):
        drawn = random.integers(0, size, (min(rows, DRAWS - start), size))
        means.append(sums[drawn].sum(1) / counts[drawn].sum(1))
    return np.concatenate(means)
