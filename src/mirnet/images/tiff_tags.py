"""The tags of a TIFF's first directories: enough to tell what is in it, before a library touches it."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

Tags = dict[int, tuple[int, ...]]  # the whole numbers of each tag that holds such

_SIZES = {1: 1, 3: 2, 4: 4, 13: 4, 16: 8, 18: 8}
_LETTERS = {1: "B", 3: "H", 4: "L", 13: "L", 16: "Q", 18: "Q"}
_MOST_ENTRIES, _MOST_VALUES, _MOST_DIRECTORIES = 1000, 16, 8  # files lie; nothing here needs more
SUBDIRECTORIES = 330


def directories(stream: BinaryIO) -> list[Tags]:
    """The first directory and those that it has below it; none of a file that cannot be read."""
    try:
        return list(_directories(stream))
    except (struct.error, ValueError, OverflowError, OSError):
        return []


def _directories(stream: BinaryIO) -> Iterator[Tags]:
    stream.seek(0)
    start = stream.read(16)
    order = "<" if start[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", start, 2)[0] == 43
    (place,) = struct.unpack_from(order + ("Q" if big else "L"), start, 8 if big else 4)
    first = _directory(stream, order, big, place)
    yield first
    for below in first.get(SUBDIRECTORIES, ())[:_MOST_DIRECTORIES]:
        yield _directory(stream, order, big, below)


def _directory(stream: BinaryIO, order: str, big: bool, place: int) -> Tags:
    stream.seek(place)
    (count,) = struct.unpack(order + ("Q" if big else "H"), stream.read(8 if big else 2))
    size = 20 if big else 12
    table = stream.read(size * min(count, _MOST_ENTRIES))
    tags: Tags = {}
    for at in range(0, len(table) - size + 1, size):
        tag, kind, values = struct.unpack_from(order + ("HHQ" if big else "HHL"), table, at)
        if kind in _SIZES and 1 <= values <= _MOST_VALUES:
            tags[tag] = _values(stream, order, kind, values, table[at + (12 if big else 8) : at + size])
    return tags


def _values(stream: BinaryIO, order: str, kind: int, count: int, field: bytes) -> tuple[int, ...]:
    length = _SIZES[kind] * count
    if length > len(field):
        stream.seek(struct.unpack(order + ("Q" if len(field) == 8 else "L"), field)[0])
        field = stream.read(length)
    return tuple(struct.unpack_from(f"{order}{count}{_LETTERS[kind]}", field))
