"""XMP too long for one segment of a JPEG: a main packet, and an extension that the packet names by its MD5 sum."""

import hashlib
import struct
from xml.sax.saxutils import quoteattr

from mirnet.metadata.file_bytes import Damaged
from mirnet.metadata.xmp import (
    ATTRIBUTE,
    RDF,
    Element,
    find_sections,
    insert_in_rdf,
    remove_padding,
    remove_properties,
    remove_spans,
    to_utf8,
)

XMP_NOTE = "http://ns.adobe.com/xmp/note/"
EXTENSION_PREFIX = b"http://ns.adobe.com/xmp/extension/\0"
_EXTENSION_CHUNK_BYTES = 65_400
_NOTE_BYTES = 400  # about the length of the property that names the extension


def join_extension(main: bytes, extension: bytes) -> bytes:
    """Returns a packet and its extension as one packet. Raises Damaged."""
    main = to_utf8(remove_properties(main, lambda *name: name == (XMP_NOTE, "HasExtendedXMP")))
    sections, further = find_sections(main), find_sections(extension)
    if sections.rdf is None or further.rdf is None:
        raise Damaged("extended XMP without RDF")
    outer = _find_outer_namespaces(extension, further.rdf)
    moved = []
    for element in further.descriptions:
        tag = extension[element.start : element.tag_end]
        missing = b"".join(b" " + name + b"=" + value for name, value in outer.items() if name + b"=" not in tag)
        name_end = len(tag.split(None, 1)[0].rstrip(b"/>"))
        moved.append(tag[:name_end] + missing + tag[name_end:] + extension[element.tag_end : element.end])
    return insert_in_rdf(main, sections.rdf, b"".join(moved))


def _find_outer_namespaces(packet: bytes, rdf: Element) -> dict[bytes, bytes]:
    """The namespaces declared around the descriptions: "xmlns:NAME" and its value in quotes; rdf is always there."""
    attributes = {match[1]: match[2] for match in ATTRIBUTE.finditer(packet[: rdf.tag_end])}
    return {b"xmlns:rdf": quoteattr(RDF).encode()} | {
        name: value for name, value in attributes.items() if name.startswith(b"xmlns")
    }


def split_packet(xmp: bytes, most_bytes: int) -> tuple[bytes, bytes | None]:
    """Returns a packet of at most `most_bytes`, and the rest as an extension; None where all fits into the packet.

    Raises Damaged where it cannot be divided like that.
    """
    packet = xmp if len(xmp) <= most_bytes else remove_padding(to_utf8(xmp))
    if len(packet) <= most_bytes:
        return packet, None
    sections = find_sections(packet)
    if sections.rdf is None:
        raise Damaged("XMP without RDF")
    moved, length = [], len(packet) + _NOTE_BYTES
    for element in sorted(sections.descriptions, key=lambda each: each.start - each.end):  # the longest first
        if length > most_bytes:
            moved.append((element.start, element.end))
            length -= element.end - element.start
    content = b"".join(packet[start:end] for start, end in sorted(moved))
    outer = b"".join(b" " + name + b"=" + value for name, value in _find_outer_namespaces(packet, sections.rdf).items())
    extension = b"<rdf:RDF" + outer + b">" + content + b"</rdf:RDF>"
    main = _add_note(remove_spans(packet, moved), sections.about, _hash(extension))
    if length > most_bytes or len(main) > most_bytes:
        raise Damaged("XMP that cannot be divided")
    return main, extension


def _add_note(packet: bytes, about: str, md5: str) -> bytes:
    """Returns a packet that names its extension."""
    rdf = find_sections(packet).rdf
    assert rdf is not None, "only descriptions were removed"
    note = (
        f"<rdf:Description rdf:about={quoteattr(about)} xmlns:rdf={quoteattr(RDF)} "
        f'xmlns:xmpNote="{XMP_NOTE}" xmpNote:HasExtendedXMP="{md5}"/>'
    )
    return insert_in_rdf(packet, rdf, note.encode())


def _hash(extension: bytes) -> str:
    return hashlib.md5(extension, usedforsecurity=False).hexdigest().upper()


def divide_extension(extension: bytes) -> list[bytes]:
    """Returns the contents of the JPEG segments that hold an extension."""
    return [
        EXTENSION_PREFIX
        + _hash(extension).encode()
        + struct.pack(">LL", len(extension), start)
        + extension[start : start + _EXTENSION_CHUNK_BYTES]
        for start in range(0, len(extension), _EXTENSION_CHUNK_BYTES)
    ]
