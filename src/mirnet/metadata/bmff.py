"""What AVIF and HEIC say: EXIF and XMP are items of their own, listed in the box `meta` at the head of the file.

An item has an entry in `iinf` (what it is), in `iloc` (where its bytes lie) and in `iref` (which picture it describes).
libheif writes EXIF anew when asked to; put in by hand it stays the camera's own bytes.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from mirnet.metadata import icc_profile
from mirnet.metadata.jpeg import CREDENTIALS, GAIN_MAP, MOTION
from mirnet.metadata.record import Metadata
from mirnet.metadata.tiff_directories import LARGEST_VALUE_BYTES, Damaged, length_of, take

_MOST_BOXES = 10_000
XMP_TYPE = b"application/rdf+xml"
_GAIN_MAPS = (b"hdrgainmap", b"gainmap")  # in the names of auxiliary pictures
_DEPTH = "its depth map was left out, as the new file has one picture only"
_FURTHER = "further pictures in the file (previews, mattes, bursts) were left out"


@dataclass(frozen=True)
class Box:
    kind: bytes
    place: int  # of the content
    end: int


def boxes(data: bytes, place: int, end: int) -> Iterator[Box]:
    """The boxes in a stretch of bytes; it ends at the first that does not fit."""
    for _ in range(_MOST_BOXES):
        if place + 8 > end:
            return
        length, kind = struct.unpack_from(">L4s", data, place)
        start = place + 8
        if length == 1 and place + 16 <= end:
            (length,) = struct.unpack_from(">Q", data, place + 8)
            start = place + 16
        stop = end if length == 0 else place + length
        if not start <= stop <= end:
            return
        yield Box(kind, start, stop)
        place = stop


def top_boxes(stream: BinaryIO) -> Iterator[Box]:
    place, end = 0, length_of(stream)
    for _ in range(_MOST_BOXES):
        if place + 8 > end:
            return
        head = take(stream, place, min(16, end - place))
        box = next(boxes(head.ljust(16, b"\0"), 0, 1 << 62), None)
        if box is None:
            return
        stop = min(end, place + box.end if struct.unpack_from(">L", head)[0] else end)
        yield Box(box.kind, place + box.place, stop)
        place = stop


class _Reader:
    """Numbers of any width out of a box, one after the other."""

    def __init__(self, data: bytes, box: Box) -> None:
        self._data, self.place, self._end = data, box.place, box.end

    def number(self, width: int) -> int:
        if self.place + width > self._end:
            raise Damaged("a box that ends too soon")
        self.place += width
        return int.from_bytes(self._data[self.place - width : self.place], "big")

    def words(self) -> bytes:
        stop = self._data.find(b"\0", self.place, self._end)
        stop = self._end if stop < 0 else stop
        found, self.place = self._data[self.place : stop], stop + 1
        return found


@dataclass
class Item:
    """One entry of `iloc` with what `iinf` says of it."""

    number: int
    kind: bytes = b""
    content_type: bytes = b""
    method: int = 0  # 0: the extents count from the start of the file, 1: from that of `idat`
    reference: int = 0
    extents: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class Items:
    """The box `meta`, read."""

    data: bytes  # its whole content
    boxes: dict[bytes, Box]
    primary: int = 0
    items: dict[int, Item] = field(default_factory=dict)


def _items(meta: bytes) -> Items:
    found = Items(meta, {box.kind: box for box in boxes(meta, 4, len(meta))})
    if b"iinf" in found.boxes:
        _read_kinds(found)
    if b"iloc" in found.boxes:
        _read_places(found)
    if b"pitm" in found.boxes:
        reader = _Reader(meta, found.boxes[b"pitm"])
        found.primary = reader.number(4 if reader.number(4) >> 24 else 2)
    return found


def _read_kinds(found: Items) -> None:
    reader = _Reader(found.data, found.boxes[b"iinf"])
    reader.number(4 if reader.number(4) >> 24 else 2)
    for box in boxes(found.data, reader.place, found.boxes[b"iinf"].end):
        entry = _Reader(found.data, box)
        version = entry.number(4) >> 24
        if box.kind != b"infe" or version < 2:
            continue
        item = Item(entry.number(2 if version == 2 else 4))
        entry.number(2)
        item.kind = entry.number(4).to_bytes(4, "big")
        entry.words()
        item.content_type = entry.words() if item.kind == b"mime" else b""
        found.items[item.number] = item


def _read_places(found: Items) -> None:
    reader = _Reader(found.data, found.boxes[b"iloc"])
    version = reader.number(4) >> 24
    widths = reader.number(2)
    place_width, length_width, base_width = widths >> 12, widths >> 8 & 15, widths >> 4 & 15
    index_width = widths & 15 if version in (1, 2) else 0
    room = _MOST_BOXES  # for extents, which may take no bytes at all
    for _ in range(min(reader.number(4 if version == 2 else 2), _MOST_BOXES)):
        identity = reader.number(4 if version == 2 else 2)
        item = found.items.setdefault(identity, Item(identity))
        item.method = reader.number(2) & 15 if version in (1, 2) else 0
        item.reference = reader.number(2)
        base = reader.number(base_width)
        count = reader.number(2)
        room -= count
        if room < 0:
            raise Damaged("items in more pieces than anybody writes")
        for _ in range(count):
            reader.number(index_width)
            item.extents.append((base + reader.number(place_width), reader.number(length_width)))


def _content(stream: BinaryIO, found: Items, item: Item) -> bytes:
    """An item's bytes; Damaged where they are too many, or lie elsewhere than in this file."""
    base = found.boxes[b"idat"].place if item.method == 1 and b"idat" in found.boxes else 0
    if item.method > 1 or item.reference or sum(length for _, length in item.extents) > LARGEST_VALUE_BYTES:
        raise Damaged("an item that cannot be read")
    if item.method == 1:
        return b"".join(found.data[base + place : base + place + length] for place, length in item.extents)
    return b"".join(take(stream, place, length or length_of(stream) - place) for place, length in item.extents)


