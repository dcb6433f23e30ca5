"""Reads and writes the directories of TIFF files, classic and big, and of EXIF blocks, which are small TIFF files.

Counts, offsets and types in a file may be wrong. No value longer than `LARGEST_VALUE_BYTES` is read, no directory is
followed in circles, and a broken directory raises nothing but `Damaged`.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

from mirnet.metadata.file_bytes import (
    LARGEST_VALUE_BYTES,
    Damaged,
    measure_length,
    pad_to_even,
    read_bytes,
    round_up_to_even,
)

TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_NUMBER_BYTES = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # a fraction is two
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "L", 13: "L", 16: "Q", 18: "Q"}
_FRACTION = 5
_MOST_SUBDIRECTORIES, _MOST_LISTED_VALUES = 8, 16

EXIF, GPS, INTEROPERABILITY, MAKER_NOTE, SUBDIRECTORIES = 34665, 34853, 40965, 37500, 330
Nesting: TypeAlias = "dict[int, Nesting]"
NESTING: Nesting = {EXIF: {INTEROPERABILITY: {}}, GPS: {}}  # the tags whose values are offsets of directories
# Makers whose notes count offsets from their own start, so that they may move: by how the notes begin. Those of Canon,
# Sony, Panasonic and others count from the start of the file, and would be misread anywhere else.
MOVABLE_NOTES = (b"Apple iOS\0", b"FUJIFILM", b"Nikon\0\2", b"OLYMPUS\0", b"OM SYSTEM\0", b"PENTAX \0")


@dataclass(frozen=True)
class Layout:
    """How a TIFF writes numbers: byte order "<" or ">", with offsets of 4 bytes or, in BigTIFF, of 8."""

    order: str
    big: bool = False

    @property
    def offset_bytes(self) -> int:
        """The length of an offset, and of the place for a value in an entry."""
        return 8 if self.big else 4

    @property
    def entry_bytes(self) -> int:
        """The length of an entry."""
        return 20 if self.big else 12

    @property
    def count_bytes(self) -> int:
        """The length of the number of entries."""
        return 8 if self.big else 2

    @property
    def count_format(self) -> str:
        """The number of entries, as `struct` names it."""
        return self.order + ("Q" if self.big else "H")

    @property
    def offset_format(self) -> str:
        """An offset, as `struct` names it."""
        return self.order + ("Q" if self.big else "L")

    @property
    def entry_format(self) -> str:
        """Tag, type and count of an entry, as `struct` names them."""
        return self.order + ("HHQ" if self.big else "HHL")

    @property
    def first_link(self) -> int:
        """The offset at which the file's header states the offset of the first directory."""
        return 8 if self.big else 4


@dataclass(frozen=True)
class Entry:
    """One entry of a directory, at `offset`; its value lies at `start` and has `length` bytes."""

    tag: int
    type: int
    count: int
    offset: int
    start: int
    length: int

    @property
    def span(self) -> tuple[int, int]:
        """Where the value starts and ends."""
        return self.start, self.start + self.length


@dataclass(frozen=True)
class Directory:
    """A directory; entries of an unknown type, or with a value outside the file, are listed in `broken` only."""

    layout: Layout
    offset: int
    entries: dict[int, Entry]
    broken: tuple[int, ...]
    count: int
    next_offset: int

    @property
    def link(self) -> int:
        """The offset at which it states `next_offset`."""
        return self.offset + self.layout.count_bytes + self.layout.entry_bytes * self.count

    @property
    def span(self) -> tuple[int, int]:
        """Where the directory starts and ends, its values left aside."""
        return self.offset, self.link + self.layout.offset_bytes


def read_layout(stream: BinaryIO) -> tuple[Layout, int]:
    """Returns the layout of a TIFF file or EXIF block, and the offset of its first directory."""
    header = read_bytes(stream, 0, 8)
    order = {b"II": "<", b"MM": ">"}.get(header[:2])
    if order is None:
        raise Damaged(f"a TIFF that starts with {header[:2]!r}")
    layout = Layout(order, big=header[2:4] in (b"+\0", b"\0+"))
    offset = read_bytes(stream, layout.first_link, layout.offset_bytes)
    return layout, int(struct.unpack(layout.offset_format, offset)[0])


def make_header(order: str) -> bytes:
    """The header of a classic TIFF whose first directory follows it, at offset 8."""
    return (b"II" if order == "<" else b"MM") + struct.pack(order + "HL", 42, 8)


def read_directory(stream: BinaryIO, layout: Layout, offset: int) -> Directory:
    """Reads the directory at `offset`. Of a tag that is stated twice, the first entry counts."""
    end = measure_length(stream)
    (count,) = struct.unpack(layout.count_format, read_bytes(stream, offset, layout.count_bytes))
    if count > 65535:
        raise Damaged(f"a directory of {count} entries")
    size = layout.entry_bytes
    table = read_bytes(stream, offset + layout.count_bytes, count * size)
    entries: dict[int, Entry] = {}
    broken = []
    for index in range(count):
        tag, type, values = struct.unpack_from(layout.entry_format, table, index * size)
        entry_offset = offset + layout.count_bytes + index * size
        length = TYPE_BYTES.get(type, 0) * values
        start = entry_offset + size - layout.offset_bytes
        if length > layout.offset_bytes:
            (start,) = struct.unpack_from(layout.offset_format, table, (index + 1) * size - layout.offset_bytes)
        if type not in TYPE_BYTES or start + length > end:
            broken.append(tag)
        else:
            entries.setdefault(tag, Entry(tag, type, values, entry_offset, start, length))
    link = stream.read(layout.offset_bytes)  # some files lack it, and mean that no directory follows
    next_offset = struct.unpack(layout.offset_format, link)[0] if len(link) == layout.offset_bytes else 0
    return Directory(layout, offset, entries, tuple(broken), count, next_offset)


