"""The metadata of TIFF: read from the tags beside those of the pixels, and inserted into another TIFF."""

import io
import struct
from typing import BinaryIO

from mirnet.metadata import photoshop
from mirnet.metadata.exif import GEOGRAPHY
from mirnet.metadata.file_bytes import Damaged, measure_length, read_bytes, round_up_to_even
from mirnet.metadata.record import Metadata
from mirnet.metadata.tiff_directories import (
    EXIF,
    GPS,
    MAKER_NOTE,
    MOVABLE_NOTES,
    NESTING,
    Directory,
    Layout,
    TagValue,
    Tree,
    make_header,
    read_directory,
    read_fraction,
    read_layout,
    read_number,
    read_tree,
    serialize_tree,
)

_XMP, _IPTC, _PHOTOSHOP, _ICC = 700, 33723, 34377, 34675
_ACROSS, _DOWN, _UNIT = 282, 283, 296  # the tags of the resolution
_MM_PER_UNIT = {1: 1.0, 2: 25.4, 3: 10.0}
_UNITS = {1: "", 2: "in", 3: "cm"}
# The tags of a first directory that describe the photograph and not how its pixels are stored (EXIF 2.32, table 4, the
# Windows tags and DNG's names of camera and lens). All other tags belong to the file that libvips writes.
_DESCRIPTIVE = frozenset({269, 270, 271, 272, 285, 305, 306, 315, 316, 18246, 18249, 33432, 36867, 40091, 40092, 40093,
                          40094, 40095, 42032, 42033, 42034, 42035, 42036, 42037, 50341, 50708, 50735})  # fmt: skip
_EXIF_TAGS = _DESCRIPTIVE | {EXIF, GPS}
_PIXEL_TAGS = frozenset({*range(254, 269), 273, 274, *range(277, 285), *range(286, 302), *range(317, 348), 351, 353,
                         *range(512, 533), 32995, 32996, 32997, 32998, 34016})  # fmt: skip
_TITLES = {
    330: "further versions of the image",
    37724: "Photoshop's layers",
    50784: "the Alias layers",
    34118: "a microscope's notes",
    51022: "DNG opcodes",
}
DROPPED_NOTES = "the camera maker's own notes were dropped: they can only be read where the camera put them"


def read(stream: BinaryIO) -> Metadata:
    """Reads the metadata in the first directory of a TIFF, classic or big."""
    try:
        layout, offset = read_layout(stream)
        directory = read_directory(stream, layout, offset)
    except Damaged:
        return Metadata()  # the reader of the pixels decides whether the file can be used
    dropped = [*describe_dropped_notes(stream)]
    iptc = _read_iptc(stream, directory)
    try:
        resources = _read_value(stream, directory, _PHOTOSHOP)
        block = photoshop.add_iptc(photoshop.remove_stale(resources) if resources else None, iptc)
    except Damaged:
        block = photoshop.add_iptc(None, iptc)
        dropped.append("its Photoshop block is damaged and was dropped")
    dropped += _describe_dropped_tags(directory)
    resolution, unit = _read_resolution(stream, directory)
    return Metadata(exif=_read_exif(stream, directory), xmp=_read_value(stream, directory, _XMP), photoshop=block,
                    pixels_per_mm=resolution, resolution_unit=unit, dropped=tuple(dropped))  # fmt: skip


def read_exif(stream: BinaryIO) -> bytes | None:
    """The EXIF of a TIFF file as the block that other formats hold; None where there is none, or it is damaged."""
    try:
        layout, offset = read_layout(stream)
        return _read_exif(stream, read_directory(stream, layout, offset))
    except Damaged:
        return None


def describe_dropped_notes(stream: BinaryIO) -> tuple[str, ...]:
    """A remark where a TIFF file or EXIF block has maker notes that cannot go into a TIFF, nor out of one."""
    try:
        layout, offset = read_layout(stream)
        shot = read_number(stream, layout, read_directory(stream, layout, offset).entries.get(EXIF))
        notes = read_directory(stream, layout, shot).entries.get(MAKER_NOTE) if shot else None
        is_dropped = notes and not read_bytes(stream, notes.start, min(10, notes.length)).startswith(MOVABLE_NOTES)
    except Damaged:
        return ()
    return (DROPPED_NOTES,) if is_dropped else ()


def _read_exif(stream: BinaryIO, directory: Directory) -> bytes | None:
    tree = read_tree(stream, directory.layout, directory.offset, NESTING, _EXIF_TAGS)
    order = directory.layout.order
    return make_header(order) + serialize_tree(tree, order, Layout(order), 8) if tree else None


