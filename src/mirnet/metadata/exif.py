"""EXIF as one block of bytes, the camera's own: only orientation, size, thumbnail and location are ever edited in it.

libvips takes EXIF apart and writes it anew: it invents tags (an uncalibrated colour space, an EXIF version) and moves
maker notes to other offsets. So we carry the block whole. Editing moves nothing in it, because maker notes hold offsets
that only their maker can correct.
"""

import io
import struct
from collections.abc import Iterator

from mirnet.metadata.file_bytes import Damaged
from mirnet.metadata.tiff_directories import (
    EXIF,
    GPS,
    INTEROPERABILITY,
    MAKER_NOTE,
    Directory,
    Entry,
    read_directory,
    read_fraction,
    read_layout,
    read_number,
    read_numbers,
)

EXIF_PREFIX = b"Exif\0\0"  # ahead of a block in a JPEG, and in some other files
ORIENTATION = 0x0112
_MAKE = 0x010F
_ACROSS, _DOWN, _UNIT = 0x011A, 0x011B, 0x0128  # the tags of the resolution
_MOST_ENTRIES = 1000  # cameras write fewer than two hundred
_MOST_STRIPS = 1000  # of a thumbnail
_SIZES = ((0x0100, 0x0101), (0xA002, 0xA003))  # width and height in the first directory, and in that of EXIF
_THUMBNAILS = ((0x0201, 0x0202), (0x0111, 0x0117))  # offset and length of a JPEG; of strips of plain pixels
GEOGRAPHY = frozenset({33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113, 50844})  # the tags of GeoTIFF and GDAL
_FURTHER_BLOCKS = (700, 33723, 34377)  # XMP, IPTC and Photoshop's within EXIF, which a program took over from a TIFF
# Makers whose notes, as far as exiftool knows them, never state a location. The notes of Nikon, Panasonic, Pentax,
# Samsung, Casio, Kodak and FLIR have tags for the place, the city or a landmark; those of others are unknown.
_MAKERS_WITHOUT_LOCATION = ("apple", "canon", "fujifilm", "konica", "minolta", "olympus", "om digital", "sony")

Span = tuple[int, int]  # first offset, and the one behind the last


class ExifEditor:
    """An EXIF block that is edited in place. Raises Damaged where its first directory cannot be read."""

    def __init__(self, block: bytes) -> None:
        self.data = bytearray(block)
        self._stream = io.BytesIO(block)
        if block[:4] not in (b"II*\0", b"MM\0*"):
            raise Damaged("no EXIF block")
        self.layout, first = read_layout(self._stream)
        self.first = self._read_directory(first)

    def _read_directory(self, offset: int) -> Directory:
        directory = read_directory(self._stream, self.layout, offset)
        if directory.count > _MOST_ENTRIES:
            raise Damaged(f"EXIF with {directory.count} tags in a directory")
        return directory

    def find_subdirectory(self, directory: Directory, tag: int) -> Directory | None:
        """The directory whose offset an entry holds; None where there is no such entry, or it cannot be read."""
        try:
            offset = read_number(self._stream, self.layout, directory.entries.get(tag))
            return self._read_directory(offset) if offset else None
        except Damaged:
            return None

    def find_thumbnail(self) -> Directory | None:
        """The directory of the thumbnail, which follows the first one."""
        try:
            return self._read_directory(self.first.next_offset) if self.first.next_offset else None
        except Damaged:
            return None

    def directories(self, *, gps: bool = True) -> Iterator[Directory]:
        """All directories but that of the thumbnail."""
        yield self.first
        shot = self.find_subdirectory(self.first, EXIF)
        if shot:
            yield shot
            if interoperability := self.find_subdirectory(shot, INTEROPERABILITY):
                yield interoperability
        if gps and (location := self.find_subdirectory(self.first, GPS)):
            yield location

    def read_text(self, entry: Entry | None) -> str:
        """The text of an entry; empty for None."""
        if entry is None:
            return ""
        return bytes(self.data[entry.start : entry.start + entry.length]).rstrip(b"\0 ").decode("latin-1")

    def read_numbers(self, directory: Directory, tag: int) -> tuple[int, ...]:
        """The whole numbers of a tag; empty where the directory has no such tag."""
        return read_numbers(self._stream, self.layout, directory.entries.get(tag), _MOST_STRIPS)

    def read_fraction(self, directory: Directory, tag: int) -> float:
        """The fraction of a tag; 0 where the directory has no such tag."""
        return read_fraction(self._stream, self.layout, directory.entries.get(tag))

    def set_number(self, entry: Entry | None, value: int) -> None:
        """Sets a whole number where there is an entry of one number that is wide enough."""
        code = {3: "H", 4: "L"}.get(entry.type) if entry and entry.count == 1 else None
        if entry and code and value < 1 << 8 * (2 if code == "H" else 4):
            struct.pack_into(self.layout.order + code, self.data, entry.start, value)

    def zero(self, spans: list[Span], kept: list[Span]) -> None:
        """Writes zeros over the spans, except those that overlap with spans to be kept: such offsets are wrong."""
        for start, end in spans:
            if not any(start < kept_end and kept_start < end for kept_start, kept_end in kept):
                self.data[start:end] = bytes(max(0, min(end, len(self.data)) - start))

    def remove_entry(self, directory: Directory, tag: int) -> None:
        """Removes an entry but not its value: the entries behind it move up, values stay where they are."""
        offset, size = directory.entries[tag].offset, self.layout.entry_bytes
        end = directory.span[1]
        self.data[offset : end - size] = self.data[offset + size : end]
        self.data[end - size : end] = bytes(size)
        (count,) = struct.unpack_from(self.layout.count_format, self.data, directory.offset)
        struct.pack_into(self.layout.count_format, self.data, directory.offset, count - 1)


