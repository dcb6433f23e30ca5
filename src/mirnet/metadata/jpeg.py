"""What a JPEG says in the segments ahead of its pixels, and what lies behind its end."""

import re
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from mirnet.metadata import extended_xmp, photoshop
from mirnet.metadata.file_splicing import replace_span
from mirnet.metadata.record import Metadata
from mirnet.metadata.tiff_directories import Damaged, length_of, take

SEGMENT_BYTES = 65533  # a segment says its length in 16 bits, which count themselves
EXIF_HEAD, XMP_HEAD, PHOTOSHOP_HEAD = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"Photoshop 3.0\0"
_ISO_GAIN_MAP = b"urn:iso:std:iso:ts:21496:-1\0"
_MOST_SEGMENTS = 2000  # a profile may take 255, XMP as many as it needs
_MM_PER_INCH = 25.4
_CHUNK_BYTES = 1 << 20
# the encoder's own, previews, where other pictures lie, and the quality that Photoshop once chose
_REWRITTEN = (b"JFIF\0", b"ICC_PROFILE\0", b"Adobe\0", b"JFXX\0", b"MPF\0", b"Ducky")

GAIN_MAP = "its gain map (Ultra HDR) was left out, since it belongs to the darker picture"
MOTION = "its motion photo's film was left out, since it no longer fits the brighter picture"
CREDENTIALS = "its Content Credentials (C2PA) were left out, since they vouch for the picture as it was"
FORMER = "further pictures in the file (previews, or the picture before a filter) were left out: they show the old one"


def segments(stream: BinaryIO) -> Iterator[tuple[int, bytes, int]]:
    """Marker and content of each segment ahead of the first scan, and the place behind it."""
    place = 2
    for _ in range(_MOST_SEGMENTS):
        head = take(stream, place, 4)
        if head[0] != 0xFF:
            raise Damaged("a JPEG without a marker where one belongs")
        if head[1] == 0xFF:  # padding
            place += 1
            continue
        (length,) = struct.unpack(">H", head[2:])
        if length < 2:
            raise Damaged("a JPEG segment shorter than its length")
        place += 2 + length
        yield head[1], take(stream, place - length + 2, length - 2), place
        if head[1] == 0xDA:
            return


def read(stream: BinaryIO) -> Metadata:
    """What a JPEG says; what cannot be read of it is named in `left`."""
    found: dict[bytes, list[bytes]] = {
        name: [] for name in (EXIF_HEAD, XMP_HEAD, extended_xmp.EXTENSION_HEAD, PHOTOSHOP_HEAD)
    }
    about, others, left, end = Metadata(), [], [], 2
    try:
        for marker, data, end in segments(stream):  # noqa: B007 (it is used behind the loop)
            head = next((name for name in found if data.startswith(name)), None) if 0xE1 <= marker <= 0xED else None
            if head is not None:
                found[head].append(data[len(head) :])
            elif marker == 0xE0 and data.startswith(b"JFIF\0"):
                about = _with_density(about, data)
            elif marker == 0xFE:
                about = replace(about, comments=(*about.comments, data))
            elif marker == 0xE2 and data.startswith(_ISO_GAIN_MAP):
                left.append(GAIN_MAP)
            elif marker == 0xEB and data.startswith(b"JP"):
                left.append(CREDENTIALS)
            elif 0xE0 <= marker <= 0xEF and not data.startswith(_REWRITTEN):
                others.append(f"APP{marker - 0xE0} ({_title(data)})")
        left += _behind(stream, end)
    except Damaged:
        pass  # a JPEG cut short in its head; whether its pixels can be read, others say
    if others:
        names = list(dict.fromkeys(others))
        named = ", ".join([*names[:6], "…"] if len(names) > 6 else names)
        left.append(f"its segments {named} were left behind, since only their maker knows them")
    packet, resources, further = _joined(found)
    first, *further_parts = found[EXIF_HEAD] or [b""]
    # a long block goes on in further segments; what starts anew is a copy that some program left
    exif = b"".join([first, *(part for part in further_parts if part[:4] not in (b"II*\0", b"MM\0*"))]) or None
    return replace(about, exif=exif, xmp=packet, photoshop=resources, left=tuple(dict.fromkeys([*left, *further])))


def _title(data: bytes) -> str:
    word = re.match(rb"[ -~]{0,20}", data)
    return word[0].decode().strip() if word and word[0].strip() else "no name"


def _with_density(about: Metadata, data: bytes) -> Metadata:
    if len(data) < 12:
        return about
    unit, across, down = struct.unpack_from(">BHH", data, 7)
    per_mm = {0: 1.0, 1: 1 / _MM_PER_INCH, 2: 0.1}.get(unit)
    if per_mm is None or not across or not down or (unit == 0 and across == down):
        return about
    return replace(about, pixels_per_mm=(across * per_mm, down * per_mm), resolution_unit=("", "in", "cm")[unit])


