"""The metadata of AVIF and HEIC: EXIF and XMP are items of their own, listed in the box `meta` of the file.

An item has an entry in `iinf` (its type), in `iloc` (where its bytes lie) and in `iref` (which image it describes).
libheif would write EXIF anew; read and inserted by our own code it stays the camera's own bytes.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from mirnet.metadata import icc_profile
from mirnet.metadata.file_bytes import LARGEST_VALUE_BYTES, Damaged, measure_length, read_bytes
from mirnet.metadata.jpeg import CREDENTIALS, GAIN_MAP, MOTION
from mirnet.metadata.record import Metadata

_MOST_BOXES = 10_000
XMP_TYPE = b"application/rdf+xml"
_GAIN_MAPS = (b"hdrgainmap", b"gainmap")  # in the names of auxiliary images
_DEPTH = "its depth map was dropped, as the new file has one image only"
_FURTHER = "further images in the file (previews, mattes, bursts) were dropped"


@dataclass(frozen=True)
class Box:
    """A box by its type of four letters, and where its content starts and ends."""

    type: bytes
    start: int
    end: int


def iter_boxes(data: bytes, start: int, end: int) -> Iterator[Box]:
    """Yields the boxes in a stretch of bytes, up to the first with a length that is wrong."""
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        length, type = struct.unpack_from(">L4s", data, start)
        content = start + 8
        if length == 1 and start + 16 <= end:
            (length,) = struct.unpack_from(">Q", data, start + 8)
            content = start + 16
        stop = end if length == 0 else start + length
        if not content <= stop <= end:
            return
        yield Box(type, content, stop)
        start = stop


def iter_top_boxes(stream: BinaryIO) -> Iterator[Box]:
    """Yields the outermost boxes of a file. Raises Damaged."""
    start, end = 0, measure_length(stream)
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        header = read_bytes(stream, start, min(16, end - start))
        box = next(iter_boxes(header.ljust(16, b"\0"), 0, 1 << 62), None)
        if box is None:
            return
        stop = min(end, start + box.end if struct.unpack_from(">L", header)[0] else end)
        yield Box(box.type, start + box.start, stop)
        start = stop


class _Fields:
    """Reads the fields of a box one after the other. Raises Damaged where the box ends too soon."""

    def __init__(self, data: bytes, box: Box) -> None:
        self._data, self.offset, self._end = data, box.start, box.end

    def read_number(self, width: int) -> int:
        """The next whole number of `width` bytes."""
        if self.offset + width > self._end:
            raise Damaged("a box that ends too soon")
        self.offset += width
        return int.from_bytes(self._data[self.offset - width : self.offset], "big")

    def read_text(self) -> bytes:
        """The text up to a zero byte."""
        stop = self._data.find(b"\0", self.offset, self._end)
        stop = self._end if stop < 0 else stop
        text, self.offset = self._data[self.offset : stop], stop + 1
        return text


@dataclass
class Item:
    """One entry of `iloc`, with its type from `iinf`."""

    number: int
    type: bytes = b""
    content_type: bytes = b""
    method: int = 0  # 0: the extents count from the start of the file, 1: from that of `idat`
    reference: int = 0
    extents: list[tuple[int, int]] = field(default_factory=list)  # offset and length


@dataclass
class Items:
    """The items in the box `meta`."""

    data: bytes  # the whole content of `meta`
    boxes: dict[bytes, Box]
    primary: int = 0
    items: dict[int, Item] = field(default_factory=dict)


def _read_items(meta: bytes) -> Items:
    found = Items(meta, {box.type: box for box in iter_boxes(meta, 4, len(meta))})
    if b"iinf" in found.boxes:
        _read_types(found)
    if b"iloc" in found.boxes:
        _read_extents(found)
    if b"pitm" in found.boxes:
        fields = _Fields(meta, found.boxes[b"pitm"])
        found.primary = fields.read_number(4 if fields.read_number(4) >> 24 else 2)
    return found


def _read_types(found: Items) -> None:
    fields = _Fields(found.data, found.boxes[b"iinf"])
    fields.read_number(4 if fields.read_number(4) >> 24 else 2)
    for box in iter_boxes(found.data, fields.offset, found.boxes[b"iinf"].end):
        entry = _Fields(found.data, box)
        version = entry.read_number(4) >> 24
        if box.type != b"infe" or version < 2:
            continue
        item = Item(entry.read_number(2 if version == 2 else 4))
        entry.read_number(2)
        item.type = entry.read_number(4).to_bytes(4, "big")
        entry.read_text()
        item.content_type = entry.read_text() if item.type == b"mime" else b""
        found.items[item.number] = item


def _read_extents(found: Items) -> None:
    fields = _Fields(found.data, found.boxes[b"iloc"])
    version = fields.read_number(4) >> 24
    widths = fields.read_number(2)
    offset_width, length_width, base_width = widths >> 12, widths >> 8 & 15, widths >> 4 & 15
    index_width = widths & 15 if version in (1, 2) else 0
    extents_left = _MOST_BOXES  # an extent may take no bytes at all
    for _ in range(min(fields.read_number(4 if version == 2 else 2), _MOST_BOXES)):
        number = fields.read_number(4 if version == 2 else 2)
        item = found.items.setdefault(number, Item(number))
        item.method = fields.read_number(2) & 15 if version in (1, 2) else 0
        item.reference = fields.read_number(2)
        base = fields.read_number(base_width)
        count = fields.read_number(2)
        extents_left -= count
        if extents_left < 0:
            raise Damaged(f"items of more than {_MOST_BOXES} extents")
        for _ in range(count):
            fields.read_number(index_width)
            item.extents.append((base + fields.read_number(offset_width), fields.read_number(length_width)))


def _read_content(stream: BinaryIO, found: Items, item: Item) -> bytes:
    """An item's bytes. Raises Damaged where they are too many, or lie outside this file."""
    base = found.boxes[b"idat"].start if item.method == 1 and b"idat" in found.boxes else 0
    if item.method > 1 or item.reference or sum(length for _, length in item.extents) > LARGEST_VALUE_BYTES:
        raise Damaged("an item that cannot be read")
    if item.method == 1:
        return b"".join(found.data[base + offset : base + offset + length] for offset, length in item.extents)
    end = measure_length(stream)
    return b"".join(read_bytes(stream, offset, length or end - offset) for offset, length in item.extents)


