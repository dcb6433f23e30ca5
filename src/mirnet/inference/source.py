"""A picture that can be read from top to bottom as often as needed: of a file, or of an array."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from mirnet import images
from mirnet.images.colour_space import Space, space_of
from mirnet.inference.blending import Pixels

BAND_ROWS = 256
BAND_PX = 2**22  # of pictures wider than 16,384 px a band has fewer rows
REMEMBERED_BYTES = 64 * 2**20  # a picture up to this size is decoded once, and not once for each pass


@dataclass(frozen=True)
class Source:
    """A picture in the order in which it is stored.

    `bands(rows)` yields (at most rows, width, channels) uint8, uint16 or float in [0, 1]; channels are
    1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha. `orientation` is the EXIF tag, 1 to 8; `space` its
    colour space, None for sRGB. `remarks` are sentences that a person should read.
    """

    height: int
    width: int
    bands: Callable[[int], Iterable[Pixels]]
    orientation: int = 1
    space: Space | None = None
    remarks: tuple[str, ...] = ()

    def in_bands(self) -> Iterable[Pixels]:
        """All of it once, in bands that are neither many nor large."""
        return self.bands(max(1, min(BAND_ROWS, BAND_PX // self.width)))

    @staticmethod
    def of(array: Pixels, orientation: int = 1, icc: bytes | None = None) -> "Source":
        """A whole (H, W, C) array. `icc` is the profile of its colours."""
        height, width, channels = array.shape

        def bands(rows: int) -> Iterator[Pixels]:
            return (array[top : top + rows] for top in range(0, height, rows))

        return Source(height, width, bands, orientation, *_space(icc, channels))

    @staticmethod
    def of_image(picture: images.Image) -> "Source":
        """An opened picture, with what its profile means."""
        header = picture.header
        space, remarks = _space(picture.metadata.icc, header.channels)
        small = header.height * header.width * header.channels * (header.depth // 8) <= REMEMBERED_BYTES
        bands = _Remembered(picture.bands) if small else picture.bands
        return Source(header.height, header.width, bands, header.orientation, space, remarks)


def _space(icc: bytes | None, channels: int) -> tuple[Space | None, tuple[str, ...]]:
    """What a profile means, and what is to be said of one that means nothing to us."""
    if not icc:
        return None, ()
    try:
        return space_of(icc, 1 if channels < 3 else 3), ()
    except ValueError as error:
        return None, (f"its colour profile {error}: the profile stays, but the network takes the colours for sRGB",)


@dataclass
class _Remembered:
    """Bands that are decoded once; a pass that was broken off is forgotten."""

    bands: Callable[[int], Iterable[Pixels]]
    _seen: list[Pixels] = field(default_factory=list)

    def __call__(self, rows: int) -> Iterator[Pixels]:
        if self._seen:
            yield from self._seen
            return
        seen = []
        for band in self.bands(rows):
            seen.append(band)
            yield band
        self._seen = seen
