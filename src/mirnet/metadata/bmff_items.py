"""EXIF and XMP put into a finished AVIF, as items of its box `meta`."""

import struct
from typing import BinaryIO

from mirnet.metadata.bmff import XMP_TYPE, Item, Items, boxes, meta_of
from mirnet.metadata.file_splicing import replace_span
from mirnet.metadata.record import Metadata
from mirnet.metadata.tiff_directories import Damaged, length_of


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L4s", len(content) + 8, kind) + content


def finish(file: BinaryIO, about: Metadata) -> None:
    """Put EXIF and XMP as items into an encoder's AVIF, in place: their bytes at the end, `meta` written anew."""
    contents = []
    if about.exif:
        contents.append((b"Exif\0", bytes(4) + about.exif))
    if about.xmp:
        contents.append((b"mime\0" + XMP_TYPE + b"\0", about.xmp))
    meta = meta_of(file)
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