def meta_of(stream: BinaryIO) -> tuple[Box, Items] | None:
    for box in top_boxes(stream):
        if box.kind == b"meta":
            return box, _items(take(stream, box.place, box.end - box.place))
    return None


def stated_sizes(stream: BinaryIO) -> list[tuple[int, int]]:
    """Width and height of each picture in an AVIF or HEIC, as the boxes `ispe` state them; none of a damaged file."""
    try:
        meta = meta_of(stream)
    except Damaged:
        return []
    if meta is None:
        return []
    data, found = meta[1].data, meta[1].boxes.get(b"iprp")
    lists = boxes(data, found.place, found.end) if found else ()
    properties = [each for box in lists if box.kind == b"ipco" for each in boxes(data, box.place, box.end)]
    stated = [each for each in properties if each.kind == b"ispe" and each.end - each.place >= 12]
    return [struct.unpack_from(">LL", data, each.place + 4) for each in stated]


def read(stream: BinaryIO) -> Metadata:
    """What an AVIF or HEIC says; `icc` only where code points and no profile state its colours."""
    about, left = Metadata(), []
    try:
        if any(box.kind == b"mpvd" for box in top_boxes(stream)):
            left.append(MOTION)
        meta = meta_of(stream)
        if meta is None:
            return about
        found = meta[1]
    except Damaged:
        return about  # whether the pixels can be read all the same, others say
    for item in found.items.values():
        name = {b"Exif": "EXIF", b"mime": "XMP"}.get(item.kind)
        if name is None or (name == "XMP" and item.content_type != XMP_TYPE):
            continue
        try:
            data = _content(stream, found, item)
        except Damaged:
            left.append(f"its {name} is damaged and was left out")
            continue
        if name == "XMP":
            about = replace(about, xmp=about.xmp or data)
        elif len(data) > 4 and about.exif is None:  # four bytes say where the block starts behind them
            about = replace(about, exif=data[4 + int.from_bytes(data[:4], "big") :] or None)
    code = _code_points(found)
    left += [*_further(found), *(icc_profile.hdr(code[1]) if code else ())]
    return replace(about, icc=icc_profile.profile_of_code(*code) if code else None, left=tuple(dict.fromkeys(left)))


def _code_points(found: Items) -> tuple[int, int] | None:
    """Primaries and transfer as the file states them, where it has no profile."""
    place = found.data.find(b"colrnclx")
    if b"colrprof" in found.data or b"colrrICC" in found.data or not 0 <= place <= len(found.data) - 12:
        return None
    primaries, transfer = struct.unpack_from(">HH", found.data, place + 8)
    return primaries, transfer


def _further(found: Items) -> list[str]:
    """The pictures beside the picture, and other company, in words."""
    kinds = {item.kind for item in found.items.values()}
    names = found.data.lower()
    left = []
    if any(name in names for name in _GAIN_MAPS) or b"tmap" in kinds:
        left.append(GAIN_MAP)
    if b"aux:depth" in names or b"auxid:2" in names:
        left.append(_DEPTH)
    if b"portraiteffectsmatte" in names or b"semantic" in names:
        left.append(_FURTHER)
    if b"c2pa" in names or b"jumb" in names or b"c2pa" in kinds:
        left.append(CREDENTIALS)
    return left
