"""Arrays to files and bytes, with what the pictures that they come from say beside their pixels."""

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

from mirnet import metadata
from mirnet.errors import OutputExists, PictureError, SettingsError
from mirnet.files import draft_of
from mirnet.formats import FORMATS, WRITABLE
from mirnet.images.encoder import bits_in, encode, fitted
from mirnet.images.image import DTYPES, Header, Image
from mirnet.images.libvips import SUFFIXES, format_of_suffix, unreadable
from mirnet.images.orientation import Pixels
from mirnet.images.output_metadata import described
from mirnet.images.row_buffer import Scratch
from mirnet.metadata import Metadata


def encode_image(
    bands: Iterable[Pixels],
    like: Image,
    *,
    format: str | None = None,
    quality: int = 92,
    provenance: str | None = None,
    strip_location: bool = False,
) -> tuple[bytes, tuple[str, ...]]:
    """A picture file, as bytes, of bands of stored rows, with all that the picture `like` says beside its pixels.

    The second result are sentences about what the new file cannot hold of what the picture said.

    The bands add up to the header's (H, W, C) and have its depth, uint8, uint16 or float32 in [0, 1]. `format` is one
    of `mirnet.formats.WRITABLE`; None: the one that belongs to `like`'s. Where it is another than `like`'s, the pixels
    are turned upright and the orientation is 1. JPEG and WebP hold 8 bit, AVIF 12, PNG 16: deeper values are rounded;
    JPEG holds no alpha: the picture is laid on white. `quality`, 1 to 100, serves JPEG, AVIF and lossy WebP.
    `provenance` goes into the XMP; `strip_location` leaves out where the picture was taken. Raises SettingsError for
    an unknown format or quality, PictureError where the format cannot hold the picture.
    """
    target = refuse_unwritable(like, format, quality)
    about, remarks = described(like, target, provenance, strip_location)
    file = io.BytesIO()
    with _gathered(bands, like, target, None) as scratch:
        _encode(scratch, file, like, target, quality, about)
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
    """`write_picture` into a file, which appears whole or not at all; see there for the arguments.

    Returns the sentences alone. No whole picture is held in memory, if the format allows: the rows of a large one wait
    in the output's folder, in a file without a name. Raises OutputExists, before the first band is asked for, if there
    is a file already and `overwrite` is false.
    """
    target = refuse_unwritable(like, format, quality)
    _refuse_existing(path, overwrite)
    about, remarks = described(like, target, provenance, strip_location)
    with _told(path):
        _refuse_closed_folder(path.parent)
        with _gathered(bands, like, target, path.parent) as scratch, draft_of(path, overwrite=overwrite) as file:
            _encode(scratch, file, like, target, quality, about)
    return remarks


def refuse_unwritable(picture: Image, format: str | None = None, quality: int = 92) -> str:
    """The name of the format that a picture will be written in, which can hold it.

    Raises SettingsError for a format or quality that there is not, PictureError for a picture with longer sides than
    the format holds: before any work is done.
    """
    target = _known(format or FORMATS[picture.header.format].result, quality)
    _refuse_long_sides(picture.header, target, picture.name)
    return target


@contextmanager
def _gathered(bands: Iterable[Pixels], like: Image, format: str, folder: Path | None) -> Iterator[Scratch]:
    """All rows, as deep as the format takes them, and turned upright where it is another than the source's."""
    header = like.header
    bits = bits_in(format, header.depth, like.bits)
    channels = header.channels - (format == "jpeg" and header.channels in (2, 4))
    turn = 1 if format == header.format else header.orientation
    with Scratch(
        (header.height, header.width, channels), DTYPES[bits if bits in DTYPES else 16], turn, folder
    ) as scratch:
        for band in fitted(_of_depth(bands, header.depth), format, bits):
            scratch.add(band)
        yield scratch


def _encode(scratch: Scratch, file: BinaryIO, like: Image, format: str, quality: int, about: Metadata) -> None:
    """Fill an empty file with the rows, then with what the picture says."""
    header = like.header
    encode(
        scratch.image(),
        file,
        format,
        quality=quality,
        bits=bits_in(format, header.depth, like.bits),
        about=about,
        orientation=header.orientation if format == header.format else 1,
        name=like.name,
    )
    metadata.finish(file, format, about)


def _of_depth(bands: Iterable[Pixels], depth: int) -> Iterator[Pixels]:
    for band in bands:
        assert band.dtype == DTYPES[depth], f"a band of {band.dtype} for a picture of depth {depth}"
        yield band


def write_image(path: Path | str, array: Pixels, *, quality: int = 92, overwrite: bool = False) -> None:
    """Write an upright picture, (H, W) or (H, W, C) uint8, uint16 or float in [0, 1], in the format of the suffix.

    Floats become 8 bit. Raises SettingsError for an unknown suffix or an array that is no picture, OutputExists if
    there is a file already and `overwrite` is false, PictureError if writing fails.
    """
    path = Path(path)
    format = format_of_suffix(path.suffix)
    if format not in WRITABLE:
        raise SettingsError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}; choose one of these")
    pixels = _as_pixels(array)
    height, width, channels = pixels.shape
    depth = 8 * pixels.dtype.itemsize
    header = Header(width, height, channels, depth, format, 1)
    picture = Image(header, Metadata(), str(path), path, lambda rows: [pixels], bits=depth)
    save_image(path, [pixels], picture, quality=quality, overwrite=overwrite)


def copy_file(source: Path, target: Path, *, overwrite: bool = False) -> None:
    """The very bytes of one file in another, which appears whole or not at all; errors as of `save_picture`."""
    _refuse_existing(target, overwrite)
    try:
        original = source.open("rb")
    except OSError as error:
        raise PictureError(unreadable(str(source), error)) from error
    with original, _told(target), draft_of(target, overwrite=overwrite) as file:
        shutil.copyfileobj(original, file)


def _refuse_closed_folder(folder: Path) -> None:
    """Raises OSError where no file can be made: better before the work than after it."""
    with tempfile.TemporaryFile(dir=folder, prefix=".mirnet-", suffix=".part"):
        pass


def _known(format: str, quality: int) -> str:
    if format not in WRITABLE:
        raise SettingsError(f"format {format!r}: expected one of {', '.join(WRITABLE)}")
    if not 1 <= quality <= 100:
        raise SettingsError(f"quality {quality}: expected a whole number from 1 to 100")
    return format


def _refuse_long_sides(header: Header, format: str, name: str) -> None:
    limit = FORMATS[format].longest_side_px
    if max(header.height, header.width) > limit:
        raise PictureError(
            f"{name}: {FORMATS[format].title} holds at most {limit} pixels a side, "
            f"but the picture has {header.width} x {header.height}; write PNG or TIFF instead"
        )


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


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What goes wrong with writing a file, as sentences."""
    try:
        yield
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
