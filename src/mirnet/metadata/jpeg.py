"""The metadata of JPEG: in the segments ahead of the pixels, and behind the end of the image."""

import re
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from mirnet.metadata import photoshop, xmp
from mirnet.metadata.exif import EXIF_PREFIX
from mirnet.metadata.file_bytes import Damaged, measure_length, read_bytes, replace_span
from mirnet.metadata.record import Metadata

SEGMENT_BYTES = 65533  # a segment states its length in 16 bits, and the length counts its own two bytes
XMP_PREFIX, PHOTOSHOP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0", b"Photoshop 3.0\0"
_XMP_EXTENSION_PREFIX = b"http://ns.adobe.com/xmp/extension/\0"  # of what did not fit into one segment
_ISO_GAIN_MAP = b"urn:iso:std:iso:ts:21496:-1\0"
_MOST_SEGMENTS = 2000  # a profile may take 255, XMP as many as it needs
_MM_PER_INCH = 25.4
_CHUNK_BYTES = 1 << 20
# Segments that the encoder writes itself, previews, the list of further images, and the quality that Photoshop used
_REWRITTEN = (b"JFIF\0", b"ICC_PROFILE\0", b"Adobe\0", b"JFXX\0", b"MPF\0", b"Ducky")

GAIN_MAP = "its gain map (Ultra HDR) was dropped, since it belongs to the darker image"
MOTION = "its motion photo's film was dropped, since it no longer fits the brighter image"
XMP_EXTENSION = "the extension of its XMP was dropped: of XMP longer than 64 kB only the main part is kept"
CREDENTIALS = "its Content Credentials (C2PA) were dropped, since they vouch for the image as it was"
FORMER = "further images in the file (previews, or the image before a filter) were dropped: they show the old one"


def _iter_segments(stream: BinaryIO) -> Iterator[tuple[int, bytes, int]]:
    """Yields marker and content of each segment up to the first scan, and the offset behind the segment."""
    offset = 2
    for _ in range(_MOST_SEGMENTS):
        header = read_bytes(stream, offset, 4)
        if header[0] != 0xFF:
            raise Damaged("a JPEG without a marker where one belongs")
        if header[1] == 0xFF:  # padding
            offset += 1
            continue
        (length,) = struct.unpack(">H", header[2:])
        if length < 2:
            raise Damaged("a JPEG segment shorter than its length")
        offset += 2 + length
        yield header[1], read_bytes(stream, offset - length + 2, length - 2), offset
        if header[1] == 0xDA:
            return


def read(stream: BinaryIO) -> Metadata:
    """Reads the metadata of a JPEG; what is damaged or cannot be used elsewhere is named in `dropped`."""
    parts: dict[bytes, list[bytes]] = {prefix: [] for prefix in (EXIF_PREFIX, XMP_PREFIX, PHOTOSHOP_PREFIX)}
    metadata, others, dropped, end = Metadata(), [], [], 2
    try:
        for marker, data, end in _iter_segments(stream):  # noqa: B007 (it is used behind the loop)
            prefix = next((each for each in parts if data.startswith(each)), None) if 0xE1 <= marker <= 0xED else None
            if prefix is not None:
                parts[prefix].append(data[len(prefix) :])
            elif marker == 0xE0 and data.startswith(b"JFIF\0"):
                metadata = _add_resolution(metadata, data)
            elif marker == 0xFE:
                metadata = replace(metadata, comments=(*metadata.comments, data))
            elif marker == 0xE2 and data.startswith(_ISO_GAIN_MAP):
                dropped.append(GAIN_MAP)
            elif marker == 0xE1 and data.startswith(_XMP_EXTENSION_PREFIX):
                dropped.append(XMP_EXTENSION)
            elif marker == 0xEB and data.startswith(b"JP"):
                dropped.append(CREDENTIALS)
            elif 0xE0 <= marker <= 0xEF and not data.startswith(_REWRITTEN):
                others.append(f"APP{marker - 0xE0} ({_read_title(data)})")
        dropped += _describe_trailer(stream, end)
    except Damaged:
        pass  # a JPEG cut short ahead of its pixels; the decoder decides whether it can be used
    if others:
        names = list(dict.fromkeys(others))
        named = ", ".join([*names[:6], "…"] if len(names) > 6 else names)
        dropped.append(f"its segments {named} were dropped, since only their maker knows them")
    packet = parts[XMP_PREFIX][0] if parts[XMP_PREFIX] else None
    resources = _join_resources(parts[PHOTOSHOP_PREFIX], dropped)
    return replace(metadata, exif=_join_exif(parts[EXIF_PREFIX]), xmp=packet, photoshop=resources,
                   dropped=tuple(dict.fromkeys(dropped)))  # fmt: skip


def _read_title(data: bytes) -> str:
    word = re.match(rb"[ -~]{0,20}", data)
    return word[0].decode().strip() if word and word[0].strip() else "no name"


def _add_resolution(metadata: Metadata, data: bytes) -> Metadata:
    if len(data) < 12:
        return metadata
    unit, across, down = struct.unpack_from(">BHH", data, 7)
    per_mm = {0: 1.0, 1: 1 / _MM_PER_INCH, 2: 0.1}.get(unit)
    if per_mm is None or not across or not down or (unit == 0 and across == down):
        return metadata
    return replace(metadata, pixels_per_mm=(across * per_mm, down * per_mm), resolution_unit=("", "in", "cm")[unit])


