"""The EXIF of camera RAW files, which each maker wraps in another way.

Most are TIFF files at heart: Pillow's directory classes, which have met many of them, read those. Fujifilm's RAF begins
with a JPEG that has all of it; Canon's CR3 keeps directories in boxes. For the rest there is the preview.
"""

import io
import struct
import warnings
from typing import Any, BinaryIO

from mirnet.metadata import bmff, jpeg
from mirnet.metadata.maker_notes import moved_note
from mirnet.metadata.tiff import DESCRIPTIVE
from mirnet.metadata.tiff_directories import (
    EXIF,
    GPS,
    LARGEST_VALUE_BYTES,
    MAKER_NOTE,
    NESTING,
    Damaged,
    Layout,
    Leaf,
    Nesting,
    Tree,
    directory_at,
    layout_of,
    number,
    take,
    tree_at,
    written,
)

_CANON_BOX = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")


def exif_of_raw(stream: BinaryIO, preview: bytes | None = None) -> bytes | None:
    """The EXIF block of a RAW file; where its kind is unknown, that of its `preview`, a JPEG file, if given."""
    try:
        start = take(stream, 0, 16)
        if start.startswith(b"FUJIFILMCCD-RAW"):
            return _of_fujifilm(stream)
        if start[4:12] == b"ftypcrx ":
            return _of_canon(stream)
        if start[:2] in (b"II", b"MM"):
            return _of_tiff(stream)
    except (Damaged, OSError, SyntaxError, struct.error, ValueError, TypeError, KeyError):
        pass  # the preview may say it
    return jpeg.read(io.BytesIO(preview)).exif if preview and preview[:2] == b"\xff\xd8" else None


def _of_fujifilm(stream: BinaryIO) -> bytes | None:
    place, length = struct.unpack(">LL", take(stream, 84, 8))
    return jpeg.read(io.BytesIO(take(stream, place, length))).exif


def _of_canon(stream: BinaryIO) -> bytes | None:
    """CR3: boxes of one directory each, for the first one, EXIF's, the maker's notes, and GPS."""
    trees: dict[bytes, Tree] = {}
    order = "<"
    for box in _canon_boxes(stream):
        block = io.BytesIO(box[1])
        if box[0] == b"CMT3":  # its places count from eight bytes ahead of it, and are moved when it is written
            trees[box[0]] = {MAKER_NOTE: Leaf(7, box[1][8:], 8)}
        elif box[0] in (b"CMT1", b"CMT2", b"CMT4"):
            layout, place = layout_of(block)
            order = layout.order
            trees[box[0]] = tree_at(block, layout, place, {}, DESCRIPTIVE if box[0] == b"CMT1" else None)
    if b"CMT1" not in trees:
        return None
    below: Tree = {EXIF: trees.get(b"CMT2", {}) | trees.get(b"CMT3", {}), GPS: trees.get(b"CMT4", {})}
    whole = trees[b"CMT1"] | {tag: value for tag, value in below.items() if value}
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HL", 42, 8)
    return head + written(whole, order, Layout(order), 8)


def _canon_boxes(stream: BinaryIO) -> list[tuple[bytes, bytes]]:
    for top in bmff.top_boxes(stream):
        if top.kind == b"moov":
            data = take(stream, top.place, min(top.end - top.place, LARGEST_VALUE_BYTES))
            for box in bmff.boxes(data, 0, len(data)):
                if box.kind == b"uuid" and data[box.place : box.place + 16] == _CANON_BOX:
                    inner = bmff.boxes(data, box.place + 16, box.end)
                    return [(each.kind, data[each.place : each.end]) for each in inner]
    return []


# TIFF at heart -------------------------------------------------------------------------------------------------------


def _of_tiff(stream: BinaryIO) -> bytes | None:
    head = take(stream, 0, 8)
    order = "<" if head[:2] == b"II" else ">"
    plain = head[:2] + struct.pack(order + "H", 42) + head[4:]  # ORF and RW2 sign otherwise
    directory = _directory(plain, stream)
    tags = set(directory) & (DESCRIPTIVE | set(NESTING))
    if not tags:
        return None
    block_head = plain[:4] + struct.pack(order + "L", 8)
    block = block_head + _moved(directory, tags, NESTING, (stream, plain, block_head), 8)
    return _with_moved_notes(block, stream)


def _directory(head: bytes, stream: BinaryIO, offset: int | None = None) -> Any:
    """Pillow's reading of one directory; the file's first one where no offset is given."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2  # here, because only RAW files need Pillow

    directory = ImageFileDirectory_v2(head)
    stream.seek(directory.next if offset is None else offset)
    with warnings.catch_warnings():  # a damaged tag is left out; nobody needs to hear of it
        warnings.simplefilter("ignore")
        directory.load(stream)
    return directory


def _moved(directory: Any, tags: set[int], nesting: Nesting, files: tuple[BinaryIO, bytes, bytes], place: int) -> bytes:
    """The chosen tags of a directory and of those below it, as they read at `place` in the block.

    `files`: the RAW file, its head, and the block's.
    """
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    stream, head, block_head = files
    target = ImageFileDirectory_v2(block_head)
    below = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for tag in sorted(tags & set(directory)):
            value = directory[tag]
            if tag in nesting and not isinstance(value, int):
                continue
            target.tagtype[tag] = directory.tagtype[tag]
            if tag in nesting:
                below[tag] = _directory(head, stream, value)
                target.tagtype[tag], value = 4, 0
            # Pillow reads text as Latin-1 but writes only ASCII; as bytes any encoding passes through
            target[tag] = value.encode("latin-1") if isinstance(value, str) else value
        end = place + len(_padded(target.tobytes(place)))
        tails = b""
        for tag, child in below.items():
            target[tag] = end + len(tails)
            tails += _padded(_moved(child, set(child), nesting[tag], files, end + len(tails)))
        return _padded(target.tobytes(place)) + tails


def _padded(data: bytes) -> bytes:
    return data + bytes(len(data) % 2)


def _with_moved_notes(block: bytes, stream: BinaryIO) -> bytes:
    """The block with the places in the maker's notes moved as the notes were."""
    try:
        was, now = _notes_place(stream), _notes_place(io.BytesIO(block))
    except Damaged:
        return block
    if was is None or now is None:
        return block
    order = "<" if block[:2] == b"II" else ">"
    start, length = now
    return block[:start] + moved_note(block[start : start + length], was[0], start, order) + block[start + length :]


def _notes_place(stream: BinaryIO) -> tuple[int, int] | None:
    layout, first = layout_of(stream)
    shot = number(stream, layout, directory_at(stream, layout, first).entries.get(EXIF))
    notes = directory_at(stream, layout, shot).entries.get(MAKER_NOTE) if shot else None
    return (notes.start, notes.length) if notes else None
