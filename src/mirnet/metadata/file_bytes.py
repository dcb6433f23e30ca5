"""Reads and replaces stretches of bytes in open files. Offsets and lengths may come from a damaged or hostile file."""

import io
from typing import BinaryIO

LARGEST_VALUE_BYTES = 32 << 20
_LARGEST_OFFSET = 1 << 62  # streams refuse offsets not far above
_CHUNK_BYTES = 1 << 20


class Damaged(ValueError):
    """Raised for a part of a file that does not have the structure that its format requires."""


def read_bytes(stream: BinaryIO, offset: int, length: int) -> bytes:
    """Returns `length` bytes from `offset`. Raises Damaged where the stream has fewer, or for more than 32 MB."""
    if not 0 <= offset <= _LARGEST_OFFSET or length > LARGEST_VALUE_BYTES:
        raise Damaged(f"{length} bytes at {offset}")
    stream.seek(offset)
    data = stream.read(length)
    if len(data) < length:
        raise Damaged(f"{length} bytes at {offset}, but only {len(data)} are there")
    return data


def measure_length(stream: BinaryIO) -> int:
    """Returns the length of the file in bytes; moves to its end."""
    return stream.seek(0, io.SEEK_END)


def round_up_to_even(length: int) -> int:
    """Returns the length with the padding byte that many formats put behind an odd one."""
    return length + length % 2


def pad_to_even(data: bytes) -> bytes:
    """Returns the bytes, with a zero behind them where their number is odd."""
    return data + bytes(len(data) % 2)


def replace_span(file: BinaryIO, start: int, end: int, content: bytes) -> None:
    """Puts `content` in the place of the bytes from `start` to `end`; all that follows moves.

    Works in place, a megabyte at a time: an image file may be larger than memory.
    """
    length, shift = measure_length(file), len(content) - (end - start)
    offsets = range(end, length, _CHUNK_BYTES)
    for offset in reversed(offsets) if shift > 0 else offsets if shift else ():
        file.seek(offset)
        chunk = file.read(min(_CHUNK_BYTES, length - offset))
        file.seek(offset + shift)
        file.write(chunk)
    if shift < 0:
        file.truncate(length + shift)
    file.seek(start)
    file.write(content)
