"""The metadata of WebP, in chunks; EXIF and XMP need the extended header (VP8X)."""

import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from mirnet.metadata.file_bytes import (
    LARGEST_VALUE_BYTES,
    Damaged,
    measure_length,
    pad_to_even,
    read_bytes,
    replace_span,
    round_up_to_even,
)
from mirnet.metadata.record import Metadata

_ALPHA, _EXIF, _XMP = 0x10, 0x08, 0x04  # flags of the extended header
_MOST_CHUNKS = 100_000  # an animation has one for each frame
_PIXELS = (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ICCP")


def _iter_chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yields name, offset of the content and length of the content of each chunk."""
    offset, end = 12, measure_length(stream)
    for _ in range(_MOST_CHUNKS):
        if offset + 8 > end:
            return
        name, length = struct.unpack("<4sL", read_bytes(stream, offset, 8))
        yield name, offset + 8, length
        offset += 8 + round_up_to_even(length)


def read(stream: BinaryIO) -> Metadata:
    """Reads the metadata of a WebP, and whether it is compressed without loss."""
    metadata, others = Metadata(), []
    try:
        for name, offset, length in _iter_chunks(stream):
            if name in (b"EXIF", b"XMP ") and length <= LARGEST_VALUE_BYTES:
                data = read_bytes(stream, offset, length)
                metadata = replace(metadata, exif=data) if name == b"EXIF" else replace(metadata, xmp=data)
            elif name == b"VP8L":
                metadata = replace(metadata, lossless=True)
            elif name in (b"ANIM", b"ANMF"):
                others.append("the animation")
            elif name not in _PIXELS:
                others.append(f"the chunk {name.decode('latin-1').strip()!r}")
    except Damaged:
        pass  # the decoder decides whether the file can be used
    if not others:
        return metadata
    remark = f"dropped, since it would not fit the new file: {', '.join(dict.fromkeys(others))}"
    return replace(metadata, dropped=(remark,))


def _make_header(file: BinaryIO) -> bytes:
    """The content of the extended header for a file that has none, from the size that its only chunk states."""
    name, offset, _ = next(_iter_chunks(file))
    data = read_bytes(file, offset, 10)
    if name == b"VP8L":
        (bits,) = struct.unpack_from("<L", data, 1)
        width, height, alpha = bits & 0x3FFF, bits >> 14 & 0x3FFF, bits >> 28 & 1  # the sides less one
    else:
        sides = struct.unpack_from("<HH", data, 6)
        (width, height), alpha = ((side & 0x3FFF) - 1 for side in sides), 0
    return bytes((_ALPHA * int(alpha), 0, 0, 0)) + int(width).to_bytes(3, "little") + int(height).to_bytes(3, "little")


def insert(file: BinaryIO, metadata: Metadata) -> None:
    """Inserts EXIF and XMP into an encoder's WebP, in place."""
    if not (metadata.exif or metadata.xmp):
        return
    name, offset, length = next(_iter_chunks(file))
    has_header = name == b"VP8X"
    header = read_bytes(file, offset, length) if has_header else _make_header(file)
    flags = header[0] | (_EXIF if metadata.exif else 0) | (_XMP if metadata.xmp else 0)
    new = b"VP8X" + struct.pack("<L", 10) + bytes([flags]) + header[1:]
    replace_span(file, 12, 12 + 8 + length if has_header else 12, new)
    file.seek(measure_length(file))
    for chunk, data in ((b"EXIF", metadata.exif), (b"XMP ", metadata.xmp)):
        if data:
            file.write(chunk + struct.pack("<L", len(data)) + pad_to_even(data))
    length = measure_length(file)
    file.seek(4)
    file.write(struct.pack("<L", length - 8))
