"""Measures whether a restorer depends on the pixel at which an image's grain starts: crops by one pixel, in four ways.

    python benchmarks/phases.py PHOTOS... [--weights lite free]

For each photo and each kind of grain, a synthetic low-light image of 3 to 6 stops is made, with the first seed that
draws that kind. It is restored at the ground truth's stops as it is, and with a column, a row, or both cropped away.
Prints, in Markdown, the mean PSNR of the four, and how much they differ on one image, in PSNR and in mean brightness,
mean and maximum. Protocol: images of at most 600 px, R, G and B, range 1, results clipped and not rounded, no GT-mean;
all four are scored on the area that they share. Needs `pip install '.[train]'`.
"""

import argparse
from itertools import count, product
from pathlib import Path

import numpy as np
import torch
from do_no_harm import files, opened
from numpy.typing import NDArray
from torch import Tensor

from mirnet import metrics
from mirnet.datasets.counter_rng import CounterRNG, Stream
from mirnet.datasets.low_light_synthesis import GRAINS, darken_images, draw_grain_kind
from mirnet.datasets.target_exposure import solve_stops
from mirnet.inference import catalog
from mirnet.network import SceneNetwork, exported_weights
from mirnet.network.lite import expose

LONGEST_PX, STOPS = 600, (3.0, 6.0)
EDGE_PX = 8  # of the four crops that is not scored


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--weights", nargs="+", default=["lite", "free"])
    asked = parser.parse_args()
    photos = [unit(path) for path in files(asked.photos)]
    networks = {name: network(name) for name in asked.weights}
    print("| grain | weights | PSNR | the four differ by | their brightness, by |\n|---|---|---|---|---|")
    for grain in range(len(GRAINS)):
        pairs = [twin(photo, number, grain) for number, photo in enumerate(photos)]
        for name, each in networks.items():
            scores, means = np.moveaxis([of_four(each, *pair) for pair in pairs], 2, 0)  # each (N, 4)
            differ, brighter = np.ptp(scores, axis=1), 100 * np.ptp(means, axis=1) / means.mean(1)
            row = f"{scores.mean():.2f} dB | {differ.mean():.2f} dB, at most {differ.max():.1f}"
            row += f" | {brighter.mean():.2f} %, at most {brighter.max():.1f}"
            print(f"| {GRAINS[grain]} | {name} | {row} |", flush=True)


def network(name: str) -> SceneNetwork:
    weights = catalog.find(name)
    return exported_weights.read(weights.read_verified(), weights.card.architecture, weights.card.config, name).eval()


def unit(path: Path) -> Tensor:
    """A picture of at most `LONGEST_PX`, (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(opened(path, LONGEST_PX).transpose(2, 0, 1) / np.float32(255))[None]


def darkened(bright: Tensor, draws: CounterRNG) -> Tensor:
    return darken_images(bright, draws.between(Stream.STOPS_DARKER, *STOPS)[:, None, None, None], draws)


def twin(bright: Tensor, number: int, grain: int) -> tuple[Tensor, Tensor]:
    """A dark twin with grain of that kind, and the photograph, (1, 3, H, W) in [0, 1]."""
    every = (CounterRNG(seed, 0, torch.tensor([number])) for seed in count())
    draws = next(each for each in every if int(draw_grain_kind(each)) == grain)
    return darkened(bright, draws), bright


def restored(restorer: SceneNetwork, dark: Tensor, stops: Tensor) -> Tensor:
    return restorer(expose(dark, stops), stops.expand(-1, 1, *dark.shape[2:])).clamp(0, 1)


@torch.no_grad()
def of_four(restorer: SceneNetwork, dark: Tensor, bright: Tensor) -> list[tuple[float, float]]:
    """PSNR and mean of the result, four times: as it is, with a column, a row, both cropped away."""
    stops = solve_stops(dark, bright)
    height, width = (side - 1 for side in dark.shape[2:])
    truth = _inner(bright, 0, 0, height, width)
    results = []
    for top, left in product((0, 1), repeat=2):
        crop = dark[:, :, top : top + height, left : left + width]
        result = _inner(restored(restorer, crop, stops), top, left, height, width)
        results.append((metrics.psnr(result, truth), float(result.mean())))
    return results


def _inner(picture: Tensor, top: int, left: int, height: int, width: int) -> NDArray[np.float32]:
    """What all four crops show, (h, w, 3), without their edges, of one that begins at (top, left)."""
    rows, columns = slice(EDGE_PX - top, height - EDGE_PX - top), slice(EDGE_PX - left, width - EDGE_PX - left)
    return np.asarray(picture[0, :, rows, columns].permute(1, 2, 0).numpy())


if __name__ == "__main__":
    main()
