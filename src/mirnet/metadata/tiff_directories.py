"""The directories of TIFF: in TIFF files, classic and big, and in EXIF blocks, small TIFF files in themselves.

Everything read here may lie: about counts, places, types. Nothing is read that is longer than `LARGEST_VALUE_BYTES`, no
place is followed twice, and `Damaged` is all that a broken directory raises.
"""

import io
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

LARGEST_VALUE_BYTES = 32 << 20
LARGEST_PLACE = 1 << 62  # streams refuse what is not far beyond
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_SWAPPED_BYTES = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}

EXIF, GPS, INTEROPERABILITY, MAKER_NOTE = 34665, 34853, 40965, 37500
Nesting: TypeAlias = "dict[int, Nesting]"
# Makers whose notes count offsets from their own start, so that they may move: by how the notes begin. Those of Canon,
# Sony, Panasonic and others count from the start of the file, and would be misread anywhere else.
MOVABLE_NOTES = (b"Apple iOS\0", b"FUJIFILM", b"Nikon\0\2", b"OLYMPUS\0", b"OM SYSTEM\0", b"PENTAX \0")
NESTING: Nesting = {EXIF: {INTEROPERABILITY: {}}, GPS: {}}  # whose values are places of directories


class Damaged(ValueError):
    """A structure that cannot be what it says it is."""


def take(stream: BinaryIO, place: int, length: int) -> bytes:
    """So many bytes from there; Damaged where the stream has fewer, or more are asked for than anybody needs."""
    if not 0 <= place <= LARGEST_PLACE or length > LARGEST_VALUE_BYTES:
        raise Damaged(f"{length} bytes at {place}")
    stream.seek(place)
    data = stream.read(length)
    if len(data) < length:
        raise Damaged(f"{length} bytes at {place}, but only {len(data)} are there")
    return data


@dataclass(frozen=True)
class Layout:
    """How a TIFF writes its numbers: "<" or ">", with places of 4 bytes or, in BigTIFF, of 8."""

    order: str
    big: bool = False

    @property
    def place_bytes(self) -> int:
        return 8 if self.big else 4

    @property
    def entry_bytes(self) -> int:
        return 20 if self.big else 12

    @property
    def count_format(self) -> str:
        return self.order + ("Q" if self.big else "H")

    @property
    def place_format(self) -> str:
        return self.order + ("Q" if self.big else "L")

    @property
    def entry_format(self) -> str:
        return self.order + ("HHQ" if self.big else "HHL")

    @property
    def count_bytes(self) -> int:
        return 8 if self.big else 2

    @property
    def head_place(self) -> int:
        """Where the head of the file says the place of the first directory."""
        return 8 if self.big else 4


@dataclass(frozen=True)
class Entry:
    """One entry of a directory: where it lies, and where its value lies."""

    tag: int
    kind: int
    count: int
    place: int
    start: int
    length: int

    @property
    def span(self) -> tuple[int, int]:
        return self.start, self.start + self.length


@dataclass(frozen=True)
class Directory:
    """A directory; entries whose type is unknown or whose value lies outside of the file are only in `broken`."""

    layout: Layout
    place: int
    entries: dict[int, Entry]
    broken: tuple[int, ...]
    count: int
    following: int

    @property
    def link(self) -> int:
        """Where it says the place of the following directory."""
        return self.place + self.layout.count_bytes + self.layout.entry_bytes * self.count

    @property
    def span(self) -> tuple[int, int]:
        return self.place, self.link + self.layout.place_bytes


def layout_of(stream: BinaryIO) -> tuple[Layout, int]:
    """How a TIFF file or EXIF block writes, and the place of its first directory."""
    head = take(stream, 0, 8)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None:
        raise Damaged(f"a TIFF that starts with {head[:2]!r}")
    layout = Layout(order, big=head[2:4] in (b"+\0", b"\0+"))
    place = take(stream, layout.head_place, layout.place_bytes)
    return layout, int(struct.unpack(layout.place_format, place)[0])


def length_of(stream: BinaryIO) -> int:
    return stream.seek(0, io.SEEK_END)


