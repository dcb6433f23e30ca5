"""What a picture file says beside its pixels: EXIF and XMP, as bytes that are cleaned and put into a finished file.

libvips takes EXIF apart and writes it anew: it invents tags that were never there (an uncalibrated colour space, an
EXIF version), may move maker notes off their offsets, and knows no EXIF in TIFF at all. So EXIF stays one block of
bytes here, a small TIFF file in itself, and is spliced into what libvips wrote. Only into and out of TIFF files, where
it cannot stay one block, Pillow's directory classes move it.
"""

import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO
from xml.sax.saxutils import escape

from mirnet.errors import PictureError

JPEG_SEGMENT_BYTES = 65533  # a segment says its length in 16 bits, which count themselves
_XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
_PHOTOSHOP_HEAD = b"Photoshop 3.0\0"
_PHOTOSHOP_THUMBNAILS = (1033, 1036)
NAMESPACE = "urn:mirnet:1.0:"  # of our one XMP property

_POINTERS = (34665, 34853, 40965)  # tags whose value is the place of a directory: EXIF, GPS, interoperability
# What a TIFF's first directory says about the photograph and not about how its pixels are stored (EXIF 2.32, table 4,
# and the Windows tags); everything else there belongs to the file that libvips writes.
_DESCRIPTIVE = {269, 270, 271, 272, 305, 306, 315, 316, 18246, 18249, 33432, 40091, 40092, 40093, 40094, 40095, 50341}


# EXIF as one block ---------------------------------------------------------------------------------------------------


def _endian(block: bytes) -> str:
    return "<" if block[:2] == b"II" else ">"


def _entries(block: bytes, offset: int) -> dict[int, int]:
    """The directory at `offset`: where in the block the 12 bytes of each tag lie."""
    (count,) = struct.unpack_from(_endian(block) + "H", block, offset)
    places = [offset + 2 + 12 * index for index in range(count)]
    return {struct.unpack_from(_endian(block) + "H", block, place)[0]: place for place in places}


def clean_exif(block: bytes, orientation: int | None = None) -> bytes | None:
    """An EXIF block without its thumbnail, which would show the old picture, and with another orientation if given.

    All other bytes stay where they are, because maker notes hold offsets that only their maker can correct. None if the
    first directory cannot be read: such a block says nothing to anybody.
    """
    block = block.removeprefix(b"Exif\0\0")
    if block[:4] not in (b"II*\0", b"MM\0*"):
        return None
    cleaned, endian = bytearray(block), _endian(block)
    try:
        (first,) = struct.unpack_from(endian + "L", block, 4)
        entries = _entries(block, first)
        if orientation is not None and 0x0112 in entries:
            struct.pack_into(endian + "HLHH", cleaned, entries[0x0112] + 2, 3, 1, orientation, 0)
        link = first + 2 + 12 * struct.unpack_from(endian + "H", block, first)[0]
        (second,) = struct.unpack_from(endian + "L", block, link)
        struct.pack_into(endian + "L", cleaned, link, 0)
    except struct.error:
        return None
    try:
        start, length = (
            struct.unpack_from(endian + "L", block, _entries(block, second)[tag] + 8)[0] for tag in (0x0201, 0x0202)
        )
    except (struct.error, KeyError):  # no second directory, or one without a JPEG in it
        return bytes(cleaned)
    if start + length >= len(block):
        return bytes(cleaned[: max(start, link + 4)])
    cleaned[start : start + length] = bytes(length)
    return bytes(cleaned)


# EXIF in TIFF --------------------------------------------------------------------------------------------------------


def _directory(head: bytes, stream: BinaryIO, offset: int | None = None) -> Any:
    """Pillow's reading of one TIFF directory; the file's first one where no offset is given."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2  # here, because only TIFF files need Pillow

    directory = ImageFileDirectory_v2(head)
    stream.seek(directory.next if offset is None else offset)
    with warnings.catch_warnings():  # a damaged tag is left out; nobody needs to hear of it
        warnings.simplefilter("ignore")
        directory.load(stream)
    return directory


def _moved(directory: Any, tags: set[int], stream: BinaryIO, head: bytes, target_head: bytes, offset: int) -> bytes:
    """The chosen tags of a directory and of those below it, as they read at `offset` in another file."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    target = ImageFileDirectory_v2(target_head)
    below = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for tag in sorted(tags & set(directory)):
            value = directory[tag]
            if tag in _POINTERS and not isinstance(value, int):
                continue
            target.tagtype[tag] = directory.tagtype[tag]
            if tag in _POINTERS:
                below[tag] = _directory(head, stream, value)
                target.tagtype[tag], value = 4, 0
            # Pillow reads text as Latin-1 but writes only ASCII; as bytes any encoding passes through
            target[tag] = value.encode("latin-1") if isinstance(value, str) else value
        end = offset + _even(len(target.tobytes(offset)))
        tails = b""
        for tag, child in below.items():
            target[tag] = end + len(tails)
            tails += _padded(_moved(child, set(child), stream, head, target_head, end + len(tails)))
        return _padded(target.tobytes(offset)) + tails