def _joined(found: dict[bytes, list[bytes]]) -> tuple[bytes | None, bytes | None, list[str]]:
    """XMP and Photoshop's resources out of their segments, and what could not be read."""
    left = []
    packet = found[XMP_HEAD][0] if found[XMP_HEAD] else None
    if packet and found[extended_xmp.EXTENSION_HEAD]:
        try:
            packet = extended_xmp.joined(packet, _extension(packet, found[extended_xmp.EXTENSION_HEAD]))
        except Damaged:
            left.append("the extension of its XMP is damaged and was left out")
    try:
        # each segment lists whole resources, or one list goes on in the next one
        resources = photoshop.clean(b"".join(found[PHOTOSHOP_HEAD])) or None
    except Damaged:
        resources = None
        left.append("its Photoshop block, IPTC included, is damaged and was left out")
    return packet, resources, left


def _extension(packet: bytes, parts: list[bytes]) -> bytes:
    """The extension that a packet names, out of its segments."""
    mine = [part for part in parts if len(part) >= 40 and part[:32] in packet]
    if not mine:
        raise Damaged("no extension of that name")
    (length,) = struct.unpack_from(">L", mine[0], 32)
    if length > sum(len(part) - 40 for part in mine):
        raise Damaged("an extension that is cut short")
    whole = bytearray(length)
    for part in mine:
        (place,) = struct.unpack_from(">L", part, 36)
        if place + len(part) - 40 > length:
            raise Damaged("an extension longer than it says")
        whole[place : place + len(part) - 40] = part[40:]
    return bytes(whole)


def _behind(stream: BinaryIO, scan: int) -> list[str]:
    """What lies behind the picture's end, in words; films and gain maps hang on there."""
    end, length = _end_of_picture(stream, scan), length_of(stream)
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
        gain = any(mark in start for mark in (b"/hdr-gain-map/", _ISO_GAIN_MAP, b"/HDRGainMap/"))
        film = [MOTION] if _film(stream, end, length) else []
        return [GAIN_MAP if gain else FORMER, *film]
    return [f"{length - end} bytes behind the picture's end were left out, which nobody but their maker can read"]


def _film(stream: BinaryIO, start: int, end: int) -> bool:
    """Whether an MP4 begins somewhere there; read in pieces that overlap, as the mark may lie across two."""
    for place in range(start, end, _CHUNK_BYTES):
        stream.seek(place)
        piece = stream.read(_CHUNK_BYTES + 16)
        if re.search(rb"\0\0\0[\x10-\x40]ftyp(mp4|isom|avc1|qt|MSNV|iso)", piece):
            return True
    return False


def _end_of_picture(stream: BinaryIO, scan: int) -> int | None:
    """Behind the first end-of-image mark after the first scan began; within scans those two bytes never occur."""
    place, last = scan, b""
    stream.seek(place)
    while chunk := stream.read(_CHUNK_BYTES):
        found = (last + chunk).find(b"\xff\xd9")
        if found >= 0:
            return place - len(last) + found + 2
        place += len(chunk)
        last = chunk[-1:]
    return None


# Writing -------------------------------------------------------------------------------------------------------------


def fits_exif(exif: bytes) -> bool:
    return len(EXIF_HEAD) + len(exif) <= SEGMENT_BYTES


def packets(packet: bytes) -> tuple[bytes, bytes | None]:
    """XMP as JPEG holds it: a packet and perhaps an extension. Raises Damaged where it cannot be divided."""
    return extended_xmp.split(packet, SEGMENT_BYTES - len(XMP_HEAD))


def _segment(marker: int, data: bytes) -> bytes:
    assert len(data) <= SEGMENT_BYTES, f"{len(data)} bytes for one segment"
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def _jfif(about: Metadata) -> bytes:
    """The JFIF head, which libvips does not write without a resolution."""
    unit, (across, down) = 0, (1, 1)
    if about.pixels_per_mm:
        unit, scale = {"cm": (2, 10.0), "": (0, 1.0)}.get(about.resolution_unit, (1, _MM_PER_INCH))
        across, down = (round(value * scale) for value in about.pixels_per_mm)
        if not (1 <= across <= 65535 and 1 <= down <= 65535):
            unit, (across, down) = 0, (1, 1)
    return _segment(0xE0, b"JFIF\0" + struct.pack(">HBHHBB", 0x0101, unit, across, down, 0, 0))


def finish(file: BinaryIO, about: Metadata) -> None:
    """Put into an encoder's JPEG, in place, what fits; the profile alone must be there already."""
    head = [_jfif(about)]
    if about.exif:
        head.append(_segment(0xE1, EXIF_HEAD + about.exif))
    if about.xmp:
        main, extension = packets(about.xmp)
        head.append(_segment(0xE1, XMP_HEAD + main))
        head += [_segment(0xE1, part) for part in extended_xmp.extension_segments(extension or b"")]
    resources, room = about.photoshop or b"", SEGMENT_BYTES - len(PHOTOSHOP_HEAD)
    parts = [resources[place : place + room] for place in range(0, len(resources), room)]
    head += [_segment(0xED, PHOTOSHOP_HEAD + part) for part in parts]
    head += [_segment(0xFE, comment) for comment in about.comments]
    start = 2
    if take(file, 2, 4)[:2] == b"\xff\xe0":  # an encoder's own JFIF head
        start = 4 + struct.unpack(">H", take(file, 4, 2))[0]
    replace_span(file, 2, start, b"".join(head))
