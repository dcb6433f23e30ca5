"""The metadata of PNG, in the chunks around the pixels."""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from mirnet.metadata import icc_profile, photoshop
from mirnet.metadata.exif import EXIF_PREFIX
from mirnet.metadata.file_bytes import LARGEST_VALUE_BYTES, Damaged, read_bytes, replace_span
from mirnet.metadata.record import Metadata, Text

_XMP_KEYWORD = b"XML:com.adobe.xmp"
_LARGEST_TEXT_BYTES = 4 << 20  # unpacked
_MOST_CHUNKS = 1_000_000  # a large image has many
_MOST_METADATA_CHUNKS = 1000
_MOST_METADATA_BYTES = 64 << 20
_PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS")
_COLOURS = (b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP")
_TITLES = {
    "bKGD": "the background colour", "tIME": "the time of the last change", "hIST": "a histogram",
    "sBIT": "the depth before scaling", "sPLT": "a suggested palette", "acTL": "the animation",
    "fcTL": "the animation", "fdAT": "the animation", "mDCV": "the display's volume", "cLLI": "the light levels",
    "caBX": "the Content Credentials (C2PA)",
}  # fmt: skip


def _iter_chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yields name, offset of the content and length of the content of each chunk, up to the end."""
    offset = 8
    for _ in range(_MOST_CHUNKS):
        length, name = struct.unpack(">L4s", read_bytes(stream, offset, 8))
        yield name, offset + 8, length
        if name == b"IEND":
            return
        offset += 12 + length


def read(stream: BinaryIO) -> Metadata:
    """Reads the metadata of a PNG; `icc` only where chunks other than a profile state its colours."""
    metadata, others, dropped = Metadata(), [], []
    colours: dict[bytes, bytes] = {}
    count = total = 0
    try:
        for name, offset, length in _iter_chunks(stream):
            if name in (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"pHYs", *_COLOURS):
                count, total = count + 1, total + length
                if name == b"zTXt":  # each may unpack to megabytes
                    count += 10
                if count > _MOST_METADATA_CHUNKS or total > _MOST_METADATA_BYTES or length > LARGEST_VALUE_BYTES:
                    dropped.append("some of its texts were dropped: they are more than any program should write")
                    total -= length
                    continue
                data = read_bytes(stream, offset, length)
                if name in _COLOURS:
                    colours.setdefault(name, data)
                else:
                    metadata, remark = _add_chunk(metadata, name, data)
                    dropped += [remark] if remark else []
            elif name not in _PIXELS:
                title = name.decode("latin-1") if re.fullmatch(rb"[A-Za-z]{4}", name) else "of no name"
                others.append(_TITLES.get(title, f"the chunk {title}"))
    except Damaged:
        pass  # the decoder decides whether the file can be used
    if others:
        dropped.append(f"dropped, since it would not fit the new file: {', '.join(dict.fromkeys(others))}")
    code = colours.get(b"cICP", b"")
    dropped += icc_profile.describe_hdr(code[1]) if len(code) == 4 else ()
    return replace(metadata, icc=icc_profile.make_from_png_chunks(colours), dropped=tuple(dict.fromkeys(dropped)))


def _add_chunk(metadata: Metadata, name: bytes, data: bytes) -> tuple[Metadata, str | None]:
    """Returns the metadata with those of one chunk, and a remark where they are damaged or cannot be used."""
    if name == b"eXIf":
        return replace(metadata, exif=data), None
    if name == b"pHYs":
        return _add_resolution(metadata, data), None
    keyword = data.partition(b"\0")[0]
    try:
        text = decode_text(Text(name, data))  # of each chunk, so that a text that unpacks to megabytes goes no further
        if keyword == _XMP_KEYWORD:
            return replace(metadata, xmp=text), None
        if keyword.startswith(b"Raw profile type "):
            return _add_raw_profile(metadata, keyword.removeprefix(b"Raw profile type "), text)
    except (Damaged, ValueError):
        return metadata, f"its text {keyword[:40].decode('latin-1')!r} is damaged and was dropped"
    return replace(metadata, texts=(*metadata.texts, Text(name, data))), None


def _add_resolution(metadata: Metadata, data: bytes) -> Metadata:
    if len(data) != 9:
        return metadata
    across, down, unit = struct.unpack(">LLB", data)
    scale, name = (0.001, "in") if unit == 1 else (1.0, "")
    if not across or not down or (unit != 1 and across == down):
        return metadata
    return replace(metadata, pixels_per_mm=(across * scale, down * scale), resolution_unit=name)


def decode_text(text: Text) -> bytes:
    """Returns the text of a text chunk, in the encoding of the chunk. Raises Damaged, also for more than 4 MB."""
    _, _, rest = text.data.partition(b"\0")
    if text.kind == b"tEXt":
        return rest
    if text.kind == b"iTXt":
        is_packed = rest[:1] == b"\1"
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
        return _unpack(rest) if is_packed else rest
    return _unpack(rest[1:])


def _unpack(data: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        plain = unpacking.decompress(data, _LARGEST_TEXT_BYTES)
    except zlib.error as error:
        raise Damaged("a text that cannot be unpacked") from error
    if not unpacking.eof:
        raise Damaged("a text that is cut short, or longer than 4 MB")
    return plain


def _add_raw_profile(metadata: Metadata, kind: bytes, text: bytes) -> tuple[Metadata, str | None]:
    """Reads what ImageMagick and Exiv2 (GIMP, digiKam, darktable) write in hexadecimal, in place of the chunk eXIf."""
    lines = text.split(b"\n", 3)  # an empty line, the name, the length, the data
    data = bytes.fromhex(re.sub(rb"\s+", b"", lines[-1]).decode("ascii")) if len(lines) == 4 else b""
    if kind in (b"exif", b"APP1", b"app1") and data.startswith(EXIF_PREFIX):
        return replace(metadata, exif=metadata.exif or data.removeprefix(EXIF_PREFIX)), None
    if kind == b"xmp":
        return replace(metadata, xmp=metadata.xmp or data), None
    if kind in (b"iptc", b"8bim", b"IPTC"):
        resources = data.removeprefix(b"Photoshop 3.0\0")
        block = photoshop.add_iptc(None, data) if data[:1] == b"\x1c" else photoshop.remove_stale(resources)
        return replace(metadata, photoshop=block or None), None
    return metadata, f"its block {kind[:20].decode('latin-1')!r} in the old form of ImageMagick was dropped"


# Writing -------------------------------------------------------------------------------------------------------------


def make_chunk(name: bytes, data: bytes) -> bytes:
    """Returns a chunk of a PNG as bytes, with its length and checksum."""
    return struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))


def _make_resolution(metadata: Metadata) -> bytes:
    if metadata.pixels_per_mm is None:
        return b""
    unit, scale = (0, 1) if metadata.resolution_unit == "" else (1, 1000)
    across, down = (round(value * scale) for value in metadata.pixels_per_mm)
    is_valid = 0 < across < 2**31 and 0 < down < 2**31
    return make_chunk(b"pHYs", struct.pack(">LLB", across, down, unit)) if is_valid else b""


def insert(file: BinaryIO, metadata: Metadata) -> None:
    """Inserts metadata into an encoder's PNG, in place, and removes the resolution that libvips makes up."""
    kept, start = [], 8
    for name, offset, length in _iter_chunks(file):
        if name == b"IDAT":
            start = offset - 8
            break
        if name not in (b"pHYs", b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
            kept.append(read_bytes(file, offset - 8, length + 12))
    kept.append(_make_resolution(metadata))
    if metadata.exif:
        kept.append(make_chunk(b"eXIf", metadata.exif))
    if metadata.xmp:
        kept.append(make_chunk(b"iTXt", _XMP_KEYWORD + b"\0\0\0\0\0" + metadata.xmp))
    kept += [make_chunk(text.kind, text.data) for text in metadata.texts]
    replace_span(file, 8, start, b"".join(kept))