def _even(length: int) -> int:
    return length + length % 2


def _padded(data: bytes) -> bytes:
    return data + bytes(len(data) % 2)


def exif_of_tiff(stream: BinaryIO) -> bytes | None:
    """The EXIF of an open TIFF file as the block that other formats carry; None if it says nothing about the photo."""
    stream.seek(0)
    head = stream.read(8)
    if head[2:4] in (b"+\0", b"\0+"):  # BigTIFF says more before its first directory
        head += stream.read(8)
    try:
        directory = _directory(head, stream)
        tags = set(directory) & (_DESCRIPTIVE | set(_POINTERS))
        block_head = head[:2] + struct.pack(_endian(head) + "HL", 42, 8)
        return block_head + _moved(directory, tags, stream, head, block_head, 8) if tags else None
    except (OSError, SyntaxError, struct.error):
        return None  # unreadable tags; the pixels may well be sound


def exif_into_tiff(file: bytes, block: bytes) -> bytes:
    """A TIFF file with the block's tags added: a second first directory at its end, to which the header then points."""
    stream = io.BytesIO(block)
    directory = _directory(block[:8], stream)
    tags = set(directory) & (_DESCRIPTIVE | set(_POINTERS))
    start, endian = _even(len(file)), _endian(file)
    added = _moved(directory, tags, stream, block[:8], file[:8], start)
    (old,) = struct.unpack_from(endian + "L", file, 4)
    entries = {tag: file[place : place + 12] for tag, place in _entries(file, old).items()}
    joined = _padded(file) + added
    entries |= {tag: joined[place : place + 12] for tag, place in _entries(joined, start).items()}
    table = struct.pack(endian + "H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)
    return joined[:4] + struct.pack(endian + "L", len(joined)) + joined[8:] + table


# EXIF and XMP in the other formats -----------------------------------------------------------------------------------


def _segment(marker: int, data: bytes) -> bytes:
    if len(data) > JPEG_SEGMENT_BYTES:
        raise PictureError(
            f"JPEG holds at most {JPEG_SEGMENT_BYTES} bytes of EXIF and as many of XMP, but the picture brings "
            f"{len(data)}; write PNG, WebP or TIFF instead"
        )
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def into_jpeg(file: bytes, exif: bytes | None, xmp: bytes | None, dots_per_inch: tuple[int, int] | None) -> bytes:
    """A JPEG file with a JFIF head (libvips writes none) and with EXIF and XMP where given."""
    unit, (across, down) = (1, dots_per_inch) if dots_per_inch else (0, (1, 1))
    head = _segment(0xE0, b"JFIF\0" + struct.pack(">HBHHBB", 0x0101, unit, across, down, 0, 0))
    if exif:
        head += _segment(0xE1, b"Exif\0\0" + exif)
    if xmp:
        head += _segment(0xE1, _XMP_HEAD + xmp)
    return file[:2] + head + file[2:]


def into_png(file: bytes, exif: bytes | None, resolution_known: bool) -> bytes:
    """A PNG file with EXIF where given, and without the resolution that libvips makes up where there was none."""
    kept, place = [file[:8]], 8
    while place < len(file):
        length, kind = struct.unpack_from(">L4s", file, place)
        if resolution_known or kind != b"pHYs":
            kept.append(file[place : place + 12 + length])
        if kind == b"IHDR" and exif:
            kept.append(struct.pack(">L", len(exif)) + b"eXIf" + exif + struct.pack(">L", zlib.crc32(b"eXIf" + exif)))
        place += 12 + length
    return b"".join(kept)


def webp_chunks(file: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each chunk of a WebP file."""
    place = 12
    while place + 8 <= len(file):
        name, length = struct.unpack_from("<4sL", file, place)
        yield name, file[place + 8 : place + 8 + length]
        place += 8 + _even(length)


def into_webp(file: bytes, exif: bytes, width: int, height: int, alpha: bool) -> bytes:
    """A WebP file with EXIF, which asks for the extended head (VP8X) that a plain file has not."""
    chunks = list(webp_chunks(file))
    if chunks[0][0] != b"VP8X":
        size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        chunks.insert(0, (b"VP8X", bytes([0x10 * alpha, 0, 0, 0]) + size))
    flags = chunks[0][1]
    chunks[0] = (b"VP8X", bytes([flags[0] | 0x08]) + flags[1:])
    before_xmp = next((index for index, (name, _) in enumerate(chunks) if name == b"XMP "), len(chunks))
    chunks.insert(before_xmp, (b"EXIF", exif))
    body = b"WEBP" + b"".join(name + struct.pack("<L", len(data)) + _padded(data) for name, data in chunks)
    return b"RIFF" + struct.pack("<L", len(body)) + body


def clean_photoshop(block: bytes) -> bytes:
    """The resources that Photoshop puts into a JPEG (IPTC among them) without its thumbnails of the old picture.

    A block that is built otherwise is returned as it is.
    """
    place = len(_PHOTOSHOP_HEAD)
    if not block.startswith(_PHOTOSHOP_HEAD):
        return block
    kept = [block[:place]]
    while block[place : place + 4] == b"8BIM" and place + 12 <= len(block):
        (kind,) = struct.unpack_from(">H", block, place + 4)
        name = _even(1 + block[place + 6])
        size_place = place + 6 + name
        if size_place + 4 > len(block):
            break
        end = size_place + 4 + _even(struct.unpack_from(">L", block, size_place)[0])
        if kind not in _PHOTOSHOP_THUMBNAILS:
            kept.append(block[place:end])
        place = end
    return b"".join([*kept, block[place:]])


# XMP -----------------------------------------------------------------------------------------------------------------

_OURS = re.compile(  # as we write it, and as other programs may have written it again
    r'<rdf:Description rdf:about="[^"]*" xmlns:mirnet="[^"]*">'
    r"<mirnet:provenance>[^<]*</mirnet:provenance></rdf:Description>"
    r'|<mirnet:provenance>[^<]*</mirnet:provenance>|\smirnet:provenance=(?:"[^"]*"|\'[^\']*\')'
)
_FRESH = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)


def with_provenance(xmp: bytes | None, provenance: str) -> bytes:
    """An XMP packet that says how the picture was made, in a property of our own; all that it said before stays.

    A packet in which no end of an RDF section is found (another encoding, damage) is returned as it is.
    """
    try:
        packet = xmp.rstrip(b"\0").decode("utf-8") if xmp else _FRESH
    except UnicodeDecodeError:
        return xmp or b""
    packet = _OURS.sub("", re.sub(r"<rdf:RDF([^>]*)/>", r"<rdf:RDF\1></rdf:RDF>", packet))
    about = re.search(r'rdf:about="([^"]*)"', packet)  # one packet speaks about one thing, by one name
    ours = (
        f'<rdf:Description rdf:about="{about[1] if about else ""}" xmlns:mirnet="{NAMESPACE}">'
        f"<mirnet:provenance>{escape(provenance)}</mirnet:provenance></rdf:Description>"
    )
    before, end, after = packet.rpartition("</rdf:RDF>")
    return (before + ours + end + after).encode() if end else xmp or b""


def fits_jpeg(xmp: bytes) -> bool:
    """Whether a packet fits into the one segment that a JPEG has for it."""
    return len(_XMP_HEAD) + len(xmp) <= JPEG_SEGMENT_BYTES


def without_padding(xmp: bytes) -> bytes:
    """A packet without the blank room for editors at its end."""
    return re.sub(rb"\s+(<\?xpacket end)", rb"\1", xmp)


def upright_xmp(xmp: bytes) -> bytes:
    """A packet whose orientation, where it states one, is 1."""
    xmp = re.sub(rb"(tiff:Orientation=[\"'])[1-8]", rb"\g<1>1", xmp)
    return re.sub(rb"(<tiff:Orientation>)[1-8]", rb"\g<1>1", xmp)
