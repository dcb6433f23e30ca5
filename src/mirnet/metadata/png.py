"""What a PNG says in the chunks around its pixels."""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from mirnet.metadata import icc_profile, photoshop
from mirnet.metadata.file_splicing import replace_span
from mirnet.metadata.record import Metadata, Text
from mirnet.metadata.tiff_directories import LARGEST_VALUE_BYTES, Damaged, take

_XMP_KEYWORD = b"XML:com.adobe.xmp"
_LARGEST_TEXT_BYTES = 4 << 20
_MOST_CHUNKS = 1_000_000  # a large picture has many
_MOST_SAID = 1000
_MOST_SAID_BYTES = 64 << 20
_PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS")
_COLOURS = (b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP")
_TITLES = {
    "bKGD": "the background colour", "tIME": "the time of the last change", "hIST": "a histogram",
    "sBIT": "the depth before scaling", "sPLT": "a suggested palette", "acTL": "the animation",
    "fcTL": "the animation", "fdAT": "the animation", "mDCV": "the display's volume", "cLLI": "the light levels",
    "caBX": "the Content Credentials (C2PA)",
}  # fmt: skip


def chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Name, place of the content and its length of each chunk, up to the end."""
    place = 8
    for _ in range(_MOST_CHUNKS):
        length, kind = struct.unpack(">L4s", take(stream, place, 8))
        yield kind, place + 8, length
        if kind == b"IEND":
            return
        place += 12 + length


def read(stream: BinaryIO) -> Metadata:
    """What a PNG says; `icc` only where other chunks than a profile state its colours."""
    about, others, left = Metadata(), [], []
    said: dict[bytes, bytes] = {}
    count = total = 0
    try:
        for kind, place, length in chunks(stream):
            if kind in (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"pHYs", *_COLOURS):
                count, total = count + 1, total + length
                if kind == b"zTXt":  # a bomb may be in each
                    count += 10
                if count > _MOST_SAID or total > _MOST_SAID_BYTES or length > LARGEST_VALUE_BYTES:
                    left.append("some of its texts were left out, since they are more than anybody writes")
                    total -= length
                    continue
                data = take(stream, place, length)
                if kind in _COLOURS:
                    said.setdefault(kind, data)
                else:
                    about, sentence = _with(about, kind, data)
                    left += [sentence] if sentence else []
            elif kind not in _PIXELS:
                name = kind.decode("latin-1") if re.fullmatch(rb"[A-Za-z]{4}", kind) else "of no name"
                others.append(_TITLES.get(name, f"the chunk {name}"))
    except Damaged:
        pass  # whether the pixels can be read all the same, others say
    if others:
        left.append(f"left behind, since it would not fit the new file: {', '.join(dict.fromkeys(others))}")
    left += icc_profile.hdr(said.get(b"cICP", bytes(2))[1]) if len(said.get(b"cICP", b"")) == 4 else ()
    return replace(about, icc=icc_profile.profile_of_png(said), left=tuple(dict.fromkeys(left)))


def _with(about: Metadata, kind: bytes, data: bytes) -> tuple[Metadata, str | None]:
    if kind == b"eXIf":
        return replace(about, exif=data), None
    if kind == b"pHYs" and len(data) == 9:
        across, down, unit = struct.unpack(">LLB", data)
        scale, name = (0.001, "in") if unit == 1 else (1.0, "")
        stated = across and down and (unit == 1 or across != down)
        return replace(
            about, pixels_per_mm=(across * scale, down * scale), resolution_unit=name
        ) if stated else about, None
    keyword = data.partition(b"\0")[0]
    try:
        plain = content(Text(kind, data))  # of each, so that a text that swells beyond measure goes no further
        if keyword == _XMP_KEYWORD:
            return replace(about, xmp=plain), None
        if keyword.startswith(b"Raw profile type "):
            return _with_raw_profile(about, keyword.removeprefix(b"Raw profile type "), plain)
    except (Damaged, ValueError):
        return about, f"its text {keyword[:40].decode('latin-1')!r} is damaged and was left out"
    return replace(about, texts=(*about.texts, Text(kind, data))), None


def content(text: Text) -> bytes:
    """The text itself, in whichever encoding; Damaged where it unpacks to more than anybody would write."""
    _, _, rest = text.data.partition(b"\0")
    if text.kind == b"tEXt":
        return rest
    packed = True
    if text.kind == b"iTXt":
        packed = rest[:1] == b"\1"
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
        return _unpacked(rest) if packed else rest
    return _unpacked(rest[1:])


def _unpacked(data: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        plain = unpacking.decompress(data, _LARGEST_TEXT_BYTES)
    except zlib.error as error:
        raise Damaged("a text that cannot be unpacked") from error
    if not unpacking.eof:
        raise Damaged("a text that is cut short, or a bomb")
    return plain


def _with_raw_profile(about: Metadata, kind: bytes, text: bytes) -> tuple[Metadata, str | None]:
    """What ImageMagick wrote in hexadecimal before PNG had places for it."""
    lines = text.split(b"\n", 3)  # an empty one, the name, the length
    data = bytes.fromhex(re.sub(rb"\s+", b"", lines[-1]).decode("ascii")) if len(lines) == 4 else b""
    if kind in (b"exif", b"APP1", b"app1") and data.startswith(b"Exif\0\0"):
        return replace(about, exif=about.exif or data.removeprefix(b"Exif\0\0")), None
    if kind == b"xmp":
        return replace(about, xmp=about.xmp or data), None
    if kind in (b"iptc", b"8bim", b"IPTC"):
        resources = data.removeprefix(b"Photoshop 3.0\0")
        block = photoshop.joined(None, data) if data[:1] == b"\x1c" else photoshop.clean(resources)
        return replace(about, photoshop=block or None), None
    return about, f"its block {kind[:20].decode('latin-1')!r} in the old form of ImageMagick was left behind"


# Writing -------------------------------------------------------------------------------------------------------------


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def _resolution(about: Metadata) -> bytes:
    if about.pixels_per_mm is None:
        return b""
    unit, scale = (0, 1) if about.resolution_unit == "" else (1, 1000)
    across, down = (round(value * scale) for value in about.pixels_per_mm)
    lies_within = 0 < across < 2**31 and 0 < down < 2**31
    return _chunk(b"pHYs", struct.pack(">LLB", across, down, unit)) if lies_within else b""


def finish(file: BinaryIO, about: Metadata) -> None:
    """Put into an encoder's PNG, in place; the resolution that libvips makes up goes."""
    kept, start = [], 8
    for kind, place, length in chunks(file):
        if kind == b"IDAT":
            start = place - 8
            break
        if kind not in (b"pHYs", b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
            kept.append(take(file, place - 8, length + 12))
    kept.append(_resolution(about))
    if about.exif:
        kept.append(_chunk(b"eXIf", about.exif))
    if about.xmp:
        kept.append(_chunk(b"iTXt", _XMP_KEYWORD + b"\0\0\0\0\0" + about.xmp))
    kept += [_chunk(text.kind, text.data) for text in about.texts]
    replace_span(file, 8, start, b"".join(kept))
