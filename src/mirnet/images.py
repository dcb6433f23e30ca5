"""Files and bytes to arrays and back, with what the files say beside their pixels. The only module that knows libvips.

A picture is opened as a header plus bands of rows, top to bottom, and written from bands of rows; a whole array is the
case of one band. Rows come and go in the order in which the file stores them; `upright` and `stored` turn an array
between that order and the one a person sees.
"""

import errno
import functools
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mirnet import metadata
from mirnet.errors import OutputExists, PictureError, SettingsError
from mirnet.files import write_whole

Pixels = NDArray[Any]  # (H, W) or (H, W, C), uint8 or uint16 where not said otherwise

SUFFIXES = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp", ".tif": "tiff", ".tiff": "tiff"}
_NAMES = {"jpeg": "JPEG", "png": "PNG", "webp": "WebP", "tiff": "TIFF"}
_LONGEST_SIDE_PX = {"jpeg": 65535, "png": 2**31 - 1, "webp": 16383, "tiff": 2**31 - 1}
_MM_PER_INCH = 25.4


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
        format = _NAMES[self.header.format]
        return (f"{self.name}: is a {format} picture in spite of its suffix, and is taken as one",)

    def bands(self, rows: int) -> Iterator[Pixels]:
        """The stored pixels from top to bottom, (at most `rows`, W, C) uint8 or uint16 each; callable again and again.

        Raises PictureError where the file turns out to be damaged or cut short.
        """
        header = self.header
        dtype = np.uint8 if header.depth == 8 else np.uint16
        try:
            image = _load(self.source, header.format)
            region = _vips().Region.new(image)
            for top in range(0, header.height, rows):
                count = min(rows, header.height - top)
                band = np.frombuffer(region.fetch(0, top, header.width, count), dtype)
                yield band.reshape(count, header.width, header.channels)
        except _vips().Error as error:
            raise PictureError(_damaged(self.name, header.format, error)) from error
        except OSError as error:
            raise PictureError(_unreadable(self.name, error)) from error


# Orientation ---------------------------------------------------------------------------------------------------------


def upright(array: Pixels, orientation: int) -> Pixels:
    """Stored pixels (H, W) or (H, W, C) as a person sees them; a view, with the sides swapped for tags 5 to 8."""
    transposed = np.swapaxes(array, 0, 1) if orientation >= 5 else array
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return transposed[rows, columns]


def upright_size(header: Header) -> tuple[int, int]:
    """Width and height as a person sees them."""
    return (header.height, header.width) if header.orientation >= 5 else (header.width, header.height)


def stored(array: Pixels, orientation: int) -> Pixels:
    """Pixels as a person sees them in the order of a file with this tag; a view, the inverse of `upright`."""
    return upright(array, {6: 8, 8: 6}.get(orientation, orientation))  # the quarter turns undo each other


def versions() -> list[str]:
    """The version of libvips, for bug reports."""
    vips = _vips()
    return [f"libvips {'.'.join(str(vips.version(part)) for part in range(3))}"]


# Reading -------------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def _vips() -> Any:
    """libvips, loaded at first use. Its cache of past operations is off: it would hold whole pictures in memory."""
    import pyvips

    pyvips.cache_set_max(0)
    return pyvips


