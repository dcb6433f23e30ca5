"""Opens HEIC and HEIF, the photographs of phones, by libheif (the extra `heic`), which decodes them whole."""

from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np

from mirnet.errors import PictureError
from mirnet.extras import needs
from mirnet.images.image import File, Header, Image, decode_whole, to_full_range
from mirnet.images.libvips import describe_damaged
from mirnet.images.orientation import Pixels
from mirnet.metadata import Metadata, read_metadata
from mirnet.metadata.bmff import iter_top_boxes
from mirnet.metadata.file_bytes import Damaged

_DECODED_BYTES = 9  # of memory a pixel
_CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
_DAMAGE = (ValueError, EOFError, SyntaxError, RuntimeError, OSError, IndexError, Damaged)  # what pi_heif raises


def read(file: File, format: str) -> Image:
    """Opens a HEIC image and decodes nothing yet. Its output is a TIFF, so all depths are decoded to 16 bit.

    libheif turns the image upright by a box of the file; the orientation is then 1, whatever the EXIF states.
    """
    image = _open(file)
    mode = image.mode.split(";")[0].upper()
    if mode not in _CHANNELS:
        raise PictureError(f"{file.name}: expected grey or RGB, but this HEIC holds {image.mode}; convert it")
    header = Header(image.size[0], image.size[1], _CHANNELS[mode], 16, format, 1)
    profile = image.info.get("icc_profile")
    bits = int(image.info.get("bit_depth", 8))

    def read_all_metadata() -> Metadata:
        with file.open() as stream:
            metadata = read_metadata(stream, format)
        return replace(metadata, icc=profile or metadata.icc)

    decode = decode_whole(lambda: _decode(file, header), lambda band: _to_16_bit(band, bits))
    return Image(header, read_all_metadata, file.name, file.source, decode, (), bits)


def _open(file: File) -> Any:
    with needs("heic", PictureError, f"{file.name}: a HEIC image"):
        import pi_heif
    try:
        with file.open() as stream:
            content = _read_without_descriptions(stream)
        image = pi_heif.open_heif(content, convert_hdr_to_8bit=False)
        file.refuse_size(image.size[0], image.size[1], _DECODED_BYTES)
        return image
    except _DAMAGE as error:
        raise PictureError(describe_damaged(file.name, "heic", error)) from error


def _read_without_descriptions(stream: BinaryIO) -> bytes:
    """The file without the items that describe its image (EXIF, XMP), since damaged ones crash pi_heif 1.4.

    Our own code reads these items. The reference `cdsc` marks them; it gets a name that has no meaning.
    """
    content = stream.read()
    for box in iter_top_boxes(stream):
        if box.type == b"meta":
            meta = content[box.start : box.end].replace(b"cdsc", b"skip")
            return content[: box.start] + meta + content[box.end :]
    return content


def _decode(file: File, header: Header) -> Pixels:
    image = _open(file)
    try:  # rows may be padded, and all of the memory is freed with `image`
        array = np.asarray(image).reshape(header.height, -1, header.channels)[:, : header.width].copy()
    except _DAMAGE as error:
        raise PictureError(describe_damaged(file.name, "heic", error)) from error
    if array.shape[1] < header.width:
        raise PictureError(describe_damaged(file.name, "heic", ValueError("its size is not the one that it states")))
    return array


def _to_16_bit(band: Pixels, bits: int) -> Pixels:
    return band.astype(np.uint16) * np.uint16(257) if band.dtype == np.uint8 else to_full_range(band, bits)