def read_meta(stream: BinaryIO) -> tuple[Box, Items] | None:
    """The box `meta` and the items in it; None where the file has none. Raises Damaged."""
    for box in iter_top_boxes(stream):
        if box.type == b"meta":
            return box, _read_items(read_bytes(stream, box.start, box.end - box.start))
    return None


def read_image_sizes(stream: BinaryIO) -> list[tuple[int, int]]:
    """Width and height of each image in an AVIF or HEIC, as the boxes `ispe` state them; none of a damaged file."""
    try:
        meta = read_meta(stream)
    except Damaged:
        return []
    if meta is None:
        return []
    data, found = meta[1].data, meta[1].boxes.get(b"iprp")
    lists = iter_boxes(data, found.start, found.end) if found else ()
    properties = [each for box in lists if box.type == b"ipco" for each in iter_boxes(data, box.start, box.end)]
    stated = [each for each in properties if each.type == b"ispe" and each.end - each.start >= 12]
    return [struct.unpack_from(">LL", data, each.start + 4) for each in stated]


def read(stream: BinaryIO) -> Metadata:
    """Reads the metadata of an AVIF or HEIC; `icc` only where code points and no profile state its colours."""
    metadata, dropped = Metadata(), []
    try:
        if any(box.type == b"mpvd" for box in iter_top_boxes(stream)):
            dropped.append(MOTION)
        meta = read_meta(stream)
        if meta is None:
            return metadata
        found = meta[1]
    except Damaged:
        return metadata  # the decoder decides whether the file can be used
    for item in found.items.values():
        name = {b"Exif": "EXIF", b"mime": "XMP"}.get(item.type)
        if name is None or (name == "XMP" and item.content_type != XMP_TYPE):
            continue
        try:
            data = _read_content(stream, found, item)
        except Damaged:
            dropped.append(f"its {name} is damaged and was dropped")
            continue
        if name == "XMP":
            metadata = replace(metadata, xmp=metadata.xmp or data)
        elif len(data) > 4 and metadata.exif is None:  # the first four bytes state how far behind them the block starts
            metadata = replace(metadata, exif=data[4 + int.from_bytes(data[:4], "big") :] or None)
    code = _find_code_points(found)
    dropped += [*_describe_further_images(found), *(icc_profile.describe_hdr(code[1]) if code else ())]
    profile = icc_profile.make_from_code_points(*code) if code else None
    return replace(metadata, icc=profile, dropped=tuple(dict.fromkeys(dropped)))


def _find_code_points(found: Items) -> tuple[int, int] | None:
    """Primaries and transfer as the file states them, where it has no profile."""
    start = found.data.find(b"colrnclx")
    if b"colrprof" in found.data or b"colrrICC" in found.data or not 0 <= start <= len(found.data) - 12:
        return None
    primaries, transfer = struct.unpack_from(">HH", found.data, start + 8)
    return primaries, transfer


def _describe_further_images(found: Items) -> list[str]:
    """Remarks about what the file holds beside its main image and is left out."""
    types = {item.type for item in found.items.values()}
    names = found.data.lower()
    dropped = []
    if any(name in names for name in _GAIN_MAPS) or b"tmap" in types:
        dropped.append(GAIN_MAP)
    if b"aux:depth" in names or b"auxid:2" in names:
        dropped.append(_DEPTH)
    if b"portraiteffectsmatte" in names or b"semantic" in names:
        dropped.append(_FURTHER)
    if b"c2pa" in names or b"jumb" in names or b"c2pa" in types:
        dropped.append(CREDENTIALS)
    return dropped
