"""`ImageSource`: an image that can be read from top to bottom as often as needed, from a file or from an array."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from mirnet import images
from mirnet.images.colour_space import Space, read_colour_space
from mirnet.inference import tiles
from mirnet.inference.blending import Floats, Pixels

BAND_ROWS = 256
MAX_BAND_PX = 2**22  # of images wider than 16,384 px a band has fewer rows
MAX_KEPT_BYTES = 64 * 2**20  # an image up to this size is decoded once, and not once for each pass


@dataclass(frozen=True)
class ImageSource:
    """An image in the order in which it is stored.

    `bands(rows)` yields (at most rows, width, channels) uint8, uint16 or float in [0, 1]; channels are
    1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha. `orientation` is the EXIF tag, 1 to 8; `space` the
    colour space, None for sRGB. `remarks` are sentences for the user.
    """

    height: int
    width: int
    bands: Callable[[int], Iterable[Pixels]]
    orientation: int = 1
    space: Space | None = None
    remarks: tuple[str, ...] = ()

    @staticmethod
    def from_array(array: Pixels, orientation: int = 1, icc: bytes | None = None) -> "ImageSource":
        """The source of a whole (H, W, C) array; `icc` is the profile of its colours, None for sRGB."""
        height, width, channels = array.shape

        def bands(rows: int) -> Iterator[Pixels]:
            return (array[top : top + rows] for top in range(0, height, rows))

        return ImageSource(height, width, bands, orientation, *_read_profile(icc, channels))

    @staticmethod
    def from_image(image: images.Image) -> "ImageSource":
        """The source of an opened image file, in the colour space of its profile."""
        header = image.header
        space, remarks = _read_profile(image.metadata.icc, header.channels)
        small = header.height * header.width * header.channels * (header.depth // 8) <= MAX_KEPT_BYTES
        bands = _KeptBands(image.bands) if small else image.bands
        return ImageSource(header.height, header.width, bands, header.orientation, space, remarks)

    @property
    def fits_one_piece(self) -> bool:
        """Whether the image goes through the network in one piece, not in tiles."""
        return tiles.fits_one_piece(self.height, self.width)

    def iter_bands(self) -> Iterable[Pixels]:
        """Read the image once, in bands that are neither many nor large."""
        return self.bands(max(1, min(BAND_ROWS, MAX_BAND_PX // self.width)))

    def read_window(self, rows: slice, columns: slice) -> Pixels:
        """The pixels of a window (rows, columns, channels), as the image stores them."""
        found, top = [], 0
        for band in self.iter_bands():
            if top >= rows.stop:
                break
            found.append(band[max(rows.start - top, 0) : rows.stop - top, columns])
            top += len(band)
        return np.concatenate(found)

    def stops_in_window(self, cells: Floats | None, rows: slice, columns: slice) -> Floats | None:
        """The stops (rows, columns) of the pixels in a window, from a map of cells (h, w); None without a map."""
        return None if cells is None else tiles.interpolate_map(cells, self.height, self.width, rows, columns)


def _read_profile(icc: bytes | None, channels: int) -> tuple[Space | None, tuple[str, ...]]:
    """The colour space of a profile, and a remark where the profile cannot be used."""
    if not icc:
        return None, ()
    try:
        return read_colour_space(icc, 1 if channels < 3 else 3), ()
    except ValueError as error:
        return None, (f"its colour profile {error}: the profile stays, but the network takes the colours for sRGB",)


@dataclass
class _KeptBands:
    """Bands that are decoded once and kept; a pass that ended early keeps nothing."""

    bands: Callable[[int], Iterable[Pixels]]
    _kept: list[Pixels] = field(default_factory=list)

    def __call__(self, rows: int) -> Iterator[Pixels]:
        if self._kept:
            yield from self._kept
            return
        kept = []
        for band in self.bands(rows):
            kept.append(band)
            yield band
        self._kept = kept