# Values --------------------------------------------------------------------------------------------------------------


def read_numbers(stream: BinaryIO, layout: Layout, entry: Entry | None, most: int) -> tuple[int, ...]:
    """All values of an entry of whole numbers; none of an entry of another type, or with more than `most` values."""
    if entry is None or entry.type not in _WHOLE_NUMBERS or entry.count > most:
        return ()
    data = read_bytes(stream, entry.start, entry.length)
    return struct.unpack(f"{layout.order}{entry.count}{_WHOLE_NUMBERS[entry.type]}", data)


def read_number(stream: BinaryIO, layout: Layout, entry: Entry | None) -> int | None:
    """The first value of an entry as a whole number; None of an entry of another type."""
    if entry is None or entry.type not in _WHOLE_NUMBERS or not entry.count:
        return None
    data = read_bytes(stream, entry.start, TYPE_BYTES[entry.type])
    return int(struct.unpack(layout.order + _WHOLE_NUMBERS[entry.type], data)[0])


def read_fraction(stream: BinaryIO, layout: Layout, entry: Entry | None) -> float:
    """The value of an entry of one fraction; 0 of any other entry."""
    if entry is None or entry.type != _FRACTION or entry.count != 1:
        return 0.0
    numerator, denominator = struct.unpack(layout.order + "LL", read_bytes(stream, entry.start, 8))
    return numerator / denominator if denominator else 0.0


def read_number_tags(stream: BinaryIO) -> list[dict[int, tuple[int, ...]]]:
    """Returns the whole numbers, up to 16 a tag, in the first directory of a TIFF and in those below it.

    Empty where the directories cannot be read.
    """
    try:
        layout, offset = read_layout(stream)
        found = [_read_number_tags(stream, layout, offset)]
        for below in found[0].get(SUBDIRECTORIES, ())[:_MOST_SUBDIRECTORIES]:
            found.append(_read_number_tags(stream, layout, below))
    except Damaged:
        return []
    return found


def _read_number_tags(stream: BinaryIO, layout: Layout, offset: int) -> dict[int, tuple[int, ...]]:
    entries = read_directory(stream, layout, offset).entries
    values = {tag: read_numbers(stream, layout, entry, _MOST_LISTED_VALUES) for tag, entry in entries.items()}
    return {tag: numbers for tag, numbers in values.items() if numbers}


# Directories that are copied from one file into another --------------------------------------------------------------


@dataclass(frozen=True)
class TagValue:
    """A value outside any file: its type, and its bytes in the byte order of the file that it comes from."""

    type: int
    data: bytes


Tree: TypeAlias = "dict[int, TagValue | Tree]"


def read_tree(
    stream: BinaryIO, layout: Layout, offset: int, nesting: Nesting, tags: Iterable[int] | None = None
) -> Tree:
    """Reads a directory with those below it, or of it the `tags` alone.

    Broken entries are left out, and so are maker notes that would be misread at another offset.
    """
    directory = read_directory(stream, layout, offset)
    tree: Tree = {}
    budget = LARGEST_VALUE_BYTES
    for tag in sorted(directory.entries if tags is None else set(tags) & set(directory.entries)):
        entry = directory.entries[tag]
        try:
            if tag in nesting:
                below = read_number(stream, layout, entry)
                tree[tag] = read_tree(stream, layout, below, nesting[tag]) if below else {}
            elif entry.length <= budget:
                budget -= entry.length
                data = read_bytes(stream, entry.start, entry.length)
                if tag != MAKER_NOTE or data.startswith(MOVABLE_NOTES):
                    tree[tag] = TagValue(entry.type, data)
        except Damaged:
            continue
    return {tag: value for tag, value in tree.items() if value != {}}


def serialize_tree(tree: Tree, source_order: str, layout: Layout, offset: int) -> bytes:
    """Returns the bytes of a tree that will lie at `offset`, an even number, in a file of some layout.

    `source_order` is the byte order of the file that the tree comes from.
    """
    kept = {tag: value for tag, value in tree.items() if isinstance(value, dict) or layout.big or value.type < 16}
    end = offset + layout.count_bytes + layout.entry_bytes * len(kept) + layout.offset_bytes
    table, values = struct.pack(layout.count_format, len(kept)), b""
    for tag, value in sorted(kept.items()):
        value_offset = round_up_to_even(end) + len(values)
        if isinstance(value, dict):
            values += pad_to_even(serialize_tree(value, source_order, layout, value_offset))
            table += struct.pack(layout.entry_format, tag, 18 if layout.big else 4, 1)
            table += struct.pack(layout.offset_format, value_offset)
            continue
        data = value.data if layout.order == source_order else _swap_bytes(value)
        table += struct.pack(layout.entry_format, tag, value.type, len(data) // TYPE_BYTES[value.type])
        if len(data) <= layout.offset_bytes:
            table += data.ljust(layout.offset_bytes, b"\0")
        else:
            table += struct.pack(layout.offset_format, value_offset)
            values += pad_to_even(data)
    return table + bytes(layout.offset_bytes) + bytes(end % 2) + values


def _swap_bytes(value: TagValue) -> bytes:
    size = _NUMBER_BYTES.get(value.type, 1)
    swapped = bytearray(value.data)
    for byte in range(size):
        swapped[byte::size] = value.data[size - 1 - byte :: size]
    return bytes(swapped)
