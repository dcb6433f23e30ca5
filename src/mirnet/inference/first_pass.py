"""The first pass: an image is read once, for its thumbnail, which gives the proposed exposure, and for samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from mirnet import images
from mirnet.errors import Cancelled
from mirnet.exposure import expose, to_encoded
from mirnet.inference import tiles
from mirnet.inference.blending import Floats, Pixels, to_linear_light, to_srgb_primaries
from mirnet.inference.catalog import Card
from mirnet.inference.runtimes import NEVER, Runtime, ShouldStop
from mirnet.inference.scene_statistics import SceneSamples
from mirnet.inference.settings import Settings
from mirnet.inference.source import ImageSource
from mirnet.thumbnail import CELL_PX, ThumbnailBuilder

GRID_PX = 512  # at most this many pixels along each side stand for an image where its mean is asked for


class BandReader(Protocol):
    """An object that takes what it needs of an image while the image is read, band by band."""

    def add(self, top: int, band: Pixels) -> None:
        """Take the rows from `top` on, (rows, width, channels) as the image stores them."""
        ...


@dataclass(frozen=True, eq=False)
class FirstPass:
    """What one reading of an image found: enough to plan its rendering for any settings."""

    source: ImageSource
    proposal: Floats | None  # (h, w) stops; None without exposure
    samples: SceneSamples | None
    grid: "PixelGrid | None"


def run_first_pass(source: ImageSource, runtime: Runtime, card: Card, *, samples: bool, grid: bool,
                   readers: Sequence[BandReader] = (),
                   should_stop: ShouldStop = NEVER) -> FirstPass:  # fmt: skip
    """Read an image once and propose its exposure.

    Plans of several tiles need `samples`, plans that match a mean need `grid`; `readers` read along. Raises Cancelled
    once `should_stop()` is true.
    """
    thumbnail = ThumbnailReader(source) if card.takes_exposure else None
    scene, pixel_grid = SceneSamples(source) if samples else None, PixelGrid(source) if grid else None
    chosen = [reader for reader in (thumbnail, scene, pixel_grid, *readers) if reader is not None]
    read_bands(source, chosen, should_stop)
    return FirstPass(source, None if thumbnail is None else thumbnail.propose_exposure(runtime), scene, pixel_grid)


def read_bands(source: ImageSource, readers: Sequence[BandReader],
               should_stop: ShouldStop = NEVER) -> None:  # fmt: skip
    """Read an image once, and pass each band to all readers. Raises Cancelled once `should_stop()` is true."""
    top = 0
    for band in source.iter_bands():
        if should_stop():
            raise Cancelled
        for reader in readers:
            reader.add(top, band)
        top += len(band)


def propose_exposure(source: ImageSource, runtime: Runtime, card: Card) -> Floats | None:
    """The stops of each cell (h, w) that the exposure head proposes; None for weights that take no exposure."""
    if not card.takes_exposure:
        return None
    thumbnail = ThumbnailReader(source)
    read_bands(source, [thumbnail])
    return thumbnail.propose_exposure(runtime)


def measure_mean(source: ImageSource) -> float:
    """The mean of an image's sRGB-encoded values in [0, 1], on a grid of at most 512 x 512 pixels."""
    grid = PixelGrid(source)
    read_bands(source, [grid])
    return grid.mean()


def target_mean_of(settings: Settings) -> float | None:
    """The mean of sRGB-encoded values that the photo to match has and the result gets; None without such a photo."""
    match settings.match:
        case Path() as path:
            return _mean_of_file(path, settings.max_megapixels)
        case bytes() as content:  # not cached: that would keep a user's photo in memory
            return _mean_of_photo(content, settings.max_megapixels)
    return None


@lru_cache(maxsize=4)
def _mean_of_file(photo: Path, max_megapixels: float) -> float:
    return _mean_of_photo(photo, max_megapixels)


def _mean_of_photo(photo: Path | bytes, max_megapixels: float) -> float:
    return measure_mean(ImageSource.from_image(images.open_image(photo, max_megapixels=max_megapixels)))


class ThumbnailReader:
    """Averages an image down to the thumbnail that the exposure head gets."""

    def __init__(self, source: ImageSource) -> None:
        self._builder = ThumbnailBuilder(source.height, source.width)
        self._space, self._orientation = source.space, source.orientation

    def add(self, top: int, band: Pixels) -> None:
        self._builder.add_light(top, to_srgb_primaries(to_linear_light(band, self._space), self._space))

    def propose_exposure(self, runtime: Runtime) -> Floats:
        """The stops of each cell (h, w) that the head proposes, in the order in which the image is stored."""
        small = self._builder.finish()
        if not small.any():  # a black image says nothing about its exposure, and black stays black
            return np.zeros((small.shape[0] // CELL_PX, small.shape[1] // CELL_PX), dtype=np.float32)
        # the head gets the upright image; its map comes back in the stored order
        upright = images.turn_upright(small, self._orientation).transpose(2, 0, 1)
        cells = runtime.propose(np.ascontiguousarray(upright)[None])[0, 0]
        return np.ascontiguousarray(images.turn_as_stored(cells, self._orientation))


class PixelGrid:
    """Collects single pixels on an even grid, which give an image's mean at any exposure."""

    def __init__(self, source: ImageSource) -> None:
        self._source = source
        self._rows, self._columns = (
            np.unique(((np.arange(min(side, GRID_PX)) + 0.5) * side / min(side, GRID_PX)).astype(int))
            for side in (source.height, source.width)
        )
        self._light = np.zeros((3, len(self._rows), len(self._columns)), dtype=np.float32)

    def add(self, top: int, band: Pixels) -> None:
        first, last = np.searchsorted(self._rows, (top, top + len(band)))
        if first < last:
            chosen, space = band[self._rows[first:last] - top][:, self._columns], self._source.space
            self._light[:, first:last] = to_srgb_primaries(to_linear_light(chosen, space), space)

    def mean(self, stops: Floats | None = None, added: float = 0.0) -> float:
        """The mean of the sRGB-encoded values, exposed by a map of stops (h, w) and `added` stops everywhere."""
        encoded = np.clip(to_encoded(self._light), 0, 1)
        if stops is not None:
            height, width = self._source.height, self._source.width
            at_pixels = tiles.interpolate_map_at(stops, height, width, self._rows, self._columns)
            encoded = expose(encoded, at_pixels + np.float32(added))
        return float(encoded.mean(dtype=np.float64))
