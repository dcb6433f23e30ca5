"""What GIF and PPM say beside their pixels: comments, and in a GIF perhaps XMP. Neither is written."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from mirnet.metadata.record import Metadata
from mirnet.metadata.tiff_directories import Damaged, take

_XMP_NAME = b"XMP DataXMP"
_XMP_TRAILER = b"\1\xff\xfe\xfd"  # then down to 0: whoever reads it as blocks is led to its end
_LARGEST_BYTES = 1 << 20
_MOST_LINKS = 500_000
_MOST_COMMENTS = 100


def read(stream: BinaryIO) -> Metadata:
    """The comments of a GIF, wherever they stand, and its XMP."""
    about = Metadata()
    try:
        for label, data in _Blocks(stream).extensions():
            if label == 0xFE and len(about.comments) < _MOST_COMMENTS:
                about = replace(about, comments=(*about.comments, data))
            elif data.startswith(_XMP_NAME):
                about = replace(about, xmp=data[len(_XMP_NAME) :].partition(_XMP_TRAILER)[0] or None)
    except Damaged:
        pass  # whether the pixels can be read all the same, others say
    return about


def _table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


class _Blocks:
    """A GIF's blocks, each a chain of up to 255 bytes a link; many links in all are no reason to read for ever."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._room = _MOST_LINKS

    def extensions(self) -> Iterator[tuple[int, bytes]]:
        """Label and content of comments and applications' blocks."""
        place = 13 + _table_bytes(self._byte(10))
        while True:
            kind = self._byte(place)
            if kind == 0x21:
                label = self._byte(place + 1)
                raw = label == 0xFF and take(self._stream, place + 3, len(_XMP_NAME)) == _XMP_NAME
                data, place = self._chain(place + 2, with_lengths=raw)
                if label in (0xFE, 0xFF):
                    yield label, data[1:] if raw else data
            elif kind == 0x2C:
                _, place = self._chain(place + 11 + _table_bytes(self._byte(place + 9)), keep=False)
            else:
                return

    def _byte(self, place: int) -> int:
        self._room -= 1
        if self._room < 0:
            raise Damaged("a GIF of more blocks than anybody writes")
        return take(self._stream, place, 1)[0]

    def _chain(self, place: int, *, keep: bool = True, with_lengths: bool = False) -> tuple[bytes, int]:
        """The links joined, and the place behind them; XMP is read with the lengths, which it ignores."""
        joined = bytearray()
        while length := self._byte(place):
            if keep and len(joined) < _LARGEST_BYTES:
                joined += take(self._stream, place if with_lengths else place + 1, length + with_lengths)
            place += 1 + length
        return bytes(joined), place + 1


def read_ppm(stream: BinaryIO) -> Metadata:
    """The comments in a PPM's head."""
    stream.seek(0)
    head = re.match(rb"P[1-7](?:\s++|#[^\n]*+\n|[0-9A-Z_]++)*+", stream.read(65536))
    lines = re.findall(rb"#([^\n]*)\n", head[0]) if head else []
    return Metadata(comments=tuple(line.strip() for line in lines if line.strip()))
