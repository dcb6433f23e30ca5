"""Measures how differently one view was exposed in the pairs: a limit for any head that sees content only.

    python benchmarks/taste.py --data LOL [--names benchmarks/splits/lol-train.txt]

Bright images show *one view* if their thumbnails' lightness correlates by more than 0.95, directly or through a third.
The brightness of each is measured in stops: those that bring its mean sRGB value to 0.45. A head that knew the mean
exposure of each view would still err by the standard deviation within views. Copies of one file count once. The
interval is a bootstrap over views.
"""

import argparse
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mirnet.datasets.reading import read_rgb, to_unit
from mirnet.datasets.target_exposure import solve_stops
from mirnet.pairs import find_pairs
from mirnet.thumbnail import make_thumbnail

MIDDLE = 0.45  # a mean sRGB value
ONE_VIEW = 0.95  # correlation
RESAMPLES = 2_000
Floats = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder of pairs")
    parser.add_argument("--names", type=Path, help="which pairs, one name a line")
    asked = parser.parse_args()
    small = [make_thumbnail(to_unit(read_rgb(pair.bright))) for pair in find_pairs(asked.data, names=asked.names)]
    small = list({each.tobytes(): each for each in small}.values())
    stops = np.array([stops_to_middle(each) for each in small])
    several = [stops[list(view)] for view in one_view(small) if len(view) > 1]
    print(f"{len(small)} different bright pictures lie {stops.std(ddof=1):.2f} stops about their mean (1 sigma).")
    print(f"{sum(map(len, several))} of them are of {len(several)} views that were photographed more than once.")
    low, high = interval(several)
    print(f"About the mean of their view they lie {spread(several):.2f} stops (95 % interval {low:.2f} to {high:.2f}).")


def stops_to_middle(picture: NDArray[np.float32]) -> float:  # (h, w, 3)
    tensor = torch.from_numpy(picture.transpose(2, 0, 1).copy())[None]
    return float(solve_stops(tensor, torch.full_like(tensor, MIDDLE)))


def one_view(small: Sequence[NDArray[np.float32]]) -> list[set[int]]:
    """The positions of thumbnails, grouped by what they show; those of other sizes are other views."""
    lightness = [each.mean(2).ravel() for each in small]
    views = {place: {place} for place in range(len(small))}
    for a, b in itertools.combinations(range(len(small)), 2):
        same_size = small[a].shape == small[b].shape
        if views[a] is not views[b] and same_size and np.corrcoef(lightness[a], lightness[b])[0, 1] > ONE_VIEW:
            views[a] |= views[b]
            views |= dict.fromkeys(views[b], views[a])
    return list({id(view): view for view in views.values()}.values())


def spread(views: Sequence[Floats]) -> float:
    """The standard deviation within views, pooled."""
    squares = sum(float(((view - view.mean()) ** 2).sum()) for view in views)
    return math.sqrt(squares / sum(len(view) - 1 for view in views))


def interval(views: Sequence[Floats]) -> tuple[float, float]:
    random = np.random.default_rng(0)
    drawn = [spread([views[place] for place in random.integers(len(views), size=len(views))]) for _ in range(RESAMPLES)]
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)


if __name__ == "__main__":
    main()