def _describe_dropped_tags(directory: Directory) -> list[str]:
    dropped = []
    named = [_TITLES[tag] for tag in directory.entries if tag in _TITLES]
    named += ["the GeoTIFF tags"] if GEOGRAPHY & set(directory.entries) else []
    known = {*_EXIF_TAGS, *GEOGRAPHY, *_PIXEL_TAGS, *_TITLES, _XMP, _IPTC, _PHOTOSHOP, _ICC, _UNIT}
    private = sorted(set(directory.entries) - known)
    if private:
        count = f"{len(private)} private tags" if len(private) > 1 else "a private tag"
        named.append(f"{count} ({', '.join(map(str, private[:6]))}{', …' if len(private) > 6 else ''})")
    if named:
        dropped.append(f"dropped, since it might not fit the new image: {', '.join(named)}")
    lost = sorted(tag for tag in directory.broken if tag not in _PIXEL_TAGS)
    if lost:
        dropped.append(f"the tags {', '.join(map(str, lost[:6]))} are damaged and were dropped")
    return dropped


def _read_value(stream: BinaryIO, directory: Directory, tag: int) -> bytes | None:
    entry = directory.entries.get(tag)
    try:
        return read_bytes(stream, entry.start, entry.length) or None if entry else None
    except Damaged:
        return None


def _read_iptc(stream: BinaryIO, directory: Directory) -> bytes | None:
    """The IPTC record; some programs write it as if it were numbers of 4 bytes, some of them in the other order."""
    data = _read_value(stream, directory, _IPTC)
    if data and data[:1] != b"\x1c" and data[3:4] == b"\x1c":
        data = b"".join(data[start : start + 4][::-1] for start in range(0, len(data), 4))
    return data.rstrip(b"\0") if data and data[:1] == b"\x1c" else None


def _read_resolution(stream: BinaryIO, directory: Directory) -> tuple[tuple[float, float] | None, str]:
    """Pixels per millimetre across and down, and the unit in which the file states them."""
    layout, entries = directory.layout, directory.entries
    try:
        unit = read_number(stream, layout, entries.get(_UNIT)) or 2
        across, down = (read_fraction(stream, layout, entries.get(tag)) for tag in (_ACROSS, _DOWN))
    except Damaged:
        return None, "in"
    if unit not in _UNITS or not across or not down or (unit == 1 and across == down):
        return None, "in"
    return (across / _MM_PER_UNIT[unit], down / _MM_PER_UNIT[unit]), _UNITS[unit]


# Writing -------------------------------------------------------------------------------------------------------------


def insert(file: BinaryIO, metadata: Metadata) -> None:
    """Inserts metadata into an encoder's TIFF, in place: writes a new first directory at the end of the file.

    The new directory takes over the entries of the old one, so the pixels stay where they are.
    """
    layout, offset = read_layout(file)
    old = read_directory(file, layout, offset)
    entries = {each.tag: read_bytes(file, each.offset, layout.entry_bytes) for each in old.entries.values()
               if each.tag not in (_XMP, _IPTC, _PHOTOSHOP, _ACROSS, _DOWN, _UNIT)}  # fmt: skip
    for tree, order in _make_trees(metadata, layout):
        start = round_up_to_even(measure_length(file))
        added = serialize_tree(tree, order, layout, start)
        file.seek(0, io.SEEK_END)
        file.write(bytes(start - measure_length(file)) + added)
        directory = read_directory(file, layout, start)
        entries |= {each.tag: read_bytes(file, each.offset, layout.entry_bytes) for each in directory.entries.values()}
    start = round_up_to_even(measure_length(file))
    table = struct.pack(layout.count_format, len(entries)) + b"".join(entries[tag] for tag in sorted(entries))
    file.seek(0, io.SEEK_END)
    file.write(bytes(start - measure_length(file)) + table + bytes(layout.offset_bytes))
    file.seek(layout.first_link)
    file.write(struct.pack(layout.offset_format, start))


def _make_trees(metadata: Metadata, layout: Layout) -> list[tuple[Tree, str]]:
    """The tags to insert, each tree with its byte order."""
    trees = []
    if metadata.exif:
        block = io.BytesIO(metadata.exif)
        own_layout, offset = read_layout(block)
        trees.append((read_tree(block, own_layout, offset, NESTING, _EXIF_TAGS), own_layout.order))
    added: Tree = {}
    if metadata.xmp:
        added[_XMP] = TagValue(1, metadata.xmp)
    if metadata.photoshop:
        iptc, others = photoshop.find_iptc(metadata.photoshop), photoshop.remove_iptc(metadata.photoshop)
        added |= {tag: TagValue(7, data) for tag, data in ((_IPTC, iptc), (_PHOTOSHOP, others)) if data}
    if metadata.pixels_per_mm:
        unit = {"in": 2, "cm": 3, "": 1}.get(metadata.resolution_unit, 2)
        across, down = (round(value * _MM_PER_UNIT[unit] * 10_000) for value in metadata.pixels_per_mm)
        if 0 < across < 2**32 and 0 < down < 2**32:
            for tag, value in ((_ACROSS, across), (_DOWN, down)):
                added[tag] = TagValue(5, struct.pack(layout.order + "LL", value, 10_000))
            added[_UNIT] = TagValue(3, struct.pack(layout.order + "H", unit))
    return [(tree, order) for tree, order in (*trees, (added, layout.order)) if tree]
