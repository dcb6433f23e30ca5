"""What a TIFF says in tags beside those of its pixels, and how they come into another one."""

import io
import struct
from dataclasses import replace
from typing import BinaryIO

from mirnet.metadata import photoshop
from mirnet.metadata.exif import GEOGRAPHY
from mirnet.metadata.record import Metadata
from mirnet.metadata.tiff_directories import (
    EXIF,
    GPS,
    MAKER_NOTE,
    MOVABLE_NOTES,
    NESTING,
    Damaged,
    Directory,
    Layout,
    Leaf,
    Tree,
    directory_at,
    even,
    layout_of,
    length_of,
    number,
    take,
    tree_at,
    written,
)

_XMP, _IPTC, _PHOTOSHOP, _ICC = 700, 33723, 34377, 34675
_ACROSS, _DOWN, _UNIT = 282, 283, 296
_MM_PER_UNIT = {1: 1.0, 2: 25.4, 3: 10.0}
_UNITS = {1: "", 2: "in", 3: "cm"}
# What a TIFF's first directory says about the photograph and not about how its pixels are stored (EXIF 2.32, table 4,
# the Windows tags and DNG's names of camera and lens); everything else there belongs to the file that libvips writes.
DESCRIPTIVE = frozenset({269, 270, 271, 272, 285, 305, 306, 315, 316, 18246, 18249, 33432, 36867, 40091, 40092, 40093,
                         40094, 40095, 42032, 42033, 42034, 42035, 42036, 42037, 50341, 50708, 50735})  # fmt: skip
_EXIF_TAGS = DESCRIPTIVE | {EXIF, GPS}
_OF_PIXELS = frozenset({*range(254, 269), 273, 274, *range(277, 285), *range(286, 302), *range(317, 348), 351, 353,
                        *range(512, 533), 32995, 32996, 32997, 32998, 34016})  # fmt: skip
DROPPED_NOTES = "the camera maker's own notes were left behind: they can only be read where the camera put them"
_TITLES = {
    330: "further versions of the picture",
    37724: "Photoshop's layers",
    50784: "the Alias layers",
    34118: "a microscope's notes",
    51022: "DNG opcodes",
}


def read(stream: BinaryIO) -> Metadata:
    """What a TIFF, classic or big, says in its first directory."""
    try:
        layout, place = layout_of(stream)
        directory = directory_at(stream, layout, place)
    except Damaged:
        return Metadata()  # whether the pixels can be read all the same, others say
    about = Metadata(exif=_block(stream, directory))
    left = [*describe_dropped_notes(stream)]
    about = replace(about, xmp=_value(stream, directory, _XMP))
    try:
        others = _value(stream, directory, _PHOTOSHOP)
        block = photoshop.joined(photoshop.clean(others) if others else None, _iptc(stream, directory))
        about = replace(about, photoshop=block)
    except Damaged:
        about = replace(about, photoshop=photoshop.joined(None, _iptc(stream, directory)))
        left.append("its Photoshop block is damaged and was left out")
    named = [_TITLES[tag] for tag in directory.entries if tag in _TITLES]
    named += ["the GeoTIFF tags"] if GEOGRAPHY & set(directory.entries) else []
    known = {*_EXIF_TAGS, *GEOGRAPHY, *_OF_PIXELS, *_TITLES, _XMP, _IPTC, _PHOTOSHOP, _ICC, _UNIT}
    private = sorted(set(directory.entries) - known)
    if private:
        count = f"{len(private)} private tags" if len(private) > 1 else "a private tag"
        named.append(f"{count} ({', '.join(map(str, private[:6]))}{', …' if len(private) > 6 else ''})")
    if named:
        left.append(f"left behind, since it might not fit the new picture: {', '.join(named)}")
    lost = sorted(tag for tag in directory.broken if tag not in _OF_PIXELS)
    if lost:
        left.append(f"the tags {', '.join(map(str, lost[:6]))} are damaged and were left out")
    across, unit = _resolution(stream, directory)
    return replace(about, left=tuple(left), pixels_per_mm=across, resolution_unit=unit)


def _value(stream: BinaryIO, directory: Directory, tag: int) -> bytes | None:
    entry = directory.entries.get(tag)
    try:
        return take(stream, entry.start, entry.length) or None if entry else None
    except Damaged:
        return None


def _iptc(stream: BinaryIO, directory: Directory) -> bytes | None:
    """The IPTC record; some programs write it as if it were numbers, some of them in the other order."""
    data = _value(stream, directory, _IPTC)
    if data and data[:1] != b"\x1c" and data[3:4] == b"\x1c":
        data = b"".join(data[place : place + 4][::-1] for place in range(0, len(data), 4))
    return data.rstrip(b"\0") if data and data[:1] == b"\x1c" else None