def _join_exif(parts: list[bytes]) -> bytes | None:
    """A long block continues in further segments; a segment that begins a block anew is a copy that a program left."""
    first, *further = parts or [b""]
    return b"".join([first, *(part for part in further if part[:4] not in (b"II*\0", b"MM\0*"))]) or None


def _join_resources(parts: list[bytes], dropped: list[str]) -> bytes | None:
    """Photoshop's resources: each segment holds whole resources, or a resource continues in the next segment."""
    try:
        return photoshop.remove_stale(b"".join(parts)) or None
    except Damaged:
        dropped.append("its Photoshop block, IPTC included, is damaged and was dropped")
        return None


def _describe_trailer(stream: BinaryIO, scan: int) -> list[str]:
    """Remarks about what lies behind the end of the image, as films and gain maps do."""
    end, length = _find_end_of_image(stream, scan), measure_length(stream)
    if end is None or end == length:
        return []
    stream.seek(end)
    start = stream.read(_CHUNK_BYTES)
    stream.seek(max(end, length - _CHUNK_BYTES))
    last = stream.read(_CHUNK_BYTES)
    if not start.strip(b"\0\xff \r\n") and not last.strip(b"\0\xff \r\n"):
        return []  # cameras fill their blocks
    if b"MotionPhoto_Data" in last or b"MotionPhoto_Data" in start or start[4:8] == b"ftyp" or last[4:8] == b"ftyp":
        return [MOTION]
    further = start.find(b"\xff\xd8\xff")
    if 0 <= further < 65536:
        is_gain_map = any(mark in start for mark in (b"/hdr-gain-map/", _ISO_GAIN_MAP, b"/HDRGainMap/"))
        film = [MOTION] if _contains_film(stream, end, length) else []
        return [GAIN_MAP if is_gain_map else FORMER, *film]
    return [f"{length - end} bytes behind the end of the image were dropped, which only their maker can read"]


def _contains_film(stream: BinaryIO, start: int, end: int) -> bool:
    """Whether an MP4 begins somewhere there; read in chunks that overlap, since the mark may lie across two."""
    for offset in range(start, end, _CHUNK_BYTES):
        stream.seek(offset)
        chunk = stream.read(_CHUNK_BYTES + 16)
        if re.search(rb"\0\0\0[\x10-\x40]ftyp(mp4|isom|avc1|qt|MSNV|iso)", chunk):
            return True
    return False


def _find_end_of_image(stream: BinaryIO, scan: int) -> int | None:
    """The offset behind the first end-of-image marker behind `scan`; within scans those two bytes never occur."""
    offset, last = scan, b""
    stream.seek(offset)
    while chunk := stream.read(_CHUNK_BYTES):
        found = (last + chunk).find(b"\xff\xd9")
        if found >= 0:
            return offset - len(last) + found + 2
        offset += len(chunk)
        last = chunk[-1:]
    return None


# Writing -------------------------------------------------------------------------------------------------------------


def fits_exif(exif: bytes) -> bool:
    """Whether an EXIF block fits into one segment."""
    return len(EXIF_PREFIX) + len(exif) <= SEGMENT_BYTES


def fit_packet(packet: bytes) -> bytes | None:
    """Returns an XMP packet that fits into one segment, if need be without its padding; None where it is too long."""
    most_bytes = SEGMENT_BYTES - len(XMP_PREFIX)
    if len(packet) > most_bytes:
        packet = xmp.remove_padding(packet)
    return packet if len(packet) <= most_bytes else None


def _make_segment(marker: int, data: bytes) -> bytes:
    assert len(data) <= SEGMENT_BYTES, f"{len(data)} bytes for one segment"
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def _make_jfif(metadata: Metadata) -> bytes:
    """The JFIF segment, which libvips does not write without a resolution."""
    unit, (across, down) = 0, (1, 1)
    if metadata.pixels_per_mm:
        unit, scale = {"cm": (2, 10.0), "": (0, 1.0)}.get(metadata.resolution_unit, (1, _MM_PER_INCH))
        across, down = (round(value * scale) for value in metadata.pixels_per_mm)
        if not (1 <= across <= 65535 and 1 <= down <= 65535):
            unit, (across, down) = 0, (1, 1)
    return _make_segment(0xE0, b"JFIF\0" + struct.pack(">HBHHBB", 0x0101, unit, across, down, 0, 0))


def insert(file: BinaryIO, metadata: Metadata) -> None:
    """Inserts metadata that fits a JPEG into an encoder's file, in place; the profile must be there already."""
    segments = [_make_jfif(metadata)]
    if metadata.exif:
        segments.append(_make_segment(0xE1, EXIF_PREFIX + metadata.exif))
    if metadata.xmp:
        segments.append(_make_segment(0xE1, XMP_PREFIX + metadata.xmp))
    resources, size = metadata.photoshop or b"", SEGMENT_BYTES - len(PHOTOSHOP_PREFIX)
    parts = [resources[start : start + size] for start in range(0, len(resources), size)]
    segments += [_make_segment(0xED, PHOTOSHOP_PREFIX + part) for part in parts]
    segments += [_make_segment(0xFE, comment) for comment in metadata.comments]
    start = 2
    if read_bytes(file, 2, 4)[:2] == b"\xff\xe0":  # the encoder's own JFIF segment
        start = 4 + struct.unpack(">H", read_bytes(file, 4, 2))[0]
    replace_span(file, 2, start, b"".join(segments))
