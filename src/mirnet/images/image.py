"""An opened picture: what its file says, and its pixels in bands of rows."""

import io
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mirnet.errors import PictureError, TooManyPixels
from mirnet.images.libvips import unreadable
from mirnet.images.orientation import Pixels
from mirnet.metadata import Metadata

STREAMED_BYTES = 2.6  # of memory a pixel: at the usual limit of 500 megapixels no picture then takes more than 1.3 GB
LONGEST_SIDE_PX = 1_000_000  # as in libpng; a side of a pixel costs the network as much as one of eight
Decode = Callable[[int], Iterable[Pixels]]  # a picture in bands of so many rows, as its library has them
DTYPES: dict[int, Any] = {8: np.uint8, 16: np.uint16, 32: np.float32}  # of a value, by its depth


@dataclass(frozen=True)
class Header:
    """What a file says about its pixels; width and height are of the stored ones, before they are turned upright."""

    width: int
    height: int
    channels: int  # 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha; palettes and CMYK count as what they become
    depth: int  # bits of a value as it is handed over: 8, 16, or 32 for float
    format: str  # a name of mirnet.formats.FORMATS, by content and never by suffix
    orientation: int  # the EXIF tag, 1 to 8; 1 where there is none


@dataclass(frozen=True)
class File:
    """A file to read a picture from, and how much of a picture somebody is willing to take."""

    source: Path | bytes
    name: str  # what error sentences call it
    max_megapixels: float = float("inf")

    def open(self) -> BinaryIO:
        """The file's bytes, from the start."""
        return io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source.open("rb")

    def refuse_size(self, width: int, height: int, whole_bytes: float = 0) -> None:
        """Raises PictureError, before anything is decoded, for a picture without pixels, TooManyPixels for too many.

        `whole_bytes`: of memory that a pixel takes in a library that decodes it whole, of which fewer are taken.
        """
        size = f"{width} x {height}"
        if width < 1 or height < 1:
            raise PictureError(f"{self.name}: expected a picture, but it has {size} pixels and shows nothing")
        megapixels, share = width * height / 1e6, min(1, STREAMED_BYTES / whole_bytes) if whole_bytes else 1
        if megapixels > self.max_megapixels * share:
            kind = "" if share == 1 else " of a kind that has to be decoded whole"
            raise TooManyPixels(
                f"{self.name}: expected at most {self.max_megapixels * share:.4g} megapixels{kind}, but the picture "
                f"says that it has {megapixels:.1f} ({size}); if you trust it, allow more with "
                f"--max-megapixels {math.ceil(megapixels / share)}"
            )
        if max(width, height) > LONGEST_SIDE_PX:
            raise PictureError(
                f"{self.name}: expected sides of at most {LONGEST_SIDE_PX:,} pixels, but the picture says that it has "
                f"{size}; cut it into parts"
            )


@dataclass(frozen=True, eq=False)
class Image:
    """An opened picture. The file is read again for each pass over its bands, so it must stay where it is."""

    header: Header
    metadata: Metadata
    name: str  # what error sentences call it
    source: Path | bytes = field(repr=False)
    decode: Decode = field(repr=False)
    remarks: tuple[str, ...] = ()  # sentences that a person should read although nothing failed
    bits: int = 8  # of a value in the file: 10 or 12 in some AVIF and HEIC, else as its depth
    clip: bool = False

    def bands(self, rows: int) -> Iterator[Pixels]:
        """The stored pixels from top to bottom, (at most `rows`, W, C) each; callable again and again.

        uint8, uint16 or, of a depth of 32, float32 in [0, 1]. Raises PictureError where the file turns out to be
        damaged or cut short, or where floats lie outside and `clip` is false.
        """
        try:
            for band in self.decode(rows):
                yield self._within_range(band, rows) if self.header.depth == 32 else band
        except OSError as error:
            raise PictureError(unreadable(self.name, error)) from error

    def _within_range(self, band: NDArray[np.float32], rows: int) -> Pixels:
        if band.min() >= 0 and band.max() <= 1:  # written so that a NaN fails too
            return band
        if not self.clip:
            raise PictureError(self._out_of_range(rows))
        return np.clip(np.nan_to_num(band, nan=0.0, posinf=1.0, neginf=0.0), 0, 1)

    def _out_of_range(self, rows: int) -> str:
        """The sentence about floats outside [0, 1], with the range of the whole picture."""
        low, high, others = np.inf, -np.inf, 0
        for band in self.decode(rows):
            finite = band[np.isfinite(band)]
            others += band.size - finite.size
            if finite.size:
                low, high = min(low, float(finite.min())), max(high, float(finite.max()))
        reach = f"they reach from {low:g} to {high:g}" if low <= high else "none of them is finite"
        also = f", and {others} values are NaN or infinite" if others and low <= high else ""
        return (
            f"{self.name}: expected floats in [0, 1], but {reach}{also}; scale the picture, or take each for the "
            "nearest value within with --clip (NaN becomes 0)"
        )


def upright_size(header: Header) -> tuple[int, int]:
    """Width and height as a person sees them."""
    return (header.height, header.width) if header.orientation >= 5 else (header.width, header.height)


def whole(pixels: Callable[[], Pixels], finish: Callable[[Pixels], Pixels] = lambda band: band) -> Decode:
    """A `decode` for libraries that give a picture (H, W, C) only whole: it is decoded once, and kept.

    `finish` makes each band of it what it should be.
    """
    kept: list[Pixels] = []

    def decode(rows: int) -> Iterator[Pixels]:
        if not kept:
            kept.append(pixels())
        for top in range(0, len(kept[0]), rows):
            yield finish(kept[0][top : top + rows])

    return decode


def full_range(pixels: Pixels, bits: int) -> Pixels:
    """10 or 12 bits, which libheif's users hand over as the upper ones of 16, over all of 0 to 65535; others as is."""
    if bits not in (10, 12):
        return pixels
    largest = np.uint32((1 << bits) - 1)
    return (((pixels >> np.uint16(16 - bits)).astype(np.uint32) * 65535 + largest // 2) // largest).astype(np.uint16)
