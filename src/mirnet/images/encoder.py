"""Encodes pixels as a file of one of the formats that we write, by libvips."""

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np

from mirnet.errors import PictureError
from mirnet.formats import FORMATS
from mirnet.images.image import DTYPES
from mirnet.images.libvips import vips
from mirnet.images.orientation import Pixels
from mirnet.metadata import Metadata

OPTIMIZED_JPEG_PIXELS = 30_000_000  # to optimise its tables, the encoder holds a JPEG whole, 6 bytes a pixel
BIG_TIFF_BYTES = 3_500_000_000  # offsets of 32 bits end at 4 GB, and what does not compress grows a little
AVIF_EFFORT = 2  # of 0 to 9: 12 megapixels in 3 s on two cores; 4 takes 35 s for a file 4 % smaller
_SAVERS = {"avif": "heif"}  # where libvips calls a format by another name


def choose_depth(format: str, depth: int) -> int:
    """The depth, 8, 16 or 32, that a format gives to pixels of some depth."""
    if format in ("jpeg", "webp"):
        return 8
    return depth if format == "tiff" else min(depth, 16)


def choose_bits(format: str, depth: int, bits: int) -> int:
    """The bits of a value in the file: AVIF has 8, 10 or 12, of which 10 is what every viewer reads."""
    if format != "avif":
        return choose_depth(format, depth)
    return 8 if depth == 8 else bits if bits in (10, 12) else 10


def convert_bands(bands: Iterable[Pixels], format: str, bits: int) -> Iterator[Pixels]:
    """Yields bands in the depth of the file, without transparency where the format has none."""
    for band in bands:
        converted = convert_depth(band, 8 if bits == 8 else 32 if bits == 32 else 16)
        if format == "jpeg":
            converted = lay_on_white(converted)
        yield _to_upper_bits(converted, bits) if bits in (10, 12) else converted


def convert_depth(pixels: Pixels, depth: int) -> Pixels:
    """uint8, uint16 or floats in [0, 1] to a depth of 8, 16 or 32, to the nearest value (65535 is 257 times 255)."""
    wanted = DTYPES[depth]
    if pixels.dtype == wanted:
        return pixels
    if pixels.dtype.kind == "f":
        return np.rint(pixels * np.float32(np.iinfo(wanted).max)).astype(wanted)
    assert depth == 8, f"{pixels.dtype} into {depth} bits"
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def lay_on_white(pixels: Pixels) -> Pixels:
    """(H, W, C) uint8 without its alpha, which JPEG lacks: laid on white, as on a page."""
    if pixels.shape[2] not in (2, 4):
        return pixels
    alpha = pixels[..., -1:].astype(np.uint32)
    return ((pixels[..., :-1] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _to_upper_bits(pixels: Pixels, bits: int) -> Pixels:
    """0 to 65535 to the nearest value of `bits` bits, in the upper bits of 16, where libvips expects them."""
    largest = (1 << bits) - 1
    return (((pixels.astype(np.uint32) * largest + 32767) // 65535) << (16 - bits)).astype(np.uint16)


def encode(
    image: Any,
    stream: BinaryIO,
    format: str,
    *,
    quality: int,
    bits: int,
    metadata: Metadata,
    orientation: int,
    name: str,
) -> None:
    """Writes an image of libvips into an empty file, with its colour profile and no other metadata.

    The file is open for reading too. Raises PictureError where the library cannot encode the image, and OSError.
    """
    image = _add_profile(image, metadata, orientation)
    options = _choose_saver_options(image, format, quality, bits, metadata)
    save = f"{_SAVERS.get(format, format)}save"
    disk_errors: list[OSError] = []
    try:
        if stream.seekable() and hasattr(stream, "raw"):  # a file, and not bytes in memory
            getattr(image, f"{save}_target")(_make_target(stream.raw, disk_errors), **options)
        else:
            stream.write(getattr(image, f"{save}_buffer")(**options))
    except vips().Error as error:
        if disk_errors:
            raise disk_errors[0] from error
        raise PictureError(f"{name}: could not be written as {FORMATS[format].title} ({error})") from error


def _make_target(file: Any, disk_errors: list[OSError]) -> Any:
    """Returns a target of libvips that writes to an unbuffered file and adds what the disk raises to `disk_errors`.

    libvips keeps its own messages in one list for all threads, where threads that fail together mix them up.
    """

    def write(chunk: Any) -> int:
        try:
            return int(file.write(chunk))
        except OSError as error:
            disk_errors.append(error)
            return -1

    target = vips().TargetCustom()
    target.on_write(write)
    target.on_read(file.read)
    target.on_seek(file.seek)
    return target


def _add_profile(image: Any, metadata: Metadata, orientation: int) -> Any:
    types = vips().GValue
    image = image.copy()
    if metadata.icc is not None:
        image.set_type(types.blob_type, "icc-profile-data", metadata.icc)
    image.set_type(types.gint_type, "orientation", orientation)  # TIFF alone keeps it apart from the EXIF block
    return image


def _choose_saver_options(image: Any, format: str, quality: int, bits: int, metadata: Metadata) -> dict[str, Any]:
    keep: dict[str, Any] = {"keep": "icc"}
    if format == "jpeg":  # 4:4:4, since halved colour shows in exactly the dark reds and blues that we brighten
        optimize = image.width * image.height <= OPTIMIZED_JPEG_PIXELS
        return keep | {"Q": quality, "subsample_mode": "off", "optimize_coding": optimize}
    if format == "webp" and metadata.lossless:
        return keep | {"lossless": True, "exact": True}  # exact: colours under full transparency stay too
    if format == "webp":
        return keep | {"Q": quality, "smart_subsample": True}
    if format == "avif":
        lossless = {"lossless": True} if metadata.lossless else {"Q": quality}
        return (
            keep | lossless | {"compression": "av1", "effort": AVIF_EFFORT, "bitdepth": bits, "subsample_mode": "off"}
        )
    if format == "tiff":
        size = image.width * image.height * image.bands * {"uchar": 1, "ushort": 2, "float": 4}[image.format]
        predictor = "none" if image.format == "float" else "horizontal"  # few programs know a predictor for floats
        return keep | {"compression": "deflate", "predictor": predictor, "bigtiff": size > BIG_TIFF_BYTES}
    return keep
