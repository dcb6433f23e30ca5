"""Files and bytes to arrays, with what the files say beside their pixels."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mirnet import metadata
from mirnet.errors import PictureError
from mirnet.images.library import NAMES, damaged, format_of_suffix, unreadable, vips
from mirnet.images.orientation import Pixels, upright


@dataclass(frozen=True)
class Header:
    """What a file says about its pixels; width and height are of the stored ones, before they are turned upright."""

    width: int
    height: int
    channels: int  # 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha; a palette counts as what it expands to
    depth: int  # bits of a value, 8 or 16
    format: str  # "jpeg", "png", "webp" or "tiff", by content and never by suffix
    orientation: int  # the EXIF tag, 1 to 8; 1 where there is none


@dataclass(frozen=True)
class Metadata:
    """What a file says beside its pixels, each as the bytes that it holds."""

    exif: bytes | None = None  # without "Exif\0\0", without thumbnail
    xmp: bytes | None = None
    icc: bytes | None = None
    iptc: bytes | None = None
    pixels_per_mm: tuple[float, float] | None = None  # across and down
    resolution_unit: str = "in"
    lossless: bool = False  # a WebP file may be either


@dataclass(frozen=True, eq=False)
class Picture:
    """An opened picture. The file is read again for each pass over its bands, so it must stay where it is."""

    header: Header
    metadata: Metadata
    name: str  # what error sentences call it
    source: Path | bytes = field(repr=False)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences that a person should read although nothing failed: so far, that the suffix is of another format."""
        if isinstance(self.source, bytes) or format_of_suffix(self.source.suffix) in (None, self.header.format):
            return ()
        format = NAMES[self.header.format]
        return (f"{self.name}: is a {format} picture in spite of its suffix, and is taken as one",)

    def bands(self, rows: int) -> Iterator[Pixels]:
        """The stored pixels from top to bottom, (at most `rows`, W, C) uint8 or uint16 each; callable again and again.

        Raises PictureError where the file turns out to be damaged or cut short.
        """
        header = self.header
        dtype = np.uint8 if header.depth == 8 else np.uint16
        try:
            image = load(self.source, header.format)
            region = vips().Region.new(image)
            for top in range(0, header.height, rows):
                count = min(rows, header.height - top)
                band = np.frombuffer(region.fetch(0, top, header.width, count), dtype)
                yield band.reshape(count, header.width, header.channels)
        except vips().Error as error:
            raise PictureError(damaged(self.name, header.format, error)) from error
        except OSError as error:
            raise PictureError(unreadable(self.name, error)) from error


def upright_size(header: Header) -> tuple[int, int]:
    """Width and height as a person sees them."""
    return (header.height, header.width) if header.orientation >= 5 else (header.width, header.height)


def _format_of(start: bytes) -> str | None:
    """The format that the first 16 bytes of a file speak of; None if it is none of ours."""
    if start.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return "webp"
    return "tiff" if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") else None


def _open(source: Path | bytes) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def load(source: Path | bytes, format: str) -> Any:
    """The picture as libvips sees it, nothing decoded yet; the first pixel asked for starts one pass from the top.

    A descriptor is handed over and not a name, since libvips reads options out of some names. "error" and not
    "truncated": a TIFF cut short counts for libvips as the former, and gives made-up rows for the latter.
    """
    pyvips = vips()
    if isinstance(source, bytes):
        origin = pyvips.Source.new_from_memory(source)
    else:
        with source.open("rb") as file:
            origin = pyvips.Source.new_from_descriptor(file.fileno())  # libvips keeps a duplicate
    loader = getattr(pyvips.Image, f"{format}load_source")
    return loader(origin, access="sequential", fail_on="error")