def _list_spans(directory: Directory) -> list[Span]:
    """Where a directory and its values lie."""
    return [directory.span, *(entry.span for entry in directory.entries.values())]


def clean_exif(block: bytes, orientation: int | None = None) -> bytes | None:
    """Returns an EXIF block without its thumbnail, which shows the old image, and with the orientation set if given.

    None if the first directory cannot be read: no program can read such a block.
    """
    try:
        editor = ExifEditor(block.removeprefix(EXIF_PREFIX))
    except Damaged:
        return None
    entry = editor.first.entries.get(ORIENTATION)
    if orientation is not None and entry is not None and entry.length <= 4:
        struct.pack_into(editor.layout.order + "HLHH", editor.data, entry.offset + 2, 3, 1, orientation, 0)
    thumbnail = editor.find_thumbnail()
    if editor.first.link + 4 <= len(editor.data):
        struct.pack_into(editor.layout.order + "L", editor.data, editor.first.link, 0)
    return _remove_thumbnail(editor, thumbnail) if thumbnail else bytes(editor.data)


def _remove_thumbnail(editor: ExifEditor, directory: Directory) -> bytes:
    spans = [
        (start, start + length)
        for starts, lengths in _THUMBNAILS
        for start, length in zip(
            editor.read_numbers(directory, starts), editor.read_numbers(directory, lengths), strict=False
        )
    ]
    kept = [span for each in editor.directories() for span in _list_spans(each)]
    editor.zero(spans, [*kept, directory.span])
    needed = max(end for _, end in (*kept, directory.span))
    last = max(spans, default=(len(editor.data), 0))
    if last[1] >= len(editor.data):  # it ends the block, as thumbnails do, or is stated to reach beyond
        del editor.data[max(needed, last[0]) :]
    return bytes(editor.data)


def set_size(block: bytes, width: int, height: int) -> bytes:
    """Returns a block that states this size wherever it stated one; a damaged block is returned as it is."""
    try:
        editor = ExifEditor(block)
    except Damaged:
        return block
    shot = editor.find_subdirectory(editor.first, EXIF)
    for directory, tags in zip((editor.first, shot), _SIZES, strict=True):
        for tag, value in zip(tags, (width, height), strict=True):
            if directory:
                editor.set_number(directory.entries.get(tag), value)
    return bytes(editor.data)


def remove_location(block: bytes) -> tuple[bytes | None, bool]:
    """Returns a block without the location, and whether the maker notes were removed because they may state it.

    Values are zeroed and entries removed; nothing else moves. None for a block that cannot be read.
    """
    try:
        editor = ExifEditor(block)
        kept = [span for each in editor.directories(gps=False) for span in _list_spans(each)]
        if location := editor.find_subdirectory(editor.first, GPS):
            editor.zero(_list_spans(location), kept)
        for tag in sorted({GPS, *GEOGRAPHY, *_FURTHER_BLOCKS} & set(editor.first.entries)):
            editor = _remove_value(editor, editor.first, tag)
        shot = editor.find_subdirectory(editor.first, EXIF)
        if shot and GPS in shot.entries:  # against the standard, but some programs put it there
            editor = _remove_value(editor, shot, GPS)
            shot = editor.find_subdirectory(editor.first, EXIF)
        maker = editor.read_text(editor.first.entries.get(_MAKE)).lower()
        has_unsafe_notes = bool(shot and MAKER_NOTE in shot.entries and not maker.startswith(_MAKERS_WITHOUT_LOCATION))
        if shot and has_unsafe_notes:
            editor = _remove_value(editor, shot, MAKER_NOTE)
        return bytes(editor.data), has_unsafe_notes
    except (Damaged, struct.error):
        return None, False


def remove_notes(block: bytes) -> bytes:
    """Returns a block without the maker notes, whose bytes become zeros. Raises Damaged."""
    editor = ExifEditor(block)
    shot = editor.find_subdirectory(editor.first, EXIF)
    return bytes(_remove_value(editor, shot, MAKER_NOTE).data) if shot and MAKER_NOTE in shot.entries else block


def _remove_value(editor: ExifEditor, directory: Directory, tag: int) -> ExifEditor:
    """Removes an entry and zeroes its value; returns an editor that has read the block again."""
    entry = directory.entries[tag]
    if not directory.offset <= entry.start < directory.link:  # the value lies outside the directory
        others = [span for each in editor.directories() for span in _list_spans(each) if span != entry.span]
        editor.zero([entry.span], others)
    editor.remove_entry(directory, tag)
    return ExifEditor(bytes(editor.data))


def read_resolution(block: bytes) -> tuple[tuple[float, float], str] | None:
    """Pixels per millimetre across and down, and their unit; None where the first directory does not state them."""
    try:
        editor = ExifEditor(block)
        across, down = (editor.read_fraction(editor.first, tag) for tag in (_ACROSS, _DOWN))
        unit = (editor.read_numbers(editor.first, _UNIT) or (2,))[0]
    except Damaged:
        return None
    scale = {2: 25.4, 3: 10.0}.get(unit)
    return ((across / scale, down / scale), "in" if unit == 2 else "cm") if scale and across and down else None
