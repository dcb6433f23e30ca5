"""Pixels and what a picture says, as a file of one of the formats that we write."""

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np

from mirnet.errors import PictureError
from mirnet.formats import FORMATS
from mirnet.images.image import DTYPES
from mirnet.images.libvips import vips
from mirnet.images.orientation import Pixels
from mirnet.metadata import Metadata

SPARE_MEMORY_PIXELS = 30_000_000  # a JPEG with tables of its own is held whole by its encoder, 6 bytes a pixel
BIG_TIFF_BYTES = 3_500_000_000  # offsets of 32 bits end at 4 GB, and what does not compress grows a little
AVIF_EFFORT = 2  # of 0 to 9: 12 megapixels in 3 s on two cores; 4 takes 35 s for a file 4 % smaller
_SAVERS = {"avif": "heif"}  # where libvips calls a format by another name


def depth_in(format: str, depth: int) -> int:
    """The depth, 8, 16 or 32, that pixels of some depth get in a format."""
    if format in ("jpeg", "webp"):
        return 8
    return depth if format == "tiff" else min(depth, 16)


def bits_in(format: str, depth: int, bits: int) -> int:
    """The bits of a value in the file: AVIF has 8, 10 or 12, of which 10 is what every viewer reads."""
    if format != "avif":
        return depth_in(format, depth)
    return 8 if depth == 8 else bits if bits in (10, 12) else 10


def fitted(bands: Iterable[Pixels], format: str, bits: int) -> Iterator[Pixels]:
    """Bands with the depth, and without the transparency, that a format has not."""
    for band in bands:
        fitting = as_depth(band, 8 if bits == 8 else 32 if bits == 32 else 16)
        if format == "jpeg":
            fitting = on_white(fitting)
        yield _upper_bits(fitting, bits) if bits in (10, 12) else fitting


def as_depth(pixels: Pixels, depth: int) -> Pixels:
    """uint8, uint16 or floats in [0, 1] as one of them, to the nearest value (65535 is 257 times 255)."""
    wanted = DTYPES[depth]
    if pixels.dtype == wanted:
        return pixels
    if pixels.dtype.kind == "f":
        return np.rint(pixels * np.float32(np.iinfo(wanted).max)).astype(wanted)
    assert depth == 8, f"{pixels.dtype} into {depth} bits"
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def on_white(pixels: Pixels) -> Pixels:
    """(H, W, C) uint8 without its alpha, which JPEG lacks: laid on white, as on a page."""
    if pixels.shape[2] not in (2, 4):
        return pixels
    alpha = pixels[..., -1:].astype(np.uint32)
    return ((pixels[..., :-1] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _upper_bits(pixels: Pixels, bits: int) -> Pixels:
    """0 to 65535 as the nearest of so many bits, the upper ones of 16: where libvips wants them."""
    largest = (1 << bits) - 1
    return (((pixels.astype(np.uint32) * largest + 32767) // 65535) << (16 - bits)).astype(np.uint16)


def encode(
    image: Any, stream: BinaryIO, format: str, *, quality: int, bits: int, about: Metadata, orientation: int, name: str
) -> None:
    """Write an image of libvips' into an empty file, open for reading too, with its colour profile and nothing else.

    Raises PictureError where the library cannot, and whatever the disk raises.
    """
    image = _with_profile(image, about, orientation)
    options = _saver_options(image, format, quality, bits, about)
    save = f"{_SAVERS.get(format, format)}save"
    refusals: list[OSError] = []
    try:
        if stream.seekable() and hasattr(stream, "raw"):  # a file, and not bytes in memory
            getattr(image, f"{save}_target")(_into(stream.raw, refusals), **options)
        else:
            stream.write(getattr(image, f"{save}_buffer")(**options))
    except vips().Error as error:
        if refusals:
            raise refusals[0] from error
        raise PictureError(f"{name}: could not be written as {FORMATS[format].title} ({error})") from error


def _into(file: Any, refusals: list[OSError]) -> Any:
    """A target of libvips that is this unbuffered file, and what the disk refuses.

    What libvips says of a full disk is in one list for all threads, and whoever fails at the same moment takes it.
    """

    def write(chunk: Any) -> int:
        try:
            return int(file.write(chunk))
        except OSError as error:
            refusals.append(error)
            return -1

    target = vips().TargetCustom()
    target.on_write(write)
    target.on_read(file.read)
    target.on_seek(file.seek)
    return target


def _with_profile(image: Any, about: Metadata, orientation: int) -> Any:
    types = vips().GValue
    image = image.copy()
    if about.icc is not None:
        image.set_type(types.blob_type, "icc-profile-data", about.icc)
    image.set_type(types.gint_type, "orientation", orientation)  # TIFF alone keeps it apart from the EXIF block
    return image


def _saver_options(image: Any, format: str, quality: int, bits: int, about: Metadata) -> dict[str, Any]:
    keep: dict[str, Any] = {"keep": "icc"}
    if format == "jpeg":  # 4:4:4, since halved colour shows in exactly the dark reds and blues that we brighten
        spare = image.width * image.height <= SPARE_MEMORY_PIXELS
        return keep | {"Q": quality, "subsample_mode": "off", "optimize_coding": spare}
    if format == "webp" and about.lossless:
        return keep | {"lossless": True, "exact": True}  # exact: colours under full transparency stay too
    if format == "webp":
        return keep | {"Q": quality, "smart_subsample": True}
    if format == "avif":
        lossless = {"lossless": True} if about.lossless else {"Q": quality}
        return (
            keep | lossless | {"compression": "av1", "effort": AVIF_EFFORT, "bitdepth": bits, "subsample_mode": "off"}
        )
    if format == "tiff":
        bytes_in_all = image.width * image.height * image.bands * {"uchar": 1, "ushort": 2, "float": 4}[image.format]
        predictor = "none" if image.format == "float" else "horizontal"  # of floats not every program knows one
        return keep | {"compression": "deflate", "predictor": predictor, "bigtiff": bytes_in_all > BIG_TIFF_BYTES}
    return keep
