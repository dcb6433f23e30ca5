"""EXIF as one block of bytes, the camera's own: only orientation, size, thumbnail and place are ever edited in it.

libvips takes EXIF apart and writes it anew: it invents tags that were never there (an uncalibrated colour space, an
EXIF version) and moves maker notes off their places. So the block travels whole; nothing in it moves, because maker
notes hold places that only their maker can correct.
"""

import io
import struct
from collections.abc import Iterator

from mirnet.metadata.tiff_directories import (
    EXIF,
    GPS,
    INTEROPERABILITY,
    MAKER_NOTE,
    Damaged,
    Directory,
    Entry,
    directory_at,
    layout_of,
    number,
    take,
)

ORIENTATION = 0x0112
_MAKE = 0x010F
_MOST_ENTRIES = 1000  # cameras write fewer than two hundred
_SIZES = ((0x0100, 0x0101), (0xA002, 0xA003))  # of the first directory, of EXIF's
_THUMBNAILS = ((0x0201, 0x0202), (0x0111, 0x0117))  # a JPEG; strips of plain pixels
GEOGRAPHY = frozenset({33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113, 50844})  # GeoTIFF's and GDAL's tags
_FURTHER_BLOCKS = (700, 33723, 34377)  # XMP, IPTC and Photoshop's within EXIF, left by a stay in a TIFF
# Makers whose notes, as far as exiftool knows them, never say where a picture was taken. Nikon, Panasonic, Pentax,
# Samsung, Casio, Kodak and FLIR have tags for the place, the city or a landmark there, and of others nobody knows.
_MAKERS_WITHOUT_PLACES = ("apple", "canon", "fujifilm", "konica", "minolta", "olympus", "om digital", "sony")


class Block:
    """An EXIF block that is being edited. Raises Damaged where its first directory cannot be read."""

    def __init__(self, block: bytes) -> None:
        self.data = bytearray(block)
        self._stream = io.BytesIO(block)
        if block[:4] not in (b"II*\0", b"MM\0*"):
            raise Damaged("no EXIF block")
        self.layout, first = layout_of(self._stream)
        self.first = self._directory(first)

    def _directory(self, place: int) -> Directory:
        directory = directory_at(self._stream, self.layout, place)
        if directory.count > _MOST_ENTRIES:
            raise Damaged(f"EXIF with {directory.count} tags in a directory")
        return directory

    def below(self, directory: Directory, tag: int) -> Directory | None:
        """The directory that an entry points at; None where there is no such entry, or nothing to read."""
        try:
            place = number(self._stream, self.layout, directory.entries.get(tag))
            return self._directory(place) if place else None
        except Damaged:
            return None

    def directories(self, *, gps: bool = True) -> Iterator[Directory]:
        """All but the thumbnail's."""
        yield self.first
        shot = self.below(self.first, EXIF)
        if shot:
            yield shot
            if use := self.below(shot, INTEROPERABILITY):
                yield use
        if gps and (place := self.below(self.first, GPS)):
            yield place

    def text(self, entry: Entry | None) -> str:
        if entry is None:
            return ""
        return bytes(self.data[entry.start : entry.start + entry.length]).rstrip(b"\0 ").decode("latin-1")

    def fraction(self, entry: Entry | None) -> float:
        """A fraction's value; 0 where there is none."""
        if entry is None or entry.kind != 5 or entry.count != 1:
            return 0.0
        above, below = struct.unpack_from(self.layout.order + "LL", self.data, entry.start)
        return above / below if below else 0.0

    def set_number(self, entry: Entry | None, value: int) -> None:
        """A whole number where the entry has one that is wide enough."""
        code = {3: "H", 4: "L"}.get(entry.kind) if entry and entry.count == 1 else None
        if entry and code and value < 1 << 8 * (2 if code == "H" else 4):
            struct.pack_into(self.layout.order + code, self.data, entry.start, value)

    def blank(self, spans: list[tuple[int, int]], kept: list[tuple[int, int]]) -> None:
        """Zeros where the spans lie, but for those that overlap with what is kept: then somebody lied."""
        for start, end in spans:
            if not any(start < kept_end and kept_start < end for kept_start, kept_end in kept):
                self.data[start:end] = bytes(max(0, min(end, len(self.data)) - start))

    def remove(self, directory: Directory, tag: int) -> None:
        """An entry without its value: those behind it move up, no value moves."""
        place, size = directory.entries[tag].place, self.layout.entry_bytes
        end = directory.span[1]
        self.data[place : end - size] = self.data[place + size : end]
        self.data[end - size : end] = bytes(size)
        (count,) = struct.unpack_from(self.layout.count_format, self.data, directory.place)
        struct.pack_into(self.layout.count_format, self.data, directory.place, count - 1)

    def thumbnail(self) -> Directory | None:
        try:
            return self._directory(self.first.following) if self.first.following else None
        except Damaged:
            return None

    def numbers(self, directory: Directory, tag: int) -> list[int]:
        """All values of an entry of whole numbers; at most a thousand, since strips of a thumbnail are few."""
        entry = directory.entries.get(tag)
        code = {3: "H", 4: "L"}.get(entry.kind) if entry else None
        if entry is None or code is None or entry.count > 1000:
            return []
        data = take(self._stream, entry.start, entry.length)
        return list(struct.unpack(f"{self.layout.order}{entry.count}{code}", data))


