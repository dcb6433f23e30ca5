"""Arrays to files and bytes, with what the pictures that they come from say beside their pixels."""

import errno
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mirnet import metadata
from mirnet.errors import OutputExists, PictureError, SettingsError
from mirnet.files import write_whole
from mirnet.images.library import NAMES, SUFFIXES, format_of_suffix, unreadable, vips
from mirnet.images.opening import Header, Metadata, Picture
from mirnet.images.orientation import Pixels, upright

_LONGEST_SIDE_PX = {"jpeg": 65535, "png": 2**31 - 1, "webp": 16383, "tiff": 2**31 - 1}
_MM_PER_INCH = 25.4


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
            f"{name}: {NAMES[format]} holds at most {_LONGEST_SIDE_PX[format]} pixels a side, "
            f"but the picture has {width} x {height}; write PNG or TIFF instead"
        )
    image = _with_metadata(_as_vips(pixels, about), format, about, orientation)
    try:
        file: bytes = image.write_to_buffer(f".{format}", **_saver_options(format, quality, about))
    except vips().Error as error:
        raise PictureError(f"{name}: could not be written as {NAMES[format]} ({error})") from error
    try:
        return _with_exif(file, format, about, (width, height), channels in (2, 4))
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from error


def _as_vips(pixels: Pixels, about: Metadata) -> Any:
    height, width, channels = pixels.shape
    deep = pixels.dtype == np.uint16
    kind = ("grey16" if deep else "b-w") if channels < 3 else ("rgb16" if deep else "srgb")
    contiguous = np.ascontiguousarray(pixels)
    image = vips().Image.new_from_memory(contiguous, width, height, channels, "ushort" if deep else "uchar")
    across, down = about.pixels_per_mm or (1.0, 1.0)
    return image.copy(interpretation=kind, xres=across, yres=down)


def _with_metadata(image: Any, format: str, about: Metadata, orientation: int) -> Any:
    """The image with what libvips itself writes well; EXIF, and XMP in JPEG, come later."""
    blob, text, whole = vips().GValue.blob_type, vips().GValue.gstr_type, vips().GValue.gint_type
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
        raise PictureError(unreadable(str(source), error)) from error
    _put(target, content, overwrite)


def _known(format: str, quality: int) -> str:
    if format not in NAMES:
        raise SettingsError(f"format {format!r}: expected one of {', '.join(NAMES)}")
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
