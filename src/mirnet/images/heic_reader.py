"""HEIC and HEIF, the photographs of phones, which libheif reads (the extra `heic`). It decodes them whole."""

from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np

from mirnet import metadata
from mirnet.errors import PictureError
from mirnet.extras import needs
from mirnet.images.image import File, Header, Image, full_range, whole
from mirnet.images.libvips import damaged
from mirnet.images.orientation import Pixels
from mirnet.metadata import bmff
from mirnet.metadata.tiff_directories import Damaged

_WHOLE_BYTES = 9  # of memory a pixel
_CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
_DAMAGE = (ValueError, EOFError, SyntaxError, RuntimeError, OSError, IndexError, Damaged)  # as pi_heif says it


def read(file: File, format: str) -> Image:
    """Open a HEIC picture, nothing decoded yet. It becomes a TIFF, so all of it is handed over as 16 bit.

    libheif turns the picture upright by the box that says so; the EXIF's orientation is then 1, whatever it was.
    """
    image = _opened(file)
    mode = image.mode.split(";")[0].upper()
    if mode not in _CHANNELS:
        raise PictureError(f"{file.name}: expected grey or RGB, but this HEIC holds {image.mode}; convert it")
    header = Header(image.size[0], image.size[1], _CHANNELS[mode], 16, format, 1)
    info = image.info
    with file.open() as stream:
        about = metadata.read(stream, format)
    about = replace(about, icc=info.get("icc_profile") or about.icc)
    bits = int(info.get("bit_depth", 8))
    decode = whole(lambda: _pixels(file, header), lambda band: _deepened(band, bits))
    return Image(header, about, file.name, file.source, decode, (), bits)


def _opened(file: File) -> Any:
    with needs("heic", PictureError, f"{file.name}: a HEIC picture"):
        import pi_heif
    try:
        with file.open() as stream:
            content = _without_descriptions(stream)
        image = pi_heif.open_heif(content, convert_hdr_to_8bit=False)
        file.refuse_size(image.size[0], image.size[1], _WHOLE_BYTES)
        return image
    except _DAMAGE as error:
        raise PictureError(damaged(file.name, "heic", error)) from error


def _without_descriptions(stream: BinaryIO) -> bytes:
    """The file with nothing that describes its picture (EXIF, XMP), on some of whose damage pi_heif 1.4 crashes.

    We read these ourselves. What describes is told by its reference (cdsc), which gets a name that says nothing.
    """
    content = stream.read()
    for box in bmff.top_boxes(stream):
        if box.kind == b"meta":
            meta = content[box.place : box.end].replace(b"cdsc", b"skip")
            return content[: box.place] + meta + content[box.end :]
    return content


def _pixels(file: File, header: Header) -> Pixels:
    image = _opened(file)
    try:  # rows may be padded, and all of it is gone with `image`
        array = np.asarray(image).reshape(header.height, -1, header.channels)[:, : header.width].copy()
    except _DAMAGE as error:
        raise PictureError(damaged(file.name, "heic", error)) from error
    if array.shape[1] < header.width:
        raise PictureError(damaged(file.name, "heic", ValueError("its size is not the one that it states")))
    return array


def _deepened(band: Pixels, bits: int) -> Pixels:
    return band.astype(np.uint16) * np.uint16(257) if band.dtype == np.uint8 else full_range(band, bits)
