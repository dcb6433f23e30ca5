"""An opened image: header, metadata, and pixels in bands of rows."""

import functools
import io
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mirnet.errors import PictureError, TooManyPixels
from mirnet.images.libvips import describe_unreadable
from mirnet.images.orientation import Pixels
from mirnet.metadata import Metadata

STREAMED_BYTES = 2.6  # of memory a pixel: at the usual limit of 500 megapixels no image then takes more than 1.3 GB
LONGEST_SIDE_PX = 1_000_000  # as in libpng; a side of a pixel costs the network as much as one of eight
Decode = Callable[[int], Iterable[Pixels]]  # decodes an image in bands of so many rows, as its library gives them
UNNAMED = "the image given as bytes"  # the name, in messages, of an image that comes from no file
DTYPES: dict[int, Any] = {8: np.uint8, 16: np.uint16, 32: np.float32}  # of a value, by its depth


@dataclass(frozen=True)
class Header:
    """What a file states about its pixels. Width and height are those of the stored pixels, before they are turned."""

    width: int
    height: int
    channels: int  # 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha; palettes and CMYK count as what they become
    depth: int  # bits of a decoded value: 8, 16, or 32 for float
    format: str  # a name of mirnet.formats.FORMATS, by content and never by suffix
    orientation: int  # the EXIF tag, 1 to 8; 1 where there is none


@dataclass(frozen=True)
class File:
    """A file to open an image from, and the largest image to accept."""

    source: Path | bytes
    name: str  # for error messages
    max_megapixels: float = float("inf")

    def open(self) -> BinaryIO:
        """The file's bytes, from the start."""
        return io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source.open("rb")

    def refuse_size(self, width: int, height: int, decoded_bytes: float = 0) -> None:
        """Raises PictureError for an image without pixels or with too long sides, TooManyPixels for one too large.

        To be called before anything is decoded. `decoded_bytes`: the memory that a pixel takes in a library that
        decodes the image whole; the limit is lower there.
        """
        size = f"{width} x {height}"
        if width < 1 or height < 1:
            raise PictureError(f"{self.name}: expected an image, but it has {size} pixels and shows nothing")
        megapixels = width * height / 1e6
        share = min(1, STREAMED_BYTES / decoded_bytes) if decoded_bytes else 1
        if megapixels > self.max_megapixels * share:
            kind = "" if share == 1 else " of a kind that has to be decoded whole"
            raise TooManyPixels(
                f"{self.name}: expected at most {self.max_megapixels * share:.4g} megapixels{kind}, but the image "
                f"states {megapixels:.1f} ({size}); if you trust it, allow more with "
                f"--max-megapixels {math.ceil(megapixels / share)}"
            )
        if max(width, height) > LONGEST_SIDE_PX:
            raise PictureError(
                f"{self.name}: expected sides of at most {LONGEST_SIDE_PX:,} pixels, but the image states "
                f"{size}; cut it into parts"
            )


@dataclass(frozen=True, eq=False)
class Image:
    """An opened image. Each pass over its bands, and its metadata, reads the file again, which must stay in place."""

    header: Header
    read_metadata: Callable[[], Metadata] = field(repr=False)
    name: str  # for error messages
    source: Path | bytes = field(repr=False)
    decode: Decode = field(repr=False)
    remarks: tuple[str, ...] = ()  # messages that the user should read although nothing failed
    bits: int = 8  # of a value in the file: 10 or 12 in some AVIF and HEIC, else the depth
    clip: bool = False  # whether floats outside [0, 1] become the nearest value within

    @functools.cached_property
    def metadata(self) -> Metadata:
        """The metadata of the file, read and parsed at the first use. Raises PictureError."""
        try:
            return self.read_metadata()
        except OSError as error:
            raise PictureError(describe_unreadable(self.name, error)) from error

    def bands(self, rows: int) -> Iterator[Pixels]:
        """Yields the stored pixels from top to bottom, at most `rows` at a time: (rows, W, C). Can be called again.

        uint8, uint16 or, of a depth of 32, float32 in [0, 1]. Raises PictureError where the file turns out to be
        damaged or cut short, or where floats lie outside [0, 1] and `clip` is false.
        """
        try:
            for band in self.decode(rows):
                yield self._check_range(band, rows) if self.header.depth == 32 else band
        except OSError as error:
            raise PictureError(describe_unreadable(self.name, error)) from error

    def _check_range(self, band: NDArray[np.float32], rows: int) -> Pixels:
        if band.min() >= 0 and band.max() <= 1:  # written so that a NaN fails too
            return band
        if not self.clip:
            raise PictureError(self._describe_range(rows))
        return np.clip(np.nan_to_num(band, nan=0.0, posinf=1.0, neginf=0.0), 0, 1)

    def _describe_range(self, rows: int) -> str:
        """The message about floats outside [0, 1], with the range of the whole image."""
        low, high, others = np.inf, -np.inf, 0
        for band in self.decode(rows):
            finite = band[np.isfinite(band)]
            others += band.size - finite.size
            if finite.size:
                low, high = min(low, float(finite.min())), max(high, float(finite.max()))
        reach = f"they reach from {low:g} to {high:g}" if low <= high else "none of them is finite"
        also = f", and {others} values are NaN or infinite" if others and low <= high else ""
        return (
            f"{self.name}: expected floats in [0, 1], but {reach}{also}; scale the image, or replace each by the "
            "nearest value within with --clip (NaN becomes 0)"
        )


def upright_size(header: Header) -> tuple[int, int]:
    """Width and height of the upright image."""
    return (header.height, header.width) if header.orientation >= 5 else (header.width, header.height)


def decode_whole(decode_all: Callable[[], Pixels], convert: Callable[[Pixels], Pixels] = lambda band: band) -> Decode:
    """Returns a `decode` for libraries that decode an image (H, W, C) only whole: decoded once, and kept.

    `convert` is applied to each band.
    """
    kept: list[Pixels] = []

    def decode(rows: int) -> Iterator[Pixels]:
        if not kept:
            kept.append(decode_all())
        for top in range(0, len(kept[0]), rows):
            yield convert(kept[0][top : top + rows])

    return decode


def to_full_range(pixels: Pixels, bits: int) -> Pixels:
    """Spreads 10 or 12 bits, which libheif gives as the upper ones of 16, over 0 to 65535; other depths as they are."""
    if bits not in (10, 12):
        return pixels
    largest = np.uint32((1 << bits) - 1)
    return (((pixels >> np.uint16(16 - bits)).astype(np.uint32) * 65535 + largest // 2) // largest).astype(np.uint16)
