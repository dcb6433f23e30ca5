"""Writes pixels as image files, or as their bytes, with the metadata of the images that they come from."""

import errno
import io
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mirnet.errors import OutputExists, PictureError, SettingsError
from mirnet.files import open_draft
from mirnet.formats import FORMATS, WRITABLE, WRITABLE_SUFFIXES, find_format
from mirnet.images.encoder import choose_bits, convert_bands, encode
from mirnet.images.image import DTYPES, Header, Image
from mirnet.images.libvips import describe_unreadable
from mirnet.images.orientation import Pixels
from mirnet.images.output_metadata import make_output_metadata
from mirnet.images.row_buffer import RowBuffer
from mirnet.metadata import Metadata, insert_metadata


def encode_image(
    bands: Iterable[Pixels],
    like: Image,
    *,
    format: str | None = None,
    quality: int = 92,
    provenance: str | None = None,
    strip_location: bool = False,
) -> tuple[bytes, tuple[str, ...]]:
    """Returns an image file as bytes, of bands of stored rows, with the metadata of the image `like`.

    The second result are remarks about what the new file cannot hold of `like`.

    The bands add up to the header's (H, W, C) and have its depth, uint8, uint16 or float32 in [0, 1]. `format` is one
    of `mirnet.formats.WRITABLE`; None stands for the output format of `like`'s. In another format than `like`'s, the
    pixels are turned upright and the orientation is 1. JPEG and WebP hold 8 bit, AVIF 12, PNG 16: deeper values are
    rounded; JPEG holds no alpha: the image is laid on white. `quality`, 1 to 100, serves JPEG, AVIF and lossy WebP.
    `provenance` goes into the XMP; `strip_location` leaves out where the photo was taken. Raises SettingsError for an
    unknown format or quality, PictureError where the format cannot hold the image.
    """
    target = refuse_unwritable(like, format, quality)
    metadata, remarks = make_output_metadata(like, target, provenance, strip_location)
    file = io.BytesIO()
    with _collect_rows(bands, like, target, None) as rows:
        _encode(rows, file, like, target, quality, metadata)
    return file.getvalue(), remarks