def directory_at(stream: BinaryIO, layout: Layout, place: int) -> Directory:
    """The directory there. A tag that is said twice counts the first time."""
    end = length_of(stream)
    (count,) = struct.unpack(layout.count_format, take(stream, place, layout.count_bytes))
    if count > 65535:
        raise Damaged(f"a directory of {count} entries")
    size = layout.entry_bytes
    table = take(stream, place + layout.count_bytes, count * size)
    entries: dict[int, Entry] = {}
    broken = []
    for index in range(count):
        tag, kind, values = struct.unpack_from(layout.entry_format, table, index * size)
        at = place + layout.count_bytes + index * size
        length = TYPE_BYTES.get(kind, 0) * values
        start = at + size - layout.place_bytes
        if length > layout.place_bytes:
            (start,) = struct.unpack_from(layout.place_format, table, (index + 1) * size - layout.place_bytes)
        if kind not in TYPE_BYTES or start + length > end:
            broken.append(tag)
        else:
            entries.setdefault(tag, Entry(tag, kind, values, at, start, length))
    following = stream.read(layout.place_bytes)  # files lack it now and then, and mean that none follows
    known = len(following) == layout.place_bytes
    return Directory(layout, place, entries, tuple(broken), count,
                     struct.unpack(layout.place_format, following)[0] if known else 0)  # fmt: skip


def number(stream: BinaryIO, layout: Layout, entry: Entry | None) -> int | None:
    """The first value of an entry as a whole number; None where it is none."""
    code = {1: "B", 3: "H", 4: "L", 13: "L", 16: "Q", 18: "Q"}.get(entry.kind) if entry else None
    if entry is None or code is None or not entry.count:
        return None
    data = take(stream, entry.start, TYPE_BYTES[entry.kind])
    return int(struct.unpack(layout.order + code, data)[0])


# Directories that move -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Leaf:
    """A value that leaves its file: its type, and its bytes as they lay there."""

    kind: int
    data: bytes


Tree: TypeAlias = "dict[int, Leaf | Tree]"


def tree_at(stream: BinaryIO, layout: Layout, place: int, nesting: Nesting, tags: Iterable[int] | None = None) -> Tree:
    """A directory with those below it, or only the `tags` of it that are named.

    What is broken is left out, and so are maker notes that would be misread at another offset.
    """
    directory = directory_at(stream, layout, place)
    tree: Tree = {}
    room = LARGEST_VALUE_BYTES
    for tag in sorted(directory.entries if tags is None else set(tags) & set(directory.entries)):
        entry = directory.entries[tag]
        try:
            if tag in nesting:
                below = number(stream, layout, entry)
                tree[tag] = tree_at(stream, layout, below, nesting[tag]) if below else {}
            elif entry.length <= room:
                room -= entry.length
                data = take(stream, entry.start, entry.length)
                if tag != MAKER_NOTE or data.startswith(MOVABLE_NOTES):
                    tree[tag] = Leaf(entry.kind, data)
        except Damaged:
            continue
    return {tag: value for tag, value in tree.items() if value != {}}


def even(length: int) -> int:
    return length + length % 2


def written(tree: Tree, source_order: str, layout: Layout, place: int) -> bytes:
    """A tree as it reads at `place`, an even one, of a file of another layout."""
    kept = {tag: value for tag, value in tree.items() if isinstance(value, dict) or layout.big or value.kind < 16}
    behind = place + layout.count_bytes + layout.entry_bytes * len(kept) + layout.place_bytes
    table, values = struct.pack(layout.count_format, len(kept)), b""
    for tag, value in sorted(kept.items()):
        at = even(behind) + len(values)
        if isinstance(value, dict):
            values += _padded(written(value, source_order, layout, at))
            table += struct.pack(layout.entry_format, tag, 18 if layout.big else 4, 1)
            table += struct.pack(layout.place_format, at)
            continue
        data = _swapped(value) if layout.order != source_order else value.data
        table += struct.pack(layout.entry_format, tag, value.kind, len(data) // TYPE_BYTES[value.kind])
        if len(data) <= layout.place_bytes:
            table += data.ljust(layout.place_bytes, b"\0")
        else:
            table += struct.pack(layout.place_format, at)
            values += _padded(data)
    return table + bytes(layout.place_bytes) + bytes(behind % 2) + values


def _padded(data: bytes) -> bytes:
    return data + bytes(len(data) % 2)


def _swapped(leaf: Leaf) -> bytes:
    size = _SWAPPED_BYTES.get(leaf.kind, 1)
    swapped = bytearray(leaf.data)
    for byte in range(size):
        swapped[byte::size] = leaf.data[size - 1 - byte :: size]
    return bytes(swapped)
