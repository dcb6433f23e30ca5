"""XMP that is too long for one segment of a JPEG: a main packet, and an extension that it names by its MD5 sum."""

import hashlib
import struct
from xml.sax.saxutils import quoteattr

from mirnet.metadata.tiff_directories import Damaged
from mirnet.metadata.xmp import ATTRIBUTE, RDF, Element, cut, decoded, inserted, sections, without, without_padding

XMP_NOTE = "http://ns.adobe.com/xmp/note/"
EXTENSION_HEAD = b"http://ns.adobe.com/xmp/extension/\0"
_EXTENSION_CHUNK_BYTES = 65_400
_NOTE_BYTES = 400  # of what names the extension, more or less


def joined(main: bytes, extension: bytes) -> bytes:
    """A packet and its extension, which holds what did not fit into one segment, as one packet."""
    main = decoded(without(main, lambda namespace, name: (namespace, name) == (XMP_NOTE, "HasExtendedXMP")))
    parts, further = sections(main), sections(extension)
    if parts.rdf is None or further.rdf is None:
        raise Damaged("extended XMP without RDF")
    outside = _declared_outside(extension, further.rdf)
    moved = []
    for element in further.descriptions:
        tag = extension[element.start : element.tag_end]
        missing = b"".join(b" " + name + b"=" + value for name, value in outside.items() if name + b"=" not in tag)
        name_end = len(tag.split(None, 1)[0].rstrip(b"/>"))
        moved.append(tag[:name_end] + missing + tag[name_end:] + extension[element.tag_end : element.end])
    return inserted(main, parts.rdf, b"".join(moved))


def _declared_outside(packet: bytes, rdf: Element) -> dict[bytes, bytes]:
    """The namespaces declared around the descriptions: "xmlns:NAME" and its value in quotes; rdf is always there."""
    found = {match[1]: match[2] for match in ATTRIBUTE.finditer(packet[: rdf.tag_end])}
    return {b"xmlns:rdf": quoteattr(RDF).encode()} | {
        name: value for name, value in found.items() if name.startswith(b"xmlns")
    }


def split(xmp: bytes, room: int) -> tuple[bytes, bytes | None]:
    """A packet of at most `room` bytes, and what does not fit into it as a packet of its own, named by its MD5 sum.

    Raises Damaged where it cannot be divided like that.
    """
    packet = xmp if len(xmp) <= room else without_padding(decoded(xmp))
    if len(packet) <= room:
        return packet, None
    parts = sections(packet)
    if parts.rdf is None:
        raise Damaged("XMP without RDF")
    moved, length = [], len(packet) + _NOTE_BYTES
    for element in sorted(parts.descriptions, key=lambda each: each.start - each.end):  # the longest first
        if length > room:
            moved.append((element.start, element.end))
            length -= element.end - element.start
    content = b"".join(packet[start:end] for start, end in sorted(moved))
    outside = b"".join(b" " + name + b"=" + value for name, value in _declared_outside(packet, parts.rdf).items())
    extension = b"<rdf:RDF" + outside + b">" + content + b"</rdf:RDF>"
    main = _with_note(cut(packet, moved), parts.about, _md5(extension))
    if length > room or len(main) > room:
        raise Damaged("XMP that cannot be divided")
    return main, extension


def _with_note(packet: bytes, about: str, sum: str) -> bytes:
    """A packet that names its extension."""
    rdf = sections(packet).rdf
    assert rdf is not None, "only descriptions were cut out"
    note = (
        f"<rdf:Description rdf:about={quoteattr(about)} xmlns:rdf={quoteattr(RDF)} "
        f'xmlns:xmpNote="{XMP_NOTE}" xmpNote:HasExtendedXMP="{sum}"/>'
    )
    return inserted(packet, rdf, note.encode())


def _md5(extension: bytes) -> str:
    return hashlib.md5(extension, usedforsecurity=False).hexdigest().upper()


def extension_segments(extension: bytes) -> list[bytes]:
    """What the segments hold that carry an extension."""
    return [
        EXTENSION_HEAD
        + _md5(extension).encode()
        + struct.pack(">LL", len(extension), place)
        + extension[place : place + _EXTENSION_CHUNK_BYTES]
        for place in range(0, len(extension), _EXTENSION_CHUNK_BYTES)
    ]
