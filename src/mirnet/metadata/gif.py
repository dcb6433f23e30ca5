"""What GIF and PPM say beside their pixels: comments, and in a GIF perhaps XMP. Neither is written."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from mirnet.metadata.about import Metadata
from mirnet.metadata.directories import Damaged, take

_XMP_NAME = b"XMP DataXMP"
_XMP_TRAILER_BYTES = 257  # counts down, so that readers of sub-blocks find the end
_LARGEST_BYTES = 1 << 20
_MOST_BLOCKS = 200_000


def read(stream: BinaryIO) -> Metadata:
    """The comments of a GIF, wherever they stand, and its XMP."""
    about = Metadata()
    try:
        for label, data in _extensions(stream):
            if label == 0xFE:
                about = replace(about, comments=(*about.comments, data))
            elif data.startswith(_XMP_NAME):
                packet, end, _ = data[len(_XMP_NAME) :].rpartition(b"?>")
                about = replace(about, xmp=packet + end or None)
    except Damaged:
        pass  # whether the pixels can be read all the same, others say
    return about


def _extensions(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Label and content of comments and applications' blocks."""
    place = 13 + _table_bytes(take(stream, 10, 1)[0])
    for _ in range(1000):
        kind = take(stream, place, 1)[0]
        if kind == 0x21:
            label = take(stream, place + 1, 1)[0]
            raw = label == 0xFF and take(stream, place + 3, len(_XMP_NAME)) == _XMP_NAME
            data, place = _sub_blocks(stream, place + 2, with_lengths=raw)
            if label in (0xFE, 0xFF):
                yield label, data[1:] if raw else data
        elif kind == 0x2C:
            _, place = _sub_blocks(stream, place + 11 + _table_bytes(take(stream, place + 9, 1)[0]), keep=False)
        else:
            return


def _table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _sub_blocks(stream: BinaryIO, place: int, *, keep: bool = True, with_lengths: bool = False) -> tuple[bytes, int]:
    """A chain of blocks of up to 255 bytes each, joined; XMP is read with the lengths, which it ignores."""
    joined = bytearray()
    for _ in range(_MOST_BLOCKS):
        length = take(stream, place, 1)[0]
        if keep and len(joined) < _LARGEST_BYTES:
            joined += take(stream, place if with_lengths else place + 1, length + with_lengths)
        place += 1 + length
        if not length:
            return bytes(joined), place
    raise Damaged("a GIF whose blocks end nowhere")


def read_ppm(stream: BinaryIO) -> Metadata:
    """The comments in a PPM's head."""
    stream.seek(0)
    head = re.match(rb"P[1-7](?:\s++|#[^\n]*+\n|[0-9A-Z_]++)*+", stream.read(65536))
    lines = re.findall(rb"#([^\n]*)\n", head[0]) if head else []
    return Metadata(comments=tuple(line.strip() for line in lines if line.strip()))