def spans_of(directory: Directory) -> list[tuple[int, int]]:
    """Where a directory and its values lie."""
    return [directory.span, *(entry.span for entry in directory.entries.values())]


def clean_exif(block: bytes, orientation: int | None = None) -> bytes | None:
    """An EXIF block without its thumbnail, which would show the old picture, and with another orientation if given.

    None if the first directory cannot be read: such a block says nothing to anybody.
    """
    try:
        edited = Block(block.removeprefix(b"Exif\0\0"))
    except Damaged:
        return None
    entry = edited.first.entries.get(ORIENTATION)
    if orientation is not None and entry is not None and entry.length <= 4:
        struct.pack_into(edited.layout.order + "HLHH", edited.data, entry.place + 2, 3, 1, orientation, 0)
    thumbnail = edited.thumbnail()
    if edited.first.link + 4 <= len(edited.data):
        struct.pack_into(edited.layout.order + "L", edited.data, edited.first.link, 0)
    return _without_thumbnail(edited, thumbnail) if thumbnail else bytes(edited.data)


def _without_thumbnail(edited: Block, directory: Directory) -> bytes:
    spans = [
        (start, start + length)
        for places, lengths in _THUMBNAILS
        for start, length in zip(edited.numbers(directory, places), edited.numbers(directory, lengths), strict=False)
    ]
    kept = [span for each in edited.directories() for span in spans_of(each)]
    edited.blank(spans, [*kept, directory.span])
    needed = max(end for _, end in (*kept, directory.span))
    last = max(spans, default=(len(edited.data), 0))
    if last[1] >= len(edited.data):  # it ends the block, as thumbnails do, or would reach beyond
        del edited.data[max(needed, last[0]) :]
    return bytes(edited.data)


def with_size(block: bytes, width: int, height: int) -> bytes:
    """A block that states this size wherever it stated one."""
    try:
        edited = Block(block)
    except Damaged:
        return block
    shot = edited.below(edited.first, EXIF)
    for directory, tags in zip((edited.first, shot), _SIZES, strict=True):
        for tag, value in zip(tags, (width, height), strict=True):
            if directory:
                edited.set_number(directory.entries.get(tag), value)
    return bytes(edited.data)


def without_place(block: bytes) -> tuple[bytes | None, bool]:
    """A block that does not say where the picture was taken, and whether the maker's notes went because they might.

    Bytes are zeroed and entries taken out; nothing moves. None for a block that cannot be read.
    """
    try:
        edited = Block(block)
        kept = [span for each in edited.directories(gps=False) for span in spans_of(each)]
        if place := edited.below(edited.first, GPS):
            edited.blank(spans_of(place), kept)
        for tag in sorted({GPS, *GEOGRAPHY, *_FURTHER_BLOCKS} & set(edited.first.entries)):
            edited = _without_entry(edited, edited.first, tag)
        shot = edited.below(edited.first, EXIF)
        if shot and GPS in shot.entries:  # nobody should, some do
            edited = _without_entry(edited, shot, GPS)
            shot = edited.below(edited.first, EXIF)
        maker = edited.text(edited.first.entries.get(_MAKE)).lower()
        notes = bool(shot and MAKER_NOTE in shot.entries and not maker.startswith(_MAKERS_WITHOUT_PLACES))
        if shot and notes:
            edited = _without_entry(edited, shot, MAKER_NOTE)
        return bytes(edited.data), notes
    except (Damaged, struct.error):
        return None, False


def without_notes(block: bytes) -> bytes:
    """A block without the maker's own notes, zeroed."""
    edited = Block(block)
    shot = edited.below(edited.first, EXIF)
    return bytes(_without_entry(edited, shot, MAKER_NOTE).data) if shot and MAKER_NOTE in shot.entries else block


def _without_entry(edited: Block, directory: Directory, tag: int) -> Block:
    entry = directory.entries[tag]
    if not directory.place <= entry.start < directory.link:  # its value lies elsewhere
        others = [span for each in edited.directories() for span in spans_of(each) if span != entry.span]
        edited.blank([entry.span], others)
    edited.remove(directory, tag)
    return Block(bytes(edited.data))


def resolution(block: bytes) -> tuple[tuple[float, float], str] | None:
    """Pixels per millimetre across and down, and their unit; None where the first directory does not say."""
    try:
        edited = Block(block)
        across, down = (edited.fraction(edited.first.entries.get(tag)) for tag in (0x011A, 0x011B))
        unit = (edited.numbers(edited.first, 0x0128) or [2])[0]
    except Damaged:
        return None
    scale = {2: 25.4, 3: 10.0}.get(unit)
    return ((across / scale, down / scale), "in" if unit == 2 else "cm") if scale and across and down else None
