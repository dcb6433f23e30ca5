"""The metadata of GIF and PPM, which are read only: comments, and the XMP of a GIF."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from mirnet.metadata.file_bytes import Damaged, read_bytes
from mirnet.metadata.record import Metadata

_COMMENT, _APPLICATION = 0xFE, 0xFF  # labels of extensions
_EXTENSION, _IMAGE = 0x21, 0x2C
_XMP_NAME = b"XMP DataXMP"
_XMP_TRAILER = b"\1\xff\xfe\xfd"  # then down to 0: leads a reader of blocks from any byte of the XMP to its end
_LARGEST_BYTES = 1 << 20
_MOST_READS = 500_000
_MOST_COMMENTS = 100


def read(stream: BinaryIO) -> Metadata:
    """Reads the comments of a GIF and its XMP."""
    metadata = Metadata()
    try:
        for label, data in _Blocks(stream).iter_extensions():
            if label == _COMMENT and len(metadata.comments) < _MOST_COMMENTS:
                metadata = replace(metadata, comments=(*metadata.comments, data))
            elif data.startswith(_XMP_NAME):
                metadata = replace(metadata, xmp=data[len(_XMP_NAME) :].partition(_XMP_TRAILER)[0] or None)
    except Damaged:
        pass  # the decoder decides whether the file can be used
    return metadata


def _count_table_bytes(flags: int) -> int:
    """The length of a colour table by the flags ahead of it."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


class _Blocks:
    """The blocks of a GIF, each a chain of links of up to 255 bytes. Reads at most half a million links and blocks."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._reads = 0

    def iter_extensions(self) -> Iterator[tuple[int, bytes]]:
        """Yields label and content of comments and applications' blocks."""
        offset = 13 + _count_table_bytes(self._read_byte(10))
        while True:
            kind = self._read_byte(offset)
            if kind == _EXTENSION:
                label = self._read_byte(offset + 1)
                is_xmp = label == _APPLICATION and read_bytes(self._stream, offset + 3, len(_XMP_NAME)) == _XMP_NAME
                data, offset = self._read_chain(offset + 2, with_lengths=is_xmp)
                if label in (_COMMENT, _APPLICATION):
                    yield label, data[1:] if is_xmp else data
            elif kind == _IMAGE:
                table_bytes = _count_table_bytes(self._read_byte(offset + 9))
                _, offset = self._read_chain(offset + 11 + table_bytes, keep=False)
            else:
                return

    def _read_byte(self, offset: int) -> int:
        self._reads += 1
        if self._reads > _MOST_READS:
            raise Damaged(f"a GIF of more than {_MOST_READS} blocks")
        return read_bytes(self._stream, offset, 1)[0]

    def _read_chain(self, offset: int, *, keep: bool = True, with_lengths: bool = False) -> tuple[bytes, int]:
        """Returns the links joined, and the offset behind them; `with_lengths` for XMP, which is not cut into links."""
        joined = bytearray()
        while length := self._read_byte(offset):
            if keep and len(joined) < _LARGEST_BYTES:
                joined += read_bytes(self._stream, offset if with_lengths else offset + 1, length + with_lengths)
            offset += 1 + length
        return bytes(joined), offset + 1


def read_ppm(stream: BinaryIO) -> Metadata:
    """Reads the comments in the header of a PPM."""
    stream.seek(0)
    header = re.match(rb"P[1-7](?:\s++|#[^\n]*+\n|[0-9A-Z_]++)*+", stream.read(65536))
    lines = re.findall(rb"#([^\n]*)\n", header[0]) if header else []
    return Metadata(comments=tuple(line.strip() for line in lines if line.strip()))
