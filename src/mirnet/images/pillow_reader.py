"""BMP and PPM pictures, which Pillow reads. It decodes them whole; they are plain enough for that to be quick."""

import re
import struct
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np

from mirnet import metadata
from mirnet.errors import PictureError
from mirnet.images.image import DTYPES, File, Header, Image, whole
from mirnet.images.libvips import damaged
from mirnet.images.orientation import Pixels
from mirnet.metadata import Metadata

_MODES = {"1": "L", "L": "L", "P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBA": "RGBA", "LA": "LA", "I": "I"}
_MM_PER_INCH = 25.4
_WHOLE_BYTES = 7  # of memory a pixel: Pillow's four, and ours
_LONGEST_HEAD_BYTES = 1 << 16
_DAMAGE = (OSError, SyntaxError, ValueError, struct.error, KeyError, IndexError, OverflowError)  # as Pillow says it


def read(file: File, format: str) -> Image:
    """Open a BMP or PPM picture, nothing decoded yet."""
    try:
        with file.open() as stream:
            if format == "ppm":
                _refuse_endless_head(stream)
            image = _header(stream, format)
            about = metadata.read(stream, format)
    except _DAMAGE as error:
        raise PictureError(damaged(file.name, format, error)) from error
    file.refuse_size(image.size[0], image.size[1], _WHOLE_BYTES)
    if image.mode not in _MODES:
        raise PictureError(f"{file.name}: expected 8 or 16 bit values, but this picture holds others; convert it")
    largest = _largest(image)
    depth = 16 if largest > 255 else 8
    channels = len(_MODES[image.mode].replace("I", "L"))
    header = Header(image.size[0], image.size[1], channels, depth, format, 1)
    remarks = ("its palette became RGB",) if image.mode == "P" else ()
    return Image(
        header,
        _with_resolution(about, image),
        file.name,
        file.source,
        whole(lambda: _pixels(file, header, largest)),
        remarks,
        depth,
    )


def _refuse_endless_head(stream: BinaryIO) -> None:
    """Raises ValueError for a PPM whose sizes do not come soon: Pillow reads comments byte by byte, however long."""
    words = re.sub(rb"#[^\r\n]*", b" ", stream.read(_LONGEST_HEAD_BYTES)).split(None, 4)
    if len(words) < (3 if words[0] in (b"P1", b"P4") else 4):
        raise ValueError("its head has no end")
    stream.seek(0)


def _header(stream: Any, format: str) -> Any:
    """Pillow's reading of the file's head, by the format's own class: we bound the size ourselves."""
    from PIL.BmpImagePlugin import BmpImageFile
    from PIL.PpmImagePlugin import PpmImageFile

    return BmpImageFile(stream) if format == "bmp" else PpmImageFile(stream)


def _largest(image: Any) -> int:
    """The value that means white: what a PPM says, if it has more than 8 bits."""
    if image.format != "PPM" or not image.tile:
        return 255
    codec, _, _, arguments = image.tile[0]
    if codec == "raw":
        return 65535 if arguments == "I;16B" else 255
    return max(255, int(arguments[1])) if isinstance(arguments, tuple) else 255


def _pixels(file: File, header: Header, largest: int) -> Pixels:
    try:
        with file.open() as stream:
            image = _header(stream, header.format)
            if header.depth == 16 and image.tile[0][0] != "ppm_plain":  # Pillow would round colour to 8 bit
                return _deep(stream, image.tile[0][2], header, largest)
            image.load()
    except _DAMAGE as error:
        raise PictureError(damaged(file.name, header.format, error)) from error
    if header.depth == 16 and image.mode != "I":
        raise PictureError(f"{file.name}: expected a binary PPM, but this one of 16 bit is written as text; convert it")
    array = np.asarray(image.convert(_MODES[image.mode]))
    return array.astype(DTYPES[header.depth]).reshape(header.height, header.width, -1)


def _deep(stream: Any, place: int, header: Header, largest: int) -> Pixels:
    """Values of 16 bit, the upper byte first, as 0 to 65535."""
    stream.seek(place)
    count = header.height * header.width * header.channels
    values = np.frombuffer(stream.read(2 * count), ">u2")
    if len(values) < count:
        raise ValueError("the file ends before its pixels do")
    spread = values if largest == 65535 else np.minimum(values.astype(np.uint32) * 65535 // largest, 65535)
    return spread.astype(np.uint16).reshape(header.height, header.width, header.channels)


def _with_resolution(about: Metadata, image: Any) -> Metadata:
    dots = image.info.get("dpi")
    if dots is None or min(dots) <= 0:
        return about
    return replace(about, pixels_per_mm=(dots[0] / _MM_PER_INCH, dots[1] / _MM_PER_INCH))
