"""The first look at a picture: its thumbnail, which says how bright it may become, and samples, which say what it is.

A scene is surveyed on native-resolution crops from all over the picture, on small pictures on the whole. What the
survey says depends on the picture and its stops alone: never on tiles, memory or threads.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mirnet import images
from mirnet.exposure import expose, to_encoded
from mirnet.images.colour_space import Space
from mirnet.inference import tiles
from mirnet.inference.blending import Floats, Pixels, expose_tile, to_linear_light, to_srgb_primaries
from mirnet.inference.catalog import Card
from mirnet.inference.runtimes import Runtime
from mirnet.inference.source import Source
from mirnet.thumbnail import CELL_PX, ThumbnailBuilder

WHOLE_PX = 1_500_000  # pictures up to this many pixels are surveyed whole, and rendered in one piece
# Of larger ones: 16 crops, 0.6 megapixels. On twelve megapixels of 48 different dark photos the result is then 52.0 dB
# away from one with the statistics of every pixel, on one photo 56.4 and on another 53.9 dB; 64 crops of 96 px, the
# same work, see too little around each pixel: 49.3, 44.9 and 45.7 dB; 9 of 256 px too few places: 45.7, 55.9 and 56.8.
# (benchmarks/seams.py, last rows, with these constants changed and the weights of 2026-11-28; the other photo by a
# script that was not kept.)
SAMPLE_PX, SAMPLES_A_SIDE = 192, 4
GRID_PX = 512  # at most so many pixels on each side stand for a picture where its mean is asked for


def padded_px(source: Source) -> int:
    """About how many pixels the network gets of a whole picture: none of its sides is shorter than 8 there."""
    return max(source.height, CELL_PX) * max(source.width, CELL_PX)


class BandReader(Protocol):
    """Somebody who looks on while a picture streams by."""

    def add(self, top: int, band: Pixels) -> None:
        """Rows `top` and following, (rows, width, channels) as the picture stores them."""
        ...


def read_bands(source: Source, readers: Sequence[BandReader], tick: Callable[[], None] = lambda: None) -> None:
    """Let a picture stream by once; `tick` is called for each band, and may raise."""
    top = 0
    for band in source.in_bands():
        tick()
        for reader in readers:
            reader.add(top, band)
        top += len(band)


class Thumbnail:
    """Shrinks the picture to what the exposure head sees."""

    def __init__(self, source: Source) -> None:
        self._builder = ThumbnailBuilder(source.height, source.width)
        self._space, self._orientation = source.space, source.orientation

    def add(self, top: int, band: Pixels) -> None:
        self._builder.add_light(top, to_srgb_primaries(to_linear_light(band, self._space), self._space))

    def proposal(self, runtime: Runtime) -> Floats:
        """The stops of each cell (h, w) that the head proposes, in the order in which the picture is stored."""
        small = self._builder.finish()
        if not small.any():  # a black picture says nothing about its exposure, and black stays black
            return np.zeros((small.shape[0] // CELL_PX, small.shape[1] // CELL_PX), dtype=np.float32)
        # the head sees the picture upright; its map comes back in the stored order
        upright = images.upright(small, self._orientation).transpose(2, 0, 1)
        cells = runtime.propose(np.ascontiguousarray(upright)[None])[0, 0]
        return np.ascontiguousarray(images.stored(cells, self._orientation))


@dataclass(frozen=True)
class SceneStatistics:
    """What the network makes of a picture, by its samples."""

    scene: Floats  # (K,)
    change: float  # of the mean of its encoded values
    balance: float  # by which restored values are multiplied to leave that mean where it was


def brightness_balance(seen: Floats, restored: Floats) -> float:
    """What the restored values are to be multiplied by, so that their mean is that of what the network saw."""
    after = float(np.clip(restored, 0, 1).mean(dtype=np.float64))
    before = float(seen.mean(dtype=np.float64))
    return float(np.clip(before / after, 0.8, 1.25)) if after > 0 else 1.0


class SceneSamples:
    """Collects crops on an even grid that touches all sides; of a small picture the whole."""

    def __init__(self, source: Source) -> None:
        self._source = source
        small = padded_px(source) <= WHOLE_PX
        self._crop = (source.height, source.width) if small else (
            min(SAMPLE_PX, source.height), min(SAMPLE_PX, source.width)
        )  # fmt: skip
        tops, lefts = (
            tiles.sample_starts(side, crop, SAMPLES_A_SIDE)
            for side, crop in zip((source.height, source.width), self._crop, strict=True)
        )
        self._places = [(top, left) for top in tops for left in lefts]
        self._crops: list[Pixels] = []

    def add(self, top: int, band: Pixels) -> None:
        if not self._crops:
            shape = (*self._crop, band.shape[2])
            self._crops = [np.zeros(shape, dtype=band.dtype) for _ in self._places]
        for crop, (crop_top, left) in zip(self._crops, self._places, strict=True):
            first, last = max(crop_top, top), min(crop_top + self._crop[0], top + len(band))
            if first < last:
                crop[first - crop_top : last - crop_top] = band[first - top : last - top, left : left + self._crop[1]]

    def measure(self, runtime: Runtime, card: Card, stops: Floats | None, warmth: float) -> "SceneStatistics":
        """What the network makes of all crops together, exposed by cells of stops (h, w)."""
        seen, restored, scene = self._through(runtime, card, stops, warmth)
        change = float(np.clip(restored, 0, 1).mean(dtype=np.float64) - seen.mean(dtype=np.float64))
        return SceneStatistics(scene, change, brightness_balance(seen, restored))

    def _through(self, runtime: Runtime, card: Card, stops: Floats | None, warmth: float) -> tuple[Floats, ...]:
        batch, maps = [], []
        for crop, (top, left) in zip(self._crops, self._places, strict=True):
            rows, columns = slice(top, top + self._crop[0]), slice(left, left + self._crop[1])
            here = stops_in_window(stops, self._source, rows, columns)
            picture, map_ = network_input(crop, here, warmth, self._source.space, card)
            batch.append(picture)
            maps.append(map_)
        pictures = np.concatenate(batch)
        given = np.concatenate([each for each in maps if each is not None]) if stops is not None else None
        return pictures, *runtime.restore(pictures, given, None)


class PixelGrid:
    """Collects single pixels on an even grid, from which the mean at any exposure is told."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._rows, self._columns = (
            np.unique(((np.arange(min(side, GRID_PX)) + 0.5) * side / min(side, GRID_PX)).astype(int))
            for side in (source.height, source.width)
        )
        self._light = np.zeros((3, len(self._rows), len(self._columns)), dtype=np.float32)

    def add(self, top: int, band: Pixels) -> None:
        first, last = np.searchsorted(self._rows, (top, top + len(band)))
        if first < last:
            chosen = band[self._rows[first:last] - top][:, self._columns]
            self._light[:, first:last] = to_srgb_primaries(
                to_linear_light(chosen, self._source.space), self._source.space
            )

    def mean(self, stops: Floats | None = None, added: float = 0.0) -> float:
        """The mean of the sRGB-encoded values, exposed by cells of stops (h, w) and as many more everywhere."""
        encoded = np.clip(to_encoded(self._light), 0, 1)
        if stops is not None:
            source = self._source
            here = tiles.spread_at(stops, source.height, source.width, self._rows, self._columns)
            encoded = expose(encoded, here + np.float32(added))
        return float(encoded.mean(dtype=np.float64))


def stops_in_window(cells: Floats | None, source: Source, rows: slice, columns: slice) -> Floats | None:
    """The stops of every pixel (rows, columns) in a window of a picture, of a map of cells (h, w)."""
    return None if cells is None else tiles.spread(cells, source.height, source.width, rows, columns)


def network_input(crop: Pixels, stops: Floats | None, warmth: float, space: Space | None,
                  card: Card) -> tuple[NDArray[np.float32], Floats | None]:  # fmt: skip
    """A crop (h, w, C) as the graph wants it: exposed (1, 3, H, W), and its stops (1, 1, H, W); padded to multiples."""
    seen = expose_tile(crop, stops, warmth, space).seen
    padded = tiles.pad_to_multiple(seen[None], card.size_multiple)
    return padded, None if stops is None else tiles.pad_to_multiple(stops[None, None], card.size_multiple)
