"""Reads the metadata of an image file of any format, and inserts metadata into a file that an encoder wrote."""

from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO

from mirnet.metadata import bmff, bmff_items, exif, jpeg, png, raw, tiff, webp, xmp
from mirnet.metadata.file_bytes import Damaged
from mirnet.metadata.record import Metadata

_READERS: dict[str, Callable[[BinaryIO], Metadata]] = {
    "jpeg": jpeg.read,
    "png": png.read,
    "webp": webp.read,
    "tiff": tiff.read,
    "avif": bmff.read,
    "heic": bmff.read,
}
_WRITERS: dict[str, Callable[[BinaryIO, Metadata], None]] = {
    "jpeg": jpeg.insert,
    "png": png.insert,
    "webp": webp.insert,
    "tiff": tiff.insert,
    "avif": bmff_items.insert,
}
_TURNED_BY_DECODER = ("avif", "heic", "raw")  # whose decoder turns the pixels upright, whatever their EXIF states
_STALE_WORDS = (b"hdrgm", b"MotionPhoto", b"MicroVideo", b"GainMap", b"Thumbnails")


def read_metadata(stream: BinaryIO, format: str, preview: bytes | None = None) -> Metadata:
    """Reads the metadata of an open file. `format` is a name of `mirnet.formats.FORMATS`.

    `icc` is given only where a PNG, AVIF or HEIC states colours other than sRGB without a profile; a profile in the
    file is left to the decoder. Stale thumbnails, gain maps, films of motion photos and damaged parts are left out, and
    named in `dropped`. `preview` is the embedded JPEG of a RAW file. Whatever a file holds raises nothing but OSError.
    """
    if format == "raw":
        metadata = raw.read(stream, preview)
    else:
        metadata = _READERS[format](stream) if format in _READERS else Metadata()
    dropped = list(metadata.dropped)
    upright = 1 if format in _TURNED_BY_DECODER else None
    block = exif.clean_exif(metadata.exif, upright) if metadata.exif else None
    if metadata.exif and block is None:
        dropped.append("its EXIF is damaged and was dropped")
    packet = _clean_xmp(metadata.xmp, dropped) if metadata.xmp else None
    if packet and upright:
        packet = xmp.set_upright(packet)
    metadata = replace(metadata, exif=block, xmp=packet, dropped=tuple(dict.fromkeys(dropped)))
    stated = exif.read_resolution(block) if block and metadata.pixels_per_mm is None and format != "tiff" else None
    return replace(metadata, pixels_per_mm=stated[0], resolution_unit=stated[1]) if stated else metadata


def _clean_xmp(packet: bytes, dropped: list[str]) -> bytes | None:
    """Removes what belongs to the old image alone; a damaged packet that mentions such things is dropped whole."""
    try:
        gain_map, motion, stale = xmp.find_properties(packet, (xmp.is_gain_map, xmp.is_motion, xmp.is_stale))
    except Damaged:
        if not any(word in packet for word in _STALE_WORDS):
            return packet
        dropped.append("its XMP is damaged and was dropped")
        return None
    dropped += [remark for is_found, remark in ((gain_map, jpeg.GAIN_MAP), (motion, jpeg.MOTION)) if is_found]
    return xmp.remove_properties(packet, xmp.is_stale) if stale else packet


def insert_metadata(file: BinaryIO, format: str, metadata: Metadata) -> None:
    """Inserts what `fit_metadata` returned into a file, in place. An encoder wrote the file, with the profile alone.

    The file is open for reading and writing; it is never held in memory, however long it is.
    """
    _WRITERS[format](file, metadata)