def _resolution(stream: BinaryIO, directory: Directory) -> tuple[tuple[float, float] | None, str]:
    """Pixels per millimetre across and down, and the unit in which the file says it."""

    def fraction(tag: int) -> float:
        entry = directory.entries.get(tag)
        if entry is None or entry.kind != 5 or entry.count != 1:
            return 0.0
        above, below = struct.unpack(directory.layout.order + "LL", take(stream, entry.start, 8))
        return above / below if below else 0.0

    try:
        unit = number(stream, directory.layout, directory.entries.get(_UNIT)) or 2
        across, down = fraction(_ACROSS), fraction(_DOWN)
    except Damaged:
        return None, "in"
    if unit not in _UNITS or not across or not down or (unit == 1 and across == down):
        return None, "in"
    return (across / _MM_PER_UNIT[unit], down / _MM_PER_UNIT[unit]), _UNITS[unit]


def _block(stream: BinaryIO, directory: Directory) -> bytes | None:
    """The tags of EXIF, and the directories that they point at, as the block that other formats carry."""
    tree = tree_at(stream, directory.layout, directory.place, NESTING, _EXIF_TAGS)
    order = directory.layout.order
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HL", 42, 8)
    return head + written(tree, order, Layout(order), 8) if tree else None


def exif_of_tiff(stream: BinaryIO) -> bytes | None:
    """The EXIF of an open TIFF file as the block that other formats carry; None if it says nothing about the photo."""
    try:
        layout, place = layout_of(stream)
        return _block(stream, directory_at(stream, layout, place))
    except Damaged:
        return None  # unreadable tags; the pixels may well be sound


def describe_dropped_notes(stream: BinaryIO) -> tuple[str, ...]:
    """A remark where a TIFF file or EXIF block has maker notes that cannot go into a TIFF, nor out of one."""
    try:
        layout, place = layout_of(stream)
        shot = number(stream, layout, directory_at(stream, layout, place).entries.get(EXIF))
        notes = directory_at(stream, layout, shot).entries.get(MAKER_NOTE) if shot else None
        is_dropped = notes and not take(stream, notes.start, min(10, notes.length)).startswith(MOVABLE_NOTES)
    except Damaged:
        return ()
    return (DROPPED_NOTES,) if is_dropped else ()


# Writing -------------------------------------------------------------------------------------------------------------


def _tree_of_block(block: bytes) -> tuple[Tree, str]:
    stream = io.BytesIO(block)
    layout, place = layout_of(stream)
    return tree_at(stream, layout, place, NESTING, _EXIF_TAGS), layout.order


def finish(file: BinaryIO, about: Metadata) -> None:
    """Put into an encoder's TIFF what the picture says, in place: a second first directory at the end of the file.

    The entries of the first one go along, so the pixels stay where they are.
    """
    layout, place = layout_of(file)
    old = directory_at(file, layout, place)
    entries = {each.tag: take(file, each.place, layout.entry_bytes) for each in old.entries.values()
               if each.tag not in (_XMP, _IPTC, _PHOTOSHOP, _ACROSS, _DOWN, _UNIT)}  # fmt: skip
    for tree, order in _trees(about, layout):
        start = even(length_of(file))
        added = written(tree, order, layout, start)
        file.seek(0, io.SEEK_END)
        file.write(bytes(start - length_of(file)) + added)
        directory = directory_at(file, layout, start)
        entries |= {each.tag: take(file, each.place, layout.entry_bytes) for each in directory.entries.values()}
    start = even(length_of(file))
    table = struct.pack(layout.count_format, len(entries)) + b"".join(entries[tag] for tag in sorted(entries))
    file.seek(0, io.SEEK_END)
    file.write(bytes(start - length_of(file)) + table + bytes(layout.place_bytes))
    file.seek(layout.head_place)
    file.write(struct.pack(layout.place_format, start))


def _trees(about: Metadata, layout: Layout) -> list[tuple[Tree, str]]:
    """What goes in, each with the byte order that it comes in."""
    trees = []
    if about.exif:
        trees.append(_tree_of_block(about.exif))
    own: Tree = {}
    if about.xmp:
        own[_XMP] = Leaf(1, about.xmp)
    if about.photoshop:
        iptc, others = photoshop.iptc_of(about.photoshop), photoshop.without_iptc(about.photoshop)
        own |= {tag: Leaf(7, data) for tag, data in ((_IPTC, iptc), (_PHOTOSHOP, others)) if data}
    if about.pixels_per_mm:
        unit = {"in": 2, "cm": 3, "": 1}.get(about.resolution_unit, 2)
        across, down = (round(value * _MM_PER_UNIT[unit] * 10_000) for value in about.pixels_per_mm)
        if 0 < across < 2**32 and 0 < down < 2**32:
            order = layout.order
            own |= {
                tag: Leaf(5, struct.pack(order + "LL", value, 10_000))
                for tag, value in ((_ACROSS, across), (_DOWN, down))
            }
            own[_UNIT] = Leaf(3, struct.pack(order + "H", unit))
    return [(tree, order) for tree, order in (*trees, (own, layout.order)) if tree]
