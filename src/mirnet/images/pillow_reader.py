"""Opens BMP and PPM by Pillow, which decodes them whole; they are plain enough for that to be quick."""

import re
import struct
from typing import Any, BinaryIO

import numpy as np

from mirnet.errors import PictureError
from mirnet.images.image import DTYPES, File, Header, Image, decode_whole
from mirnet.images.libvips import describe_damaged
from mirnet.images.orientation import Pixels
from mirnet.metadata import Metadata

_MODES = {"1": "L", "L": "L", "P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBA": "RGBA", "LA": "LA", "I": "I"}
_MM_PER_INCH = 25.4
_DECODED_BYTES = 7  # of memory a pixel: Pillow's four, and ours
_LONGEST_HEADER_BYTES = 1 << 16
_DAMAGE = (OSError, SyntaxError, ValueError, struct.error, KeyError, IndexError, OverflowError)  # what Pillow raises


def read(file: File, format: str) -> Image:
    """Opens a BMP or PPM image and decodes nothing yet."""
    try:
        with file.open() as stream:
            if format == "ppm":
                _refuse_endless_header(stream)
            image = _read_header(stream, format)
    except _DAMAGE as error:
        raise PictureError(describe_damaged(file.name, format, error)) from error
    file.refuse_size(image.size[0], image.size[1], _DECODED_BYTES)
    if image.mode not in _MODES:
        raise PictureError(f"{file.name}: expected 8 or 16 bit values, but this image holds others; convert it")
    white = _read_white(image)
    depth = 16 if white > 255 else 8
    channels = len(_MODES[image.mode].replace("I", "L"))
    header = Header(image.size[0], image.size[1], channels, depth, format, 1)
    remarks = ("its palette became RGB",) if image.mode == "P" else ()
    across, down = image.info.get("dpi") or (0, 0)
    resolution = (across / _MM_PER_INCH, down / _MM_PER_INCH) if min(across, down) > 0 else None
    return Image(
        header,
        lambda: Metadata(pixels_per_mm=resolution),
        file.name,
        file.source,
        decode_whole(lambda: _decode(file, header, white)),
        remarks,
        depth,
    )


def _refuse_endless_header(stream: BinaryIO) -> None:
    """Raises ValueError for a PPM with more than 64 kB ahead of its size: Pillow reads comments byte by byte."""
    fields = re.sub(rb"#[^\r\n]*", b" ", stream.read(_LONGEST_HEADER_BYTES)).split(None, 4)
    if len(fields) < (3 if fields[0] in (b"P1", b"P4") else 4):
        raise ValueError("its header has no end")
    stream.seek(0)


def _read_header(stream: Any, format: str) -> Any:
    """The image with its header read, by the format's own class of Pillow: we bound the size ourselves."""
    from PIL.BmpImagePlugin import BmpImageFile
    from PIL.PpmImagePlugin import PpmImageFile

    return BmpImageFile(stream) if format == "bmp" else PpmImageFile(stream)


def _read_white(image: Any) -> int:
    """The value of white: as a PPM of more than 8 bits states it, else 255."""
    if image.format != "PPM" or not image.tile:
        return 255
    codec, _, _, arguments = image.tile[0]
    if codec == "raw":
        return 65535 if arguments == "I;16B" else 255
    return max(255, int(arguments[1])) if isinstance(arguments, tuple) else 255


def _decode(file: File, header: Header, white: int) -> Pixels:
    try:
        with file.open() as stream:
            image = _read_header(stream, header.format)
            if header.depth == 16 and image.tile[0][0] != "ppm_plain":  # Pillow would round colour to 8 bit
                return _decode_16_bit(stream, image.tile[0][2], header, white)
            image.load()
    except _DAMAGE as error:
        raise PictureError(describe_damaged(file.name, header.format, error)) from error
    if header.depth == 16 and image.mode != "I":
        raise PictureError(f"{file.name}: expected a binary PPM, but this one of 16 bit is written as text; convert it")
    array = np.asarray(image.convert(_MODES[image.mode]))
    return array.astype(DTYPES[header.depth]).reshape(header.height, header.width, -1)


def _decode_16_bit(stream: Any, offset: int, header: Header, white: int) -> Pixels:
    """Values of 16 bit, the upper byte first, as 0 to 65535."""
    stream.seek(offset)
    count = header.height * header.width * header.channels
    values = np.frombuffer(stream.read(2 * count), ">u2")
    if len(values) < count:
        raise ValueError("the file ends before its pixels do")
    spread = values if white == 65535 else np.minimum(values.astype(np.uint32) * 65535 // white, 65535)
    return spread.astype(np.uint16).reshape(header.height, header.width, header.channels)