def _unreadable(name: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{name}: expected a picture, but there is no such file; check the path"
    if isinstance(error, PermissionError):
        return f"{name}: expected a picture, but you may not read this file; change its permissions"
    return f"{name}: expected a picture, but it could not be read ({error.strerror}); check the disk and the path"


def _damaged(name: str, format: str, error: Exception) -> str:
    reason = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (
        f"{name}: expected a whole {_NAMES[format]} picture, but the file is damaged or cut short "
        f"({reason[-1] if reason else 'no reason given'}); get a fresh copy of it"
    )


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


def _load(source: Path | bytes, format: str) -> Any:
    """The picture as libvips sees it, nothing decoded yet; the first pixel asked for starts one pass from the top.

    A descriptor is handed over and not a name, since libvips reads options out of some names. "error" and not
    "truncated": a TIFF cut short counts for libvips as the former, and gives made-up rows for the latter.
    """
    vips = _vips()
    if isinstance(source, bytes):
        origin = vips.Source.new_from_memory(source)
    else:
        with source.open("rb") as file:
            origin = vips.Source.new_from_descriptor(file.fileno())  # libvips keeps a duplicate
    loader = getattr(vips.Image, f"{format}load_source")
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
        raise PictureError(_unreadable(name, error)) from error


def _read_header(source: Path | bytes, name: str, stream: BinaryIO) -> Picture:
    start = stream.read(16)
    if not start:
        raise PictureError(f"{name}: expected a picture, but the file is empty; get a fresh copy of it")
    format = _format_of(start)
    if format is None:
        raise PictureError(f"{name}: expected a JPEG, PNG, WebP or TIFF picture, but the content is none of these")
    try:
        image = _load(source, format)
    except _vips().Error as error:
        raise PictureError(_damaged(name, format, error)) from error
    _refuse_unsupported(image, name, _NAMES[format])
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


# Writing -------------------------------------------------------------------------------------------------------------


def _as_8_bit(pixels: Pixels) -> Pixels:
    """uint16 to uint8, to the nearest value (65535 is 257 times 255); uint8 as it is."""
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _on_white(pixels: Pixels) -> Pixels:
    """(H, W, C) uint8 without its alpha, which JPEG lacks: laid on white, as on a page."""
    if pixels.shape[2] not in (2, 4):
        return pixels
    alpha = pixels[..., -1:].astype(np.uint32)
    return ((pixels[..., :-1] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _encode(pixels: Pixels, format: str, quality: int, about: Metadata, orientation: int, name: str) -> bytes:
    """(H, W, C) uint8 or uint16 in stored order as the bytes of a file."""
    if format in ("jpeg", "webp"):
        pixels = _as_8_bit(pixels)
    if format == "jpeg":
        pixels = _on_white(pixels)
    height, width, channels = pixels.shape
    if max(height, width) > _LONGEST_SIDE_PX[format]:
        raise PictureError(
            f"{name}: {_NAMES[format]} holds at most {_LONGEST_SIDE_PX[format]} pixels a side, "
            f"but the picture has {width} x {height}; write PNG or TIFF instead"
        )
    image = _with_metadata(_as_vips(pixels, about), format, about, orientation)
    try:
        file: bytes = image.write_to_buffer(f".{format}", **_saver_options(format, quality, about))
    except _vips().Error as error:
        raise PictureError(f"{name}: could not be written as {_NAMES[format]} ({error})") from error
    try:
        return _with_exif(file, format, about, (width, height), channels in (2, 4))
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from error


def _as_vips(pixels: Pixels, about: Metadata) -> Any:
    height, width, channels = pixels.shape
    deep = pixels.dtype == np.uint16
    kind = ("grey16" if deep else "b-w") if channels < 3 else ("rgb16" if deep else "srgb")
    contiguous = np.ascontiguousarray(pixels)
    image = _vips().Image.new_from_memory(contiguous, width, height, channels, "ushort" if deep else "uchar")
    across, down = about.pixels_per_mm or (1.0, 1.0)
    return image.copy(interpretation=kind, xres=across, yres=down)


def _with_metadata(image: Any, format: str, about: Metadata, orientation: int) -> Any:
    """The image with what libvips itself writes well; EXIF, and XMP in JPEG, come later."""
    blob, text, whole = _vips().GValue.blob_type, _vips().GValue.gstr_type, _vips().GValue.gint_type
    # libvips leaves XMP of more than 60 kB out of a JPEG without a word, so that is spliced in too
    xmp = about.xmp if format != "jpeg" else None
    for name, value in (("xmp-data", xmp), ("icc-profile-data", about.icc), ("iptc-data", about.iptc)):
        if value is not None:
            image.set_type(blob, name, value)
    image.set_type(text, "resolution-unit", about.resolution_unit)
    image.set_type(whole, "orientation", orientation)  # TIFF alone keeps it apart from the EXIF block
    return image


def _saver_options(format: str, quality: int, about: Metadata) -> dict[str, Any]:
    keep = {"keep": "xmp|icc|iptc"}
    if format == "jpeg":  # 4:4:4, since halved colour shows in exactly the dark reds and blues that we brighten
        return keep | {"Q": quality, "subsample_mode": "off", "optimize_coding": True}
    if format == "webp" and about.lossless:
        return keep | {"lossless": True, "exact": True}  # exact: colours under full transparency stay too
    if format == "webp":
        return keep | {"Q": quality, "smart_subsample": True}
    return keep | ({"compression": "deflate", "predictor": "horizontal"} if format == "tiff" else {})


def _with_exif(file: bytes, format: str, about: Metadata, size: tuple[int, int], alpha: bool) -> bytes:
    if format == "jpeg":
        across, down = about.pixels_per_mm or (0.0, 0.0)
        dots = (round(across * _MM_PER_INCH), round(down * _MM_PER_INCH))
        known = all(1 <= value <= 65535 for value in dots)
        return metadata.into_jpeg(file, about.exif, about.xmp, dots if known else None)
    if format == "png":
        return metadata.into_png(file, about.exif, about.pixels_per_mm is not None)
    if about.exif is None:
        return file
    return (
        metadata.into_webp(file, about.exif, *size, alpha)
        if format == "webp"
        else metadata.exif_into_tiff(file, about.exif)
    )


def _described(about: Metadata, header: Header, format: str, provenance: str | None) -> Metadata:
    """What the output says: all that the source said, as far as it holds for the new file, and how it was made."""
    if format != header.format:
        about = _converted(about, header, format)
    xmp = about.xmp
    if provenance is not None:
        xmp = metadata.with_provenance(xmp, provenance)
    if format == "jpeg" and xmp is not None and not metadata.fits_jpeg(xmp):
        xmp = metadata.without_padding(xmp)
        if not metadata.fits_jpeg(xmp):  # then what the source says goes before what we say
            xmp = about.xmp
    return replace(about, xmp=xmp)


def _converted(about: Metadata, header: Header, format: str) -> Metadata:
    """What a picture turned upright in another format can say."""
    resolution = about.pixels_per_mm
    return replace(
        about,
        exif=metadata.clean_exif(about.exif, orientation=1) if about.exif else None,
        xmp=metadata.upright_xmp(about.xmp) if about.xmp else None,
        iptc=None,  # JPEG and TIFF wrap it differently, the others hold none
        pixels_per_mm=resolution[::-1] if resolution and header.orientation >= 5 else resolution,
        # grey becomes RGB in WebP, so a profile of grey would be wrong there
        icc=None if format == "webp" and header.channels < 3 else about.icc,
    )


def write_picture(
    bands: Iterable[Pixels],
    like: Picture,
    *,
    format: str | None = None,
    quality: int = 92,
    provenance: str | None = None,
) -> bytes:
    """A picture file, as bytes, of bands of stored rows, with all that the picture `like` says beside its pixels.

    The bands add up to the header's (H, W, C) and have its depth, uint8 or uint16. Where `format` is another than
    `like`'s, the pixels are turned upright and the orientation is 1. JPEG and WebP hold 8 bit: deeper values are
    rounded; JPEG holds no alpha: the picture is laid on white. `quality`, 1 to 100, serves JPEG and lossy WebP.
    `provenance` goes into the XMP. Raises SettingsError for an unknown format or quality, PictureError where the
    format cannot hold the picture.
    """
    header = like.header
    target = _known(format or header.format, quality)
    pixels = np.empty((header.height, header.width, header.channels), np.uint8 if header.depth == 8 else np.uint16)
    top = 0
    for band in bands:
        assert band.dtype == pixels.dtype, f"a band of {band.dtype} for a picture of {pixels.dtype}"
        pixels[top : top + len(band)] = band
        top += len(band)
    assert top == header.height, f"{top} rows for a picture of {header.height}"
    about = _described(like.metadata, header, target, provenance)
    if target == header.format:
        return _encode(pixels, target, quality, about, header.orientation, like.name)
    return _encode(upright(pixels, header.orientation), target, quality, about, 1, like.name)


def save_picture(
    path: Path,
    bands: Iterable[Pixels],
    like: Picture,
    *,
    format: str | None = None,
    quality: int = 92,
    provenance: str | None = None,
    overwrite: bool = False,
) -> None:
    """`write_picture` into a file, which appears whole or not at all; see there for the arguments.

    Raises OutputExists, before the first band is asked for, if there is a file already and `overwrite` is false.
    """
    _refuse_existing(path, overwrite)
    _put(path, write_picture(bands, like, format=format, quality=quality, provenance=provenance), overwrite)


def write_image(path: Path | str, array: Pixels, *, quality: int = 92, overwrite: bool = False) -> None:
    """Write an upright picture, (H, W) or (H, W, C) uint8, uint16 or float in [0, 1], in the format of the suffix.

    Floats become 8 bit. Raises SettingsError for an unknown suffix or an array that is no picture, OutputExists if
    there is a file already and `overwrite` is false, PictureError if writing fails.
    """
    path = Path(path)
    format = format_of_suffix(path.suffix)
    if format is None:
        raise SettingsError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}; choose one of these")
    target = _known(format, quality)
    pixels = _as_pixels(array)
    _refuse_existing(path, overwrite)
    _put(path, _encode(pixels, target, quality, Metadata(), 1, str(path)), overwrite)


def copy_file(source: Path, target: Path, *, overwrite: bool = False) -> None:
    """The very bytes of one file in another, which appears whole or not at all; errors as of `save_picture`."""
    _refuse_existing(target, overwrite)
    try:
        content = source.read_bytes()
    except OSError as error:
        raise PictureError(_unreadable(str(source), error)) from error
    _put(target, content, overwrite)


def format_of_suffix(suffix: str) -> str | None:
    """The format that a suffix such as ".JPG" speaks of; None if it is none of ours."""
    return SUFFIXES.get(suffix.lower())


def _known(format: str, quality: int) -> str:
    if format not in _NAMES:
        raise SettingsError(f"format {format!r}: expected one of {', '.join(_NAMES)}")
    if not 1 <= quality <= 100:
        raise SettingsError(f"quality {quality}: expected a whole number from 1 to 100")
    return format


def _as_pixels(array: Pixels) -> Pixels:
    """(H, W, C) uint8 or uint16 of an array as a caller has it."""
    array = np.asarray(array)
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] > 4):
        raise SettingsError(f"expected a picture of shape (H, W) or (H, W, 1 to 4), but the array has {array.shape}")
    if np.issubdtype(array.dtype, np.floating):
        if not (array.min() >= 0 and array.max() <= 1):  # written so that a NaN fails too
            raise SettingsError(f"expected floats in [0, 1], but they reach from {array.min():g} to {array.max():g}")
        array = np.rint(array * 255).astype(np.uint8)
    if array.dtype not in (np.uint8, np.uint16):
        raise SettingsError(f"expected uint8, uint16 or floats in [0, 1], but the array holds {array.dtype}")
    return array if array.ndim == 3 else array[..., None]


def _refuse_existing(path: Path, overwrite: bool) -> None:
    if os.path.lexists(path) and not overwrite:
        raise OutputExists(f"{path}: is already there and was left alone; allow overwriting or choose another name")


def _put(path: Path, data: bytes, overwrite: bool) -> None:
    """Write a file that appears whole or not at all; its errors are sentences."""
    try:
        write_whole(path, data, overwrite=overwrite)
    except FileExistsError as error:
        raise OutputExists(f"{path}: has appeared meanwhile and was left alone; choose another name") from error
    except OSError as error:
        raise PictureError(_unwritable(path, error)) from error


def _unwritable(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{path}: could not be written, there is no folder {path.parent}; make it first"
    if isinstance(error, PermissionError):
        return f"{path}: could not be written, you may not write in {path.parent}; choose another folder"
    reason = f"{error.strerror or error}"
    advice = "free some space or choose another disk" if error.errno == errno.ENOSPC else "check the disk and the path"
    return f"{path}: could not be written ({reason}), nothing was left behind; {advice}"
