"""The target's exposure: the stops that lead from a dark image to its bright partner."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mirnet.datasets.reading import ImageArray
from mirnet.network.lite import expose, to_encoded, to_linear

MAP_LONG, MAP_SHORT = 12, 8  # cells of a target's stops map along the long and the short side


@dataclass(frozen=True)
class TargetExposure:
    """The stops that lead from a dark image to its bright partner: one number, and a map of cells."""

    stops: float
    cells: Tensor  # (12, 12), the first `size` of it in use
    size: tuple[int, int]


@dataclass(frozen=True)
class TargetExposures:
    """The target exposures of P pairs, one tensor for each part."""

    stops: Tensor  # (P,)
    maps: Tensor  # (P, 12, 12)
    sizes: Tensor  # (P, 2): how many rows and columns of a map are in use

    @staticmethod
    def of(target_exposures: Sequence[TargetExposure]) -> "TargetExposures":
        return TargetExposures(
            torch.tensor([truth.stops for truth in target_exposures]),
            torch.stack([truth.cells for truth in target_exposures])
            if target_exposures
            else torch.zeros(0, MAP_LONG, MAP_LONG),
            torch.tensor([truth.size for truth in target_exposures], dtype=torch.int64).reshape(-1, 2),
        )


def solve_target_exposure(dark: ImageArray, bright: ImageArray) -> TargetExposure:
    """Find the stops of a pair (3, H, W) with which the means agree, averaged over 5x5 pixels in linear light.

    On raw pixels noise would bias it (by 0.1 stops in the mean on LOL). Cells stay within 3 stops of
    the image's number: a black cell says nothing.
    """
    small_dark, small_bright = (_averaged(picture) for picture in (dark, bright))
    height, width = small_dark.shape[2:]
    size = (MAP_SHORT, MAP_LONG) if height <= width else (MAP_LONG, MAP_SHORT)
    size = (min(size[0], height), min(size[1], width))
    stops = _solve(small_dark, small_bright, (1, 1), torch.zeros(1, 1, 1, 1), 12.0)
    cells = torch.zeros(MAP_LONG, MAP_LONG)
    cells[: size[0], : size[1]] = _solve(small_dark, small_bright, size, stops, 3.0)[0, 0]
    return TargetExposure(float(stops), cells, size)


def solve_stops(dark: Tensor, bright: Tensor) -> Tensor:
    """Find the stops (B, 1, 1, 1) that lead from dark to bright images (B, 3, H, W), sRGB-encoded float32 in [0, 1]."""
    small_dark, small_bright = _smoothed(to_linear(dark)), _smoothed(to_linear(bright))
    return _solve(small_dark, small_bright, (1, 1), torch.zeros(len(dark), 1, 1, 1, device=dark.device), 12.0)


def _averaged(picture: ImageArray) -> Tensor:  # (3, H, W) integers -> (1, 3, h, w) float32
    return _smoothed(to_linear(torch.from_numpy(picture.astype(np.float32)) / np.iinfo(picture.dtype).max)[None])


def _smoothed(linear: Tensor) -> Tensor:  # (B, 3, H, W) linear light -> (B, 3, h, w) encoded
    return to_encoded(F.avg_pool2d(linear, min(5, *linear.shape[2:])))


def _solve(dark: Tensor, bright: Tensor, size: tuple[int, int], centre: Tensor, limit: float) -> Tensor:
    """Stops (B, 1, *size) by bisection: the mean of each cell of the exposed dark image is the bright one's."""
    target = F.adaptive_avg_pool2d(bright.mean(1, keepdim=True), size)
    low, high = (centre - limit).expand(target.shape).clone(), (centre + limit).expand(target.shape).clone()
    for _ in range(18):  # 24 stops halved 18 times: 1e-4
        middle = (low + high) / 2
        exposed = expose(dark, F.interpolate(middle, size=dark.shape[2:], mode="nearest-exact"))
        too_dark = F.adaptive_avg_pool2d(exposed.mean(1, keepdim=True), size) < target
        low, high = torch.where(too_dark, middle, low), torch.where(too_dark, high, middle)
    return (low + high) / 2