def open_picture(source: Path | bytes) -> Picture:
    """Open a JPEG, PNG, WebP or TIFF picture, known by its content; reads what it says, but no pixels yet.

    Raises PictureError, with the file's name, for what is missing, empty, damaged, no picture, or not supported.
    """
    name = "the picture given as bytes" if isinstance(source, bytes) else str(source)
    if isinstance(source, Path) and source.exists() and not source.is_file():
        kind = "folder" if source.is_dir() else "device or pipe"
        raise PictureError(f"{name}: expected a picture, but this is a {kind}; name a file")
    try:
        with _open(source) as stream:
            return _read_header(source, name, stream)
    except OSError as error:
        raise PictureError(unreadable(name, error)) from error


def _read_header(source: Path | bytes, name: str, stream: BinaryIO) -> Picture:
    start = stream.read(16)
    if not start:
        raise PictureError(f"{name}: expected a picture, but the file is empty; get a fresh copy of it")
    format = _format_of(start)
    if format is None:
        raise PictureError(f"{name}: expected a JPEG, PNG, WebP or TIFF picture, but the content is none of these")
    try:
        image = load(source, format)
    except vips().Error as error:
        raise PictureError(damaged(name, format, error)) from error
    _refuse_unsupported(image, name, NAMES[format])
    orientation = _field(image, "orientation") or 1
    header = Header(
        width=image.width,
        height=image.height,
        channels=image.bands,
        depth=8 if image.format == "uchar" else 16,
        format=format,
        orientation=orientation if 1 <= orientation <= 8 else 1,
    )
    return Picture(header, _read_metadata(image, format, stream), name, source)


def _refuse_unsupported(image: Any, name: str, format: str) -> None:
    """One still picture of grey or RGB values, 8 or 16 bit, perhaps with alpha: all else would come back changed."""
    pages = _field(image, "n-pages") or 1
    if pages > 1:
        raise PictureError(f"{name}: expected one picture, but this {format} holds {pages}; save one of them by itself")
    if image.format not in ("uchar", "ushort"):
        raise PictureError(f"{name}: expected 8 or 16 bit, but this {format} holds {image.format} values; convert it")
    if image.interpretation not in ("b-w", "grey16", "srgb", "rgb16") or not 1 <= image.bands <= 4:
        raise PictureError(
            f"{name}: expected grey or RGB, but this {format} holds {image.bands} channels of "
            f"{image.interpretation}; convert it to sRGB first"
        )


def _field(image: Any, name: str) -> Any:
    return image.get(name) if image.get_typeof(name) else None


def _read_metadata(image: Any, format: str, stream: BinaryIO) -> Metadata:
    block = metadata.exif_of_tiff(stream) if format == "tiff" else _field(image, "exif-data")
    iptc = _field(image, "iptc-data")
    lossless = False
    if format == "webp":
        stream.seek(0)
        lossless = any(name == b"VP8L" for name, _ in metadata.webp_chunks(stream.read()))
    return Metadata(
        exif=metadata.clean_exif(block) if block else None,
        xmp=_field(image, "xmp-data"),
        icc=_field(image, "icc-profile-data"),
        iptc=metadata.clean_photoshop(iptc) if iptc else None,
        pixels_per_mm=_resolution(image, format),
        resolution_unit=_field(image, "resolution-unit") or "in",
        lossless=lossless,
    )


def _resolution(image: Any, format: str) -> tuple[float, float] | None:
    """Pixels per millimetre across and down; None where the file says nothing and libvips makes something up."""
    stated = image.get_typeof("resolution-unit") or (format == "png" and image.xres != 2.834)  # 72 dpi would be 2.835
    return (image.xres, image.yres) if stated else None


def read_image(source: Path | str | bytes) -> Pixels:
    """A whole picture as a person sees it: (H, W) for grey, else (H, W, C); uint8 or uint16 as the file has it."""
    picture = open_picture(Path(source) if isinstance(source, str) else source)
    (whole,) = picture.bands(picture.header.height)
    turned = np.ascontiguousarray(upright(whole, picture.header.orientation))
    return turned[..., 0] if picture.header.channels == 1 else turned
