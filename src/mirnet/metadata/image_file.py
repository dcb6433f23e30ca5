"""`read` what any picture file says, and `finish` a file that an encoder wrote with what it should say."""

from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO

from mirnet.metadata import bmff, bmff_items, exif, gif, jpeg, png, raw, tiff, webp, xmp
from mirnet.metadata.record import Metadata
from mirnet.metadata.tiff_directories import Damaged

_READERS: dict[str, Callable[[BinaryIO], Metadata]] = {
    "jpeg": jpeg.read,
    "png": png.read,
    "webp": webp.read,
    "tiff": tiff.read,
    "avif": bmff.read,
    "heic": bmff.read,
    "gif": gif.read,
    "ppm": gif.read_ppm,
}
_FINISHERS: dict[str, Callable[[BinaryIO, Metadata], None]] = {
    "jpeg": jpeg.finish,
    "png": png.finish,
    "webp": webp.finish,
    "tiff": tiff.finish,
    "avif": bmff_items.finish,
}
_TURNED_BY_DECODER = ("avif", "heic", "raw")  # whose pixels come upright, whatever their EXIF says


def read(stream: BinaryIO, format: str, preview: bytes | None = None) -> Metadata:
    """What an open file of this format, a name of `mirnet.formats.FORMATS`, says beside its pixels and profile.

    `icc` is given only where a PNG, AVIF or HEIC states colours other than sRGB without a profile. Stale thumbnails,
    and all that belongs to a gain map or a motion photo, are gone from it, and named in `left` like everything that is
    damaged. `preview`: of RAW, as bytes of a JPEG. Never raises because of what a file holds.
    """
    if format == "raw":
        about = raw.read(stream, preview)
    else:
        about = _READERS[format](stream) if format in _READERS else Metadata()
    left = list(about.left)
    block = exif.clean_exif(about.exif, 1 if format in _TURNED_BY_DECODER else None) if about.exif else None
    if about.exif and block is None:
        left.append("its EXIF is damaged and was left out")
    packet = _clean_xmp(about.xmp, left) if about.xmp else None
    if packet and format in _TURNED_BY_DECODER:
        packet = xmp.upright_xmp(packet)
    about = replace(about, exif=block, xmp=packet, left=tuple(dict.fromkeys(left)))
    stated = exif.resolution(block) if block and about.pixels_per_mm is None and format != "tiff" else None
    return replace(about, pixels_per_mm=stated[0], resolution_unit=stated[1]) if stated else about


def _clean_xmp(packet: bytes, left: list[str]) -> bytes | None:
    """A packet without what belongs to the old picture alone; a damaged one goes if it speaks of such things."""
    try:
        gain_map, motion, stale = xmp.found(packet, (xmp.is_gain_map, xmp.is_motion, xmp.is_stale))
    except Damaged:
        if not any(word in packet for word in (b"hdrgm", b"MotionPhoto", b"MicroVideo", b"GainMap", b"Thumbnails")):
            return packet
        left.append("its XMP is damaged and was left out")
        return None
    left += [sentence for known, sentence in ((gain_map, jpeg.GAIN_MAP), (motion, jpeg.MOTION)) if known]
    return xmp.without(packet, xmp.is_stale) if stale else packet


def finish(file: BinaryIO, format: str, about: Metadata) -> None:
    """Put what `fit` gave into a file of this format that an encoder wrote with the profile alone, in place.

    The file is open for reading and writing; it is never held in memory, however long it is.
    """
    _FINISHERS[format](file, about)
