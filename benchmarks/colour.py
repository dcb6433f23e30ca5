"""Measures how much of strong colours is kept.

    python benchmarks/colour.py PHOTOS... [--weights lite free]       # synthetic low-light images, not desaturated
    python benchmarks/colour.py --data PAIRS [--weights lite free]

Dark images are restored at the ground truth's stops. *Strong colours* are the pixels whose ground truth has a chroma of
20 or more in CIELAB; the kept share is the projection of the result's (a, b) on the ground truth's, divided by the
latter: 1 for equal strength, less for paler colours or another hue. Prints, in Markdown, mean, median and minimum over
images with at least 1 % of such pixels, and the mean CIEDE2000 of all pixels. Protocol: images of at most 600 px, sRGB,
results clipped and not rounded, no GT-mean. Needs `pip install '.[train,evaluate]'`.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from do_no_harm import files
from phases import darkened, network, restored, unit
from skimage.color import rgb2lab
from torch import Tensor

from mirnet.datasets.counter_rng import CounterRNG
from mirnet.datasets.target_exposure import solve_stops
from mirnet.evaluation.colour_difference import ciede2000
from mirnet.metrics import ImageArray
from mirnet.network import SceneNetwork
from mirnet.pairs import find_pairs

STRONG, LEAST_SHARE = 20.0, 0.01  # chroma in CIELAB, and of how many pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--data", type=Path, help="a folder of pairs")
    parser.add_argument("--weights", nargs="+", default=["lite", "free"])
    asked = parser.parse_args()
    if not (asked.photos or asked.data):
        parser.error("Expected photographs or --data PAIRS; got neither.")
    pairs = [*twins(asked.photos), *(of_folder(asked.data) if asked.data else ())]
    print("| weights | pictures | kept of strong colours: mean, median, least | CIEDE2000 |\n|---|---|---|---|")
    for name in asked.weights:
        restorer = network(name)
        kept, apart = zip(*(measured(restorer, *pair) for pair in pairs), strict=True)
        strong = [each for each in kept if each is not None]
        shares = f"{np.mean(strong):.3f}, {np.median(strong):.3f}, {min(strong):.2f}"
        print(f"| {name} | {len(strong)} of {len(pairs)} | {shares} | {np.mean(apart):.2f} |", flush=True)


def twins(photos: list[Path]) -> Iterator[tuple[Tensor, Tensor]]:
    """A dark twin of each photograph, none of them dulled, and the photograph, (1, 3, H, W) in [0, 1]."""
    for number, path in enumerate(files(photos)):
        bright = unit(path)
        yield darkened(bright, CounterRNG(0, 0, torch.tensor([number]))), bright


def of_folder(folder: Path) -> Iterator[tuple[Tensor, Tensor]]:
    for pair in find_pairs(folder):
        yield unit(pair.dark), unit(pair.bright)


@torch.no_grad()
def measured(restorer: SceneNetwork, dark: Tensor, bright: Tensor) -> tuple[float | None, float]:
    """What is kept of strong colours, None where there are too few, and the mean CIEDE2000."""
    result = restored(restorer, dark, solve_stops(dark, bright))
    pictures = [each[0].permute(1, 2, 0).numpy() for each in (result, bright)]
    return kept_of_strong(*pictures), ciede2000(*pictures)


def kept_of_strong(result: ImageArray, truth: ImageArray) -> float | None:
    there, wanted = (rgb2lab(picture.astype(np.float64))[..., 1:] for picture in (result, truth))
    strong = np.hypot(wanted[..., 0], wanted[..., 1]) >= STRONG
    if strong.mean() < LEAST_SHARE:
        return None
    return float((there * wanted)[strong].sum() / (wanted[strong] ** 2).sum())


if __name__ == "__main__":
    main()