def save_image(
    path: Path,
    bands: Iterable[Pixels],
    like: Image,
    *,
    format: str | None = None,
    quality: int = 92,
    provenance: str | None = None,
    strip_location: bool = False,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Writes what `encode_image` returns, with the same arguments, into a file that appears whole or not at all.

    Returns the remarks. No whole image is held in memory, if the format allows: the rows of a large one wait in the
    output's folder, in a file without a name. Raises OutputExists, before the first band is read, if there is a file
    already and `overwrite` is false, and PictureError if writing fails.
    """
    target = refuse_unwritable(like, format, quality)
    _refuse_existing(path, overwrite)
    metadata, remarks = make_output_metadata(like, target, provenance, strip_location)
    with _describe_errors(path):
        _refuse_closed_folder(path.parent)
        with _collect_rows(bands, like, target, path.parent) as rows, open_draft(path, overwrite=overwrite) as file:
            _encode(rows, file, like, target, quality, metadata)
    return remarks


def refuse_unwritable(image: Image, format: str | None = None, quality: int = 92) -> str:
    """Returns the name of the format of the output, having checked before any work that the image can be written.

    Raises SettingsError for an unknown format or quality, PictureError for an image with longer sides than the format
    holds.
    """
    target = format or FORMATS[image.header.format].output
    _refuse_unknown(target, quality)
    _refuse_long_sides(image.header, target, image.name)
    return target


@contextmanager
def _collect_rows(bands: Iterable[Pixels], like: Image, format: str, folder: Path | None) -> Iterator[RowBuffer]:
    """Collects all rows, in the depth of the output, and turned upright where its format is not the source's."""
    header = like.header
    bits = choose_bits(format, header.depth, like.bits)
    channels = header.channels - (format == "jpeg" and header.channels in (2, 4))
    turn = 1 if format == header.format else header.orientation
    with RowBuffer(
        (header.height, header.width, channels), DTYPES[bits if bits in DTYPES else 16], turn, folder
    ) as rows:
        for band in convert_bands(_check_depth(bands, header.depth), format, bits):
            rows.add(band)
        yield rows


def _encode(rows: RowBuffer, file: BinaryIO, like: Image, format: str, quality: int, metadata: Metadata) -> None:
    """Writes the rows into an empty file, then inserts the metadata."""
    header = like.header
    encode(
        rows.image(),
        file,
        format,
        quality=quality,
        bits=choose_bits(format, header.depth, like.bits),
        metadata=metadata,
        orientation=header.orientation if format == header.format else 1,
        name=like.name,
    )
    insert_metadata(file, format, metadata)


def _check_depth(bands: Iterable[Pixels], depth: int) -> Iterator[Pixels]:
    for band in bands:
        assert band.dtype == DTYPES[depth], f"a band of {band.dtype} for an image of depth {depth}"
        yield band


def write_image(path: Path | str, array: Pixels, *, quality: int = 92, overwrite: bool = False) -> None:
    """Writes an upright image, (H, W) or (H, W, C) uint8, uint16 or float in [0, 1], in the format of the suffix.

    Floats become 8 bit. Raises SettingsError for an unknown suffix or an array that is no image, OutputExists if there
    is a file already and `overwrite` is false, PictureError if writing fails.
    """
    path = Path(path)
    format = find_format(path.suffix)
    if format is None or not format.writable:
        raise SettingsError(f"{path}: expected a name that ends in {', '.join(WRITABLE_SUFFIXES)}; choose one of these")
    pixels = _to_pixels(array)
    height, width, channels = pixels.shape
    depth = 8 * pixels.dtype.itemsize
    header = Header(width, height, channels, depth, format.name, 1)
    image = Image(header, Metadata, str(path), path, lambda rows: [pixels], bits=depth)
    save_image(path, [pixels], image, quality=quality, overwrite=overwrite)


def copy_file(source: Path, target: Path, *, overwrite: bool = False) -> None:
    """Copies a file byte for byte; the copy appears whole or not at all. Raises as `save_image` does."""
    _refuse_existing(target, overwrite)
    try:
        original = source.open("rb")
    except OSError as error:
        raise PictureError(describe_unreadable(str(source), error)) from error
    with original, _describe_errors(target), open_draft(target, overwrite=overwrite) as file:
        shutil.copyfileobj(original, file)


def _refuse_closed_folder(folder: Path) -> None:
    """Raises OSError where no file can be made, before the work and not after it."""
    with tempfile.TemporaryFile(dir=folder, prefix=".mirnet-", suffix=".part"):
        pass


def _refuse_unknown(format: str, quality: int) -> None:
    if format not in WRITABLE:
        raise SettingsError(f"format {format!r}: expected one of {', '.join(WRITABLE)}")
    if not 1 <= quality <= 100:
        raise SettingsError(f"quality {quality}: expected a whole number from 1 to 100")


def _refuse_long_sides(header: Header, format: str, name: str) -> None:
    limit = FORMATS[format].longest_side_px
    if max(header.height, header.width) > limit:
        raise PictureError(
            f"{name}: {FORMATS[format].title} holds at most {limit} pixels a side, "
            f"but the image has {header.width} x {header.height}; write PNG or TIFF instead"
        )


def _to_pixels(array: Pixels) -> Pixels:
    """Returns a caller's array as (H, W, C) uint8 or uint16. Raises SettingsError."""
    array = np.asarray(array)
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] > 4):
        raise SettingsError(f"expected an image of shape (H, W) or (H, W, 1 to 4), but the array has {array.shape}")
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


@contextmanager
def _describe_errors(path: Path) -> Iterator[None]:
    """Turns errors of writing a file into errors with a message for the user."""
    try:
        yield
    except FileExistsError as error:
        raise OutputExists(f"{path}: has appeared meanwhile and was left alone; choose another name") from error
    except OSError as error:
        raise PictureError(_describe_unwritable(path, error)) from error


def _describe_unwritable(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{path}: could not be written, there is no folder {path.parent}; make it first"
    if isinstance(error, PermissionError):
        return f"{path}: could not be written, you may not write in {path.parent}; choose another folder"
    reason = f"{error.strerror or error}"
    advice = "free some space or choose another disk" if error.errno == errno.ENOSPC else "check the disk and the path"
    return f"{path}: could not be written ({reason}), nothing was left behind; {advice}"
