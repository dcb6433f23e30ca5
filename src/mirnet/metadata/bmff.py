"""What AVIF and HEIC say: EXIF and XMP are items of their own, listed in the box `meta` at the head of the file.

An item has an entry in `iinf` (what it is), in `iloc` (where its bytes lie) and in `iref` (which picture it describes).
libheif writes EXIF anew when asked to; put in by hand it stays the camera's own bytes.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from mirnet.metadata import colours
from mirnet.metadata.about import Metadata
from mirnet.metadata.directories import LARGEST_VALUE_BYTES, Damaged, length_of, take
from mirnet.metadata.jpeg import CREDENTIALS, GAIN_MAP, MOTION
from mirnet.metadata.splice import replace_span

_MOST_BOXES = 10_000
_XMP_TYPE = b"application/rdf+xml"
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


def _meta(stream: BinaryIO) -> tuple[Box, Items] | None:
    for box in top_boxes(stream):
        if box.kind == b"meta":
            return box, _items(take(stream, box.place, box.end - box.place))
    return None


def read(stream: BinaryIO) -> Metadata:
    """What an AVIF or HEIC says; `icc` only where code points and no profile state its colours."""
    about, left = Metadata(), []
    try:
        if any(box.kind == b"mpvd" for box in top_boxes(stream)):
            left.append(MOTION)
        meta = _meta(stream)
        if meta is None:
            return about
        found = meta[1]
    except Damaged:
        return about  # whether the pixels can be read all the same, others say
    for item in found.items.values():
        name = {b"Exif": "EXIF", b"mime": "XMP"}.get(item.kind)
        if name is None or (name == "XMP" and item.content_type != _XMP_TYPE):
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
    return replace(about, icc=_profile(found), left=tuple(dict.fromkeys([*left, *_further(found)])))


def _profile(found: Items) -> bytes | None:
    place = found.data.find(b"colrnclx")
    if b"colrprof" in found.data or b"colrrICC" in found.data or not 0 <= place <= len(found.data) - 12:
        return None
    primaries, transfer = struct.unpack_from(">HH", found.data, place + 8)
    return colours.profile_of_code(primaries, transfer)


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


# Writing -------------------------------------------------------------------------------------------------------------


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L4s", len(content) + 8, kind) + content


def finish(file: BinaryIO, about: Metadata) -> None:
    """Put EXIF and XMP as items into an encoder's AVIF, in place: their bytes at the end, `meta` written anew."""
    contents = []
    if about.exif:
        contents.append((b"Exif\0", bytes(4) + about.exif))
    if about.xmp:
        contents.append((b"mime\0" + _XMP_TYPE + b"\0", about.xmp))
    meta = _meta(file)
    if not contents:
        return
    if meta is None or not {b"iinf", b"iloc", b"pitm"} <= set(meta[1].boxes):
        raise Damaged("an AVIF without a list of its items")
    box, found = meta
    start, first = box.place - 8, max(found.items) + 1
    added = [Item(first + index, kind, extents=[(0, len(data))]) for index, (kind, data) in enumerate(contents)]
    length = len(_rewritten(found, added, 0))
    shift, place = start + length - box.end, length_of(file) + 8
    for item in found.items.values():
        if item.method == 0:
            item.extents = [(at + shift if at >= box.end else at, size) for at, size in item.extents]
    place += shift
    for item, (_, data) in zip(added, contents, strict=True):
        item.extents = [(place, len(data))]
        place += len(data)
    replace_span(file, start, box.end, _rewritten(found, added, length))
    file.seek(0, 2)
    file.write(_box(b"mdat", b"".join(data for _, data in contents)))


def _rewritten(found: Items, added: list[Item], length: int) -> bytes:
    """The box `meta` with further items that describe the primary one; of `length` bytes, if it is not 0."""
    content = found.data[:4]
    wide = b"iref" in found.boxes and found.data[found.boxes[b"iref"].place] == 1
    link = ">LHL" if wide else ">HHH"
    links = b"".join(_box(b"cdsc", struct.pack(link, item.number, 1, found.primary)) for item in added)
    for box in boxes(found.data, 4, len(found.data)):
        data = found.data[box.place : box.end]
        if box.kind == b"iloc":
            data = _places([*found.items.values(), *added])
        elif box.kind == b"iinf":
            data = _kinds(data, added)
        elif box.kind == b"iref":
            data, links = data + links, b""
        content += _box(box.kind, data)
    content += _box(b"iref", bytes(4) + links) if links else b""
    whole = _box(b"meta", content)
    assert not length or len(whole) == length, "the places of items changed the length of their list"
    return whole


def _kinds(data: bytes, added: list[Item]) -> bytes:
    width = 4 if data[0] else 2
    count = int.from_bytes(data[4 : 4 + width], "big") + len(added)
    entries = b"".join(_box(b"infe", b"\2\0\0\1" + struct.pack(">HH", item.number, 0) + item.kind) for item in added)
    return data[:4] + count.to_bytes(width, "big") + data[4 + width :] + entries


def _places(items: list[Item]) -> bytes:
    """`iloc` of version 1 with places of 8 bytes and lengths of 4."""
    content = b"\1\0\0\0" + struct.pack(">HH", 0x8400, len([item for item in items if item.extents]))
    for item in items:
        if item.extents:
            content += struct.pack(">HHHH", item.number, item.method, item.reference, len(item.extents))
            content += b"".join(struct.pack(">QL", *extent) for extent in item.extents)
    return content
