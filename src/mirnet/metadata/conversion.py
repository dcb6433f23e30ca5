"""What a picture says, made to fit another file: what holds there goes along, what cannot is named in a sentence."""

import io
import re
from dataclasses import replace

from mirnet.formats import FORMATS
from mirnet.metadata import exif, jpeg, photoshop, png, tiff, xmp
from mirnet.metadata.record import Metadata, Text
from mirnet.metadata.tiff_directories import Damaged

_SPEAKS_OF_PLACE = re.compile(r"gps|location|latitude|longitude|geotag|\bcity\b|\bcountry\b", re.IGNORECASE)
_HOLDS_PHOTOSHOP = ("jpeg", "tiff")
_HOLDS_RESOLUTION = ("jpeg", "png", "tiff")


def fit(
    about: Metadata,
    source: str,
    target: str,
    *,
    size: tuple[int, int],
    orientation: int = 1,
    provenance: str | None = None,
    strip_location: bool = False,
) -> tuple[Metadata, tuple[str, ...]]:
    """What the new file of the format `target` says, and remarks about what it cannot say.

    `size` is the width and height of the pixels as written; `orientation` that of the source, whose pixels are taken
    to be turned upright where the formats differ.
    """
    left = list(about.left)
    if strip_location:
        about = _without_place(about, left)
    if source != target:
        about = _converted(about, target, size, orientation, left)
    if target == "jpeg" and about.exif and not jpeg.fits_exif(about.exif):
        about = replace(about, exif=_shortened(about.exif, left))
    if target == "tiff" and about.exif:
        left += tiff.describe_dropped_notes(io.BytesIO(about.exif))
    plain = about.xmp
    if provenance is not None:
        about = replace(about, xmp=xmp.with_provenance(about.xmp, provenance) or None)
    if target == "jpeg" and about.xmp:
        about = replace(about, xmp=_for_jpeg((about.xmp, plain), left))
    return replace(about, left=()), tuple(dict.fromkeys(left))


def _for_jpeg(packets: tuple[bytes | None, ...], left: list[str]) -> bytes | None:
    """The first packet that a JPEG can hold: what the source says goes before what we say."""
    for packet in packets:
        try:
            if packet:
                jpeg.packets(packet)
                return packet
        except Damaged:
            continue
    left.append("its XMP was left behind: it is too long for the segments of a JPEG, and cannot be divided")
    return None


def _shortened(block: bytes, left: list[str]) -> bytes | None:
    """A block of more than 64 kB without the maker's notes, by far the longest part; None if that does not help."""
    try:
        short = tiff.exif_of_tiff(io.BytesIO(exif.without_notes(block)))
    except Damaged:
        short = None
    if short and jpeg.fits_exif(short):
        left.append("the camera maker's own notes were left behind: with them the EXIF is too long for a JPEG")
        return short
    left.append("its EXIF was left behind: it is too long for a JPEG; write PNG, WebP, TIFF or AVIF to keep it")
    return None


# Another format ------------------------------------------------------------------------------------------------------


def _converted(about: Metadata, target: str, size: tuple[int, int], orientation: int, left: list[str]) -> Metadata:
    """What an upright picture in another format can say."""
    title = FORMATS[target].title
    block = exif.clean_exif(about.exif, orientation=1) if about.exif else None
    block = exif.with_size(block, *size) if block else None
    resolution = about.pixels_per_mm
    if resolution and orientation >= 5:
        resolution = resolution[::-1]
    if resolution and target not in _HOLDS_RESOLUTION and not (block and exif.resolution(block)):
        left.append(f"its resolution was left behind: {title} has no place for it")
    if about.photoshop and target not in _HOLDS_PHOTOSHOP:
        left.append(f"its {_what(about.photoshop)} was left behind: {title} has no place for it")
    about = _with_texts(about, target, left)
    return replace(
        about,
        exif=block,
        xmp=xmp.upright_xmp(about.xmp) if about.xmp else None,
        pixels_per_mm=resolution,
        photoshop=about.photoshop if target in _HOLDS_PHOTOSHOP else None,
    )


def _what(block: bytes) -> str:
    try:
        return "IPTC record" if photoshop.iptc_of(block) else "Photoshop block"
    except Damaged:
        return "Photoshop block"


def _with_texts(about: Metadata, target: str, left: list[str]) -> Metadata:
    """JPEG has comments, PNG has texts under keywords; one becomes the other, elsewhere neither has a place."""
    title = FORMATS[target].title
    if target == "png":
        comments = tuple(Text(b"iTXt", b"Comment\0\0\0\0\0" + _as_utf8(comment)) for comment in about.comments)
        return replace(about, comments=(), texts=(*about.texts, *comments))
    found = [text for text in about.texts if target == "jpeg" and text.keyword == "Comment"]
    others = [text.keyword for text in about.texts if text not in found]
    if others:
        named = ", ".join(dict.fromkeys(others[:10]))
        left.append(f"its texts ({named}) were left behind: {title} has no place for them")
    if about.comments and target != "jpeg":
        left.append(f"its comment was left behind: {title} has no place for it")
    kept = (*about.comments, *(png.content(text) for text in found))
    if any(len(comment) > jpeg.SEGMENT_BYTES for comment in kept):
        left.append("its comment was cut to the 64 kB that a JPEG has for it")
    kept = tuple(comment[: jpeg.SEGMENT_BYTES] for comment in kept)
    return replace(about, comments=kept if target == "jpeg" else (), texts=())


def _as_utf8(comment: bytes) -> bytes:
    comment = comment.rstrip(b"\0").replace(b"\0", b" ")
    try:
        return comment.decode().encode()
    except UnicodeDecodeError:
        return comment.decode("latin-1").encode()


# Where it was taken --------------------------------------------------------------------------------------------------


def _without_place(about: Metadata, left: list[str]) -> Metadata:
    """Nothing about where the picture was taken, in any of the places where files say it."""
    block, notes = exif.without_place(about.exif) if about.exif else (None, False)
    if notes:
        left.append("the camera maker's own notes were left out with the location, which they may state too")
    if about.exif and block is None:
        left.append("its EXIF was left out with the location: it is damaged, so nobody knows what it states")
    return replace(
        about,
        exif=block,
        xmp=_xmp_without_place(about.xmp, left) if about.xmp else None,
        photoshop=_photoshop_without_place(about.photoshop, left) if about.photoshop else None,
        texts=tuple(text for text in about.texts if not _says_place(text)),
    )


def _xmp_without_place(packet: bytes, left: list[str]) -> bytes | None:
    try:
        return xmp.without(packet, xmp.says_place)
    except Damaged:
        left.append("its XMP was left out with the location: it is damaged, so nobody knows what it states")
        return None


def _photoshop_without_place(block: bytes, left: list[str]) -> bytes | None:
    try:
        return photoshop.without_place(block) or None
    except Damaged:
        left.append("its Photoshop block was left out with the location: it is damaged, so nobody knows what it states")
        return None


def _says_place(text: Text) -> bool:
    return bool(_SPEAKS_OF_PLACE.search(text.keyword))
