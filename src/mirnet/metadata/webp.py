"""What a WebP says in its chunks, EXIF and XMP among them, which ask for the extended head (VP8X)."""

import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from mirnet.metadata.file_splicing import replace_span
from mirnet.metadata.record import Metadata
from mirnet.metadata.tiff_directories import LARGEST_VALUE_BYTES, Damaged, even, length_of, take

_ICC, _ALPHA, _EXIF, _XMP = 0x20, 0x10, 0x08, 0x04  # the extended head's flags
_MOST_CHUNKS = 100_000  # an animation has one for each frame
_PIXELS = (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ICCP")


def chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Name, place of the content and its length of each chunk."""
    place, end = 12, length_of(stream)
    for _ in range(_MOST_CHUNKS):
        if place + 8 > end:
            return
        name, length = struct.unpack("<4sL", take(stream, place, 8))
        yield name, place + 8, length
        place += 8 + even(length)


def read(stream: BinaryIO) -> Metadata:
    """What a WebP says, and whether it keeps every pixel."""
    about, others, left = Metadata(), [], []
    try:
        for name, place, length in chunks(stream):
            if name in (b"EXIF", b"XMP ") and length <= LARGEST_VALUE_BYTES:
                data = take(stream, place, length)
                about = replace(about, exif=data) if name == b"EXIF" else replace(about, xmp=data)
            elif name == b"VP8L":
                about = replace(about, lossless=True)
            elif name in (b"ANIM", b"ANMF"):
                others.append("the animation")
            elif name not in _PIXELS:
                others.append(f"the chunk {name.decode('latin-1').strip()!r}")
    except Damaged:
        pass  # whether the pixels can be read all the same, others say
    if others:
        left.append(f"left behind, since it would not fit the new file: {', '.join(dict.fromkeys(others))}")
    return replace(about, left=tuple(left))


def _head(file: BinaryIO) -> bytes:
    """The extended head's content for a file that has none, out of what its only chunk says about its size."""
    name, place, _ = next(chunks(file))
    data = take(file, place, 10)
    if name == b"VP8L":
        (bits,) = struct.unpack_from("<L", data, 1)
        width, height, alpha = bits & 0x3FFF, bits >> 14 & 0x3FFF, bits >> 28 & 1  # the sides less one
    else:
        sides = struct.unpack_from("<HH", data, 6)
        (width, height), alpha = ((side & 0x3FFF) - 1 for side in sides), 0
    return bytes((_ALPHA * int(alpha), 0, 0, 0)) + int(width).to_bytes(3, "little") + int(height).to_bytes(3, "little")


def finish(file: BinaryIO, about: Metadata) -> None:
    """Put EXIF and XMP into an encoder's WebP, in place."""
    if not (about.exif or about.xmp):
        return
    name, place, length = next(chunks(file))
    head = take(file, place, length) if name == b"VP8X" else _head(file)
    flags = head[0] | (_EXIF if about.exif else 0) | (_XMP if about.xmp else 0)
    new = b"VP8X" + struct.pack("<L", 10) + bytes([flags]) + head[1:]
    replace_span(file, 12, 12 + 8 + length if name == b"VP8X" else 12, new)
    end = length_of(file)
    file.seek(end)
    for kind, data in ((b"EXIF", about.exif), (b"XMP ", about.xmp)):
        if data:
            file.write(kind + struct.pack("<L", len(data)) + data + bytes(len(data) % 2))
    length = length_of(file)
    file.seek(4)
    file.write(struct.pack("<L", length - 8))
