"""Detects the format of an image file by its content; by the suffix only RAW files, many of which look like TIFF."""

import re
from pathlib import Path
from typing import BinaryIO

from mirnet.formats import find_format
from mirnet.metadata.tiff_directories import read_number_tags

_SIGNATURES = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"FUJIFILMCCD-RAW", "raw"),
    (b"FOVb", "raw"),  # Sigma
    (b"IIU\0", "raw"),  # Panasonic
    (b"IIRO", "raw"),  # Olympus
    (b"IIRS", "raw"),
    (b"MMOR", "raw"),
    (b"\0MRM", "raw"),  # Minolta
)
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # bytes of the second header, which follows the 14 of the first
_BRANDS = (
    ({b"crx "}, "raw"),  # Canon's CR3
    ({b"avif", b"avis"}, "avif"),
    ({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}, "heic"),
)
_CFA, _LINEAR_RAW, _DNG_VERSION, _PHOTOMETRIC = 32803, 34892, 50706, 262


def detect_format(stream: BinaryIO, source: Path | bytes) -> str | None:
    """Returns the name of an open file's format; None if it is none of `mirnet.formats.FORMATS`."""
    stream.seek(0)
    start = stream.read(64)
    for signature, format in _SIGNATURES:
        if start.startswith(signature):
            return format
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return "webp"
    if start[4:8] == b"ftyp":
        return _detect_by_brand(start)
    if start[:4] in _TIFF:
        return "raw" if _is_raw(start, stream, source) else "tiff"
    if start.startswith(b"BM") and int.from_bytes(start[14:18], "little") in _BMP_HEADERS:
        return "bmp"
    return "ppm" if re.match(rb"P[1-6][\s#]", start) else None


def _detect_by_brand(start: bytes) -> str | None:
    """The format by the major brand of an ISO base media file, or else by its compatible brands."""
    end = min(len(start), int.from_bytes(start[:4], "big"))
    compatible = {start[at : at + 4] for at in range(16, end, 4)}
    for brands in ({start[8:12]} - {b"mif1", b"msf1"}, compatible | {start[8:12]}):
        for known, format in _BRANDS:
            if brands & known:
                return format
    return None


def _is_raw(start: bytes, stream: BinaryIO, source: Path | bytes) -> bool:
    """Whether a TIFF holds RAW data of a sensor. The tags of some makers do not show it; then the suffix decides."""
    if start[8:10] == b"CR":  # Canon's CR2
        return True
    format = None if isinstance(source, bytes) else find_format(source.suffix)
    if format is not None and format.name == "raw":
        return True
    found = read_number_tags(stream)
    return any({_CFA, _LINEAR_RAW} & set(each.get(_PHOTOMETRIC, ())) or _DNG_VERSION in each for each in found)
