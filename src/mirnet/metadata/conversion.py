"""Fits metadata to another file: keeps what its format holds, and describes what it cannot hold in a remark."""

import io
import re
from dataclasses import replace

from mirnet.formats import FORMATS
from mirnet.metadata import exif, jpeg, photoshop, tiff, xmp
from mirnet.metadata.file_bytes import Damaged
from mirnet.metadata.record import Metadata

_LOCATION_KEYWORD = re.compile(r"gps|location|latitude|longitude|geotag|\bcity\b|\bcountry\b", re.IGNORECASE)
_HOLDS_PHOTOSHOP = ("jpeg", "tiff")
_HOLDS_RESOLUTION = ("jpeg", "png", "tiff")


def fit_metadata(
    metadata: Metadata,
    source: str,
    target: str,
    *,
    size: tuple[int, int],
    orientation: int = 1,
    provenance: str | None = None,
    strip_location: bool = False,
) -> tuple[Metadata, tuple[str, ...]]:
    """Returns the metadata for a file of the format `target`, and remarks about what that file cannot hold.

    `source` and `target` are names of formats. `size` is width and height of the pixels as written. `orientation` is
    that of the source, whose pixels the caller turns upright where the formats differ. `provenance` goes into the XMP;
    `strip_location` removes where the photo was taken.
    """
    dropped = list(metadata.dropped)
    if strip_location:
        metadata = _strip_location(metadata, dropped)
    if source != target:
        metadata = _convert(metadata, target, size, orientation, dropped)
    if target == "jpeg" and metadata.exif and not jpeg.fits_exif(metadata.exif):
        metadata = replace(metadata, exif=_shorten(metadata.exif, dropped))
    if target == "tiff" and metadata.exif:
        dropped += tiff.describe_dropped_notes(io.BytesIO(metadata.exif))
    original = metadata.xmp
    if provenance is not None:
        metadata = replace(metadata, xmp=xmp.add_provenance(original, provenance) or None)
    if target == "jpeg" and metadata.xmp:
        metadata = replace(metadata, xmp=_choose_packet(metadata.xmp, original, provenance, dropped))
    return replace(metadata, dropped=()), tuple(dict.fromkeys(dropped))


def _choose_packet(packet: bytes, original: bytes | None, provenance: str | None, dropped: list[str]) -> bytes | None:
    """The packet, or else the original one without our provenance, whichever fits a JPEG first; else the provenance."""
    if short := jpeg.fit_packet(packet) or jpeg.fit_packet(original or b""):
        return short
    dropped.append("its XMP was dropped: it is too long for a JPEG; write PNG, WebP, TIFF or AVIF to keep it")
    return xmp.add_provenance(None, provenance) if provenance is not None else None


def _shorten(block: bytes, dropped: list[str]) -> bytes | None:
    """An EXIF block of more than 64 kB without maker notes, by far the longest part; None if it is still too long."""
    try:
        short = tiff.read_exif(io.BytesIO(exif.remove_notes(block)))
    except Damaged:
        short = None
    if short and jpeg.fits_exif(short):
        dropped.append("the camera maker's own notes were dropped: with them the EXIF is too long for a JPEG")
        return short
    dropped.append("its EXIF was dropped: it is too long for a JPEG; write PNG, WebP, TIFF or AVIF to keep it")
    return None


# Another format ------------------------------------------------------------------------------------------------------


def _convert(metadata: Metadata, target: str, size: tuple[int, int], orientation: int, dropped: list[str]) -> Metadata:
    """The metadata that an upright image in another format can hold."""
    title = FORMATS[target].title
    block = exif.clean_exif(metadata.exif, orientation=1) if metadata.exif else None
    block = exif.set_size(block, *size) if block else None
    resolution = metadata.pixels_per_mm
    if resolution and orientation >= 5:
        resolution = resolution[::-1]
    if resolution and target not in _HOLDS_RESOLUTION and not (block and exif.read_resolution(block)):
        dropped.append(f"its resolution was dropped: {title} has no place for it")
    if metadata.photoshop and target not in _HOLDS_PHOTOSHOP:
        dropped.append(f"its {_name_resources(metadata.photoshop)} was dropped: {title} has no place for it")
    dropped += _describe_texts(metadata, target)
    return replace(
        metadata,
        exif=block,
        xmp=xmp.set_upright(metadata.xmp) if metadata.xmp else None,
        pixels_per_mm=resolution,
        comments=(),
        texts=(),
        photoshop=metadata.photoshop if target in _HOLDS_PHOTOSHOP else None,
    )


def _name_resources(block: bytes) -> str:
    try:
        return "IPTC record" if photoshop.find_iptc(block) else "Photoshop block"
    except Damaged:
        return "Photoshop block"


def _describe_texts(metadata: Metadata, target: str) -> list[str]:
    """Remarks about JPEG's comments and PNG's texts, which no other format holds."""
    title = FORMATS[target].title
    dropped = []
    if metadata.texts:
        named = ", ".join(dict.fromkeys(text.keyword for text in metadata.texts[:10]))
        dropped.append(f"its texts ({named}) were dropped: {title} has no place for them")
    if metadata.comments:
        dropped.append(f"its comment was dropped: {title} has no place for it")
    return dropped


# Location ------------------------------------------------------------------------------------------------------------


def _strip_location(metadata: Metadata, dropped: list[str]) -> Metadata:
    """Removes where the photo was taken from all parts that may state it; a part that is damaged goes as a whole."""
    block, has_unsafe_notes = exif.remove_location(metadata.exif) if metadata.exif else (None, False)
    if has_unsafe_notes:
        dropped.append("the camera maker's own notes were dropped with the location, which they may state too")
    if metadata.exif and block is None:
        dropped.append(_describe_damage("EXIF"))
    return replace(
        metadata,
        exif=block,
        xmp=_strip_location_from_xmp(metadata.xmp, dropped) if metadata.xmp else None,
        photoshop=_strip_location_from_resources(metadata.photoshop, dropped) if metadata.photoshop else None,
        texts=tuple(text for text in metadata.texts if not _LOCATION_KEYWORD.search(text.keyword)),
    )


def _strip_location_from_xmp(packet: bytes, dropped: list[str]) -> bytes | None:
    try:
        return xmp.remove_properties(packet, xmp.is_location)
    except Damaged:
        dropped.append(_describe_damage("XMP"))
        return None


def _strip_location_from_resources(block: bytes, dropped: list[str]) -> bytes | None:
    try:
        return photoshop.remove_location(block) or None
    except Damaged:
        dropped.append(_describe_damage("Photoshop block"))
        return None


def _describe_damage(part: str) -> str:
    return f"its {part} was dropped with the location: it is damaged, and may state the location too"
