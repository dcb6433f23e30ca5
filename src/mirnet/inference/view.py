"""`View`: what a screen shows of an image, all of it or a region; and an image's pixels as a screen shows them."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mirnet.errors import SettingsError
from mirnet.exposure import to_encoded
from mirnet.images.orientation import turn_upright
from mirnet.inference import tiles
from mirnet.inference.blending import Pixels, to_linear_light, to_srgb_primaries, to_unit_range
from mirnet.inference.catalog import Card
from mirnet.inference.source import ImageSource
from mirnet.inference.tiles import Span

Screen = NDArray[np.uint8]  # (h, w, 3 or 4), sRGB, upright

MAX_VIEW_PX = 8_300_000  # of a view of all of an image: the finest screens
MAX_REGION_PX = tiles.MAX_ONE_PIECE_PX  # of a region at its own pixels


@dataclass(frozen=True)
class View:
    """What a screen shows of an image: all of it with at most `pixels` pixels, or a region at its own pixels.

    `region` is (x, y, width, height) in the upright image. Raises SettingsError for values out of range.
    """

    pixels: int = 350_000
    region: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.pixels <= MAX_VIEW_PX:
            raise SettingsError(f"pixels must be 1 to {MAX_VIEW_PX:,}, not {self.pixels}.")
        if self.region is not None and (min(self.region[:2]) < 0 or min(self.region[2:]) < 1):
            raise SettingsError(f"region must be x,y,width,height within the image, not {self.region}.")
        area_px = 0 if self.region is None else self.region[2] * self.region[3]
        if area_px > MAX_REGION_PX:
            raise SettingsError(f"region must have at most {MAX_REGION_PX:,} pixels, not {area_px:,}.")

    def stored_region(self, source: ImageSource) -> tuple[slice, slice]:
        """The rows and columns of the region in the order in which the image is stored; the whole image without one.

        Raises SettingsError for a region that reaches beyond the image.
        """
        if self.region is None:
            return slice(0, source.height), slice(0, source.width)
        turned = source.orientation >= 5
        width_px, height_px = (source.height, source.width) if turned else (source.width, source.height)
        x, y, width, height = self.region
        if x + width > width_px or y + height > height_px:
            raise SettingsError(f"region must lie within {width_px} x {height_px} pixels; {self.region} does not.")
        corners = ((y, x), (y + height - 1, x + width - 1))
        windows = []
        for numbers in (np.arange(source.height)[:, None], np.arange(source.width)[None]):
            # a broadcast view: nothing of the image's size is written
            oriented = turn_upright(np.broadcast_to(numbers, (source.height, source.width)), source.orientation)
            first, last = sorted(int(oriented[corner]) for corner in corners)
            windows.append(slice(first, last + 1))
        return windows[0], windows[1]


@dataclass(frozen=True, eq=False)
class RenderedView:
    """The pixels of an enhanced view, and the mean of the stops that the image got."""

    pixels: Screen
    stops: float


@dataclass(frozen=True, eq=False)
class Layers:
    """A view in three states, (h, w, 3) each; a view with any denoise and strength is a blend of these."""

    exposed: Screen
    restored: Screen
    automatic: Screen  # with denoise "auto"
    stops: float


def span_with_context(window: slice, size: int, card: Card) -> Span:
    """A window along one side of an image with the input that the network needs for it, on the network's grid."""
    start = max(window.start - card.overlap_px, 0) // card.size_multiple * card.size_multiple
    return Span(window, slice(start, min(window.stop + card.overlap_px, size)))


def split_window(window: slice) -> list[slice]:
    """A window cut into parts of about equal length, none longer than a tile."""
    count = -(-(window.stop - window.start) // tiles.TILE_PX)
    edges = np.linspace(window.start, window.stop, count + 1).astype(int).tolist()
    return [slice(*ends) for ends in pairwise(edges)]


def relative_to(window: slice, outer: slice) -> slice:
    """The window counted from the start of an outer one."""
    return slice(window.start - outer.start, window.stop - outer.start)


def to_screen(pixels: Pixels, source: ImageSource) -> Screen:
    """An image's own pixels (rows, width, channels) for a screen: upright, sRGB, 8 bit, RGB with or without alpha."""
    alpha = pixels[:, :, -1:] if pixels.shape[2] in (2, 4) else None
    if pixels.dtype == np.uint8 and source.space is None:
        colour: NDArray[Any] = pixels[:, :, : 1 if pixels.shape[2] < 3 else 3]
    else:
        light = to_srgb_primaries(to_linear_light(pixels, source.space), source.space)
        colour = _to_8_bit(to_encoded(light).transpose(1, 2, 0))
    planes = [np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else colour]
    if alpha is not None:
        planes.append(alpha if alpha.dtype == np.uint8 else _to_8_bit(to_unit_range(alpha)))
    return np.ascontiguousarray(turn_upright(np.concatenate(planes, axis=2), source.orientation))


def _to_8_bit(values: NDArray[Any]) -> Screen:
    return np.asarray(np.rint(np.clip(values, 0, 1) * np.float32(255)), dtype=np.uint8)
