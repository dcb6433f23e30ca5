"""Inserts EXIF and XMP into a finished AVIF, as items of its box `meta`."""

import struct
from typing import BinaryIO

from mirnet.metadata.bmff import XMP_TYPE, Item, Items, iter_boxes, read_meta
from mirnet.metadata.file_bytes import Damaged, measure_length, replace_span
from mirnet.metadata.record import Metadata


def _make_box(type: bytes, content: bytes) -> bytes:
    return struct.pack(">L4s", len(content) + 8, type) + content


def insert(file: BinaryIO, metadata: Metadata) -> None:
    """Inserts EXIF and XMP into an encoder's AVIF, in place: their bytes at the end, `meta` written anew."""
    contents = []
    if metadata.exif:
        contents.append((b"Exif\0", bytes(4) + metadata.exif))
    if metadata.xmp:
        contents.append((b"mime\0" + XMP_TYPE + b"\0", metadata.xmp))
    meta = read_meta(file)
    if not contents:
        return
    if meta is None or not {b"iinf", b"iloc", b"pitm"} <= set(meta[1].boxes):
        raise Damaged("an AVIF without a list of its items")
    box, found = meta
    start, first = box.start - 8, max(found.items) + 1
    added = [Item(first + index, type, extents=[(0, len(data))]) for index, (type, data) in enumerate(contents)]
    length = len(_make_meta(found, added))
    shift = start + length - box.end
    for item in found.items.values():
        if item.method == 0:
            item.extents = [(offset + shift if offset >= box.end else offset, size) for offset, size in item.extents]
    offset = measure_length(file) + 8 + shift
    for item, (_, data) in zip(added, contents, strict=True):
        item.extents = [(offset, len(data))]
        offset += len(data)
    whole = _make_meta(found, added)
    assert len(whole) == length, "the offsets of items changed the length of their list"
    replace_span(file, start, box.end, whole)
    file.seek(0, 2)
    file.write(_make_box(b"mdat", b"".join(data for _, data in contents)))


def _make_meta(found: Items, added: list[Item]) -> bytes:
    """The box `meta` with further items that describe the primary one."""
    content = found.data[:4]
    is_wide = b"iref" in found.boxes and found.data[found.boxes[b"iref"].start] == 1
    link = ">LHL" if is_wide else ">HHH"
    links = b"".join(_make_box(b"cdsc", struct.pack(link, item.number, 1, found.primary)) for item in added)
    for box in iter_boxes(found.data, 4, len(found.data)):
        data = found.data[box.start : box.end]
        if box.type == b"iloc":
            data = _make_iloc([*found.items.values(), *added])
        elif box.type == b"iinf":
            data = _extend_iinf(data, added)
        elif box.type == b"iref":
            data, links = data + links, b""
        content += _make_box(box.type, data)
    content += _make_box(b"iref", bytes(4) + links) if links else b""
    return _make_box(b"meta", content)


def _extend_iinf(data: bytes, added: list[Item]) -> bytes:
    width = 4 if data[0] else 2
    count = int.from_bytes(data[4 : 4 + width], "big") + len(added)
    entries = b"".join(
        _make_box(b"infe", b"\2\0\0\1" + struct.pack(">HH", item.number, 0) + item.type) for item in added
    )
    return data[:4] + count.to_bytes(width, "big") + data[4 + width :] + entries


def _make_iloc(items: list[Item]) -> bytes:
    """`iloc` of version 1 with offsets of 8 bytes and lengths of 4."""
    content = b"\1\0\0\0" + struct.pack(">HH", 0x8400, len([item for item in items if item.extents]))
    for item in items:
        if item.extents:
            content += struct.pack(">HHHH", item.number, item.method, item.reference, len(item.extents))
            content += b"".join(struct.pack(">QL", *extent) for extent in item.extents)
    return content
