"""XMP: packets of RDF in XML. Removes single properties byte by byte, adds the provenance; all else stays as it is.

A real parser (expat) finds where elements and attributes lie, whatever prefixes a program uses. A packet that is not
well-formed XML, or defines entities, raises Damaged.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from mirnet.metadata.file_bytes import Damaged

NAMESPACE = "urn:mirnet:1.0:"  # of our property, the provenance
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XMP_BASIC = "http://ns.adobe.com/xap/1.0/"
HDR_GAIN_MAP = "http://ns.adobe.com/hdr-gain-map/1.0/"
APPLE_GAIN_MAP = "http://ns.apple.com/HDRGainMap/1.0/"
CONTAINER = "http://ns.google.com/photos/1.0/container/"
CAMERA = "http://ns.google.com/photos/1.0/camera/"
XMP_NOTE = "http://ns.adobe.com/xmp/note/"
IMAGE = "http://ns.google.com/photos/1.0/image/"
LARGEST_PACKET_BYTES = 32 << 20
MOST_MARKS = 200_000  # of brackets and quotes
_CHUNK_BYTES = 1 << 20

Name = tuple[str, str]  # namespace and local name
Span = tuple[int, int]
NameTest = Callable[[str, str], bool]  # takes namespace and local name
ATTRIBUTE = re.compile(rb"""(?<!\s)\s++([^\s=>"'/]++)\s*+=\s*+("[^"]*"|'[^']*')""")
_TAG = re.compile(rb"""<(?:[^"'>]++|"[^"]*+"|'[^']*+')*+>""")
_EMPTY_OURS = re.compile(r'<rdf:Description rdf:about="[^"<]*" xmlns:mirnet="[^"<]*"></rdf:Description>')
_EMPTY_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
).encode()


@dataclass
class Element:
    """An element of a packet, from `start` to `end`; its opening tag ends at `tag_end`."""

    name: Name
    start: int
    depth: int
    tag_end: int
    attributes: list[tuple[Name, str, int, int]]  # name, value, start and end
    end: int = 0


@dataclass
class _Parser:
    """One pass over a packet, which calls `visit` with every element when the element ends."""

    packet: bytes
    visit: Callable[[Element], None]
    open: list[Element] = field(default_factory=list)

    def run(self) -> None:
        """Parses the packet. Raises Damaged."""
        if len(self.packet) > LARGEST_PACKET_BYTES:
            raise Damaged("XMP of more than 32 MB")
        if sum(self.packet.count(mark) for mark in (b"<", b'"', b"'")) > MOST_MARKS:
            raise Damaged(f"XMP with more than {MOST_MARKS} brackets and quotes")
        parser = expat.ParserCreate("UTF-8", namespace_separator=" ")
        parser.ordered_attributes = True
        parser.StartElementHandler = lambda name, attributes: self._start(parser.CurrentByteIndex, name, attributes)
        parser.EndElementHandler = lambda name: self._end(parser.CurrentByteIndex)
        parser.StartDoctypeDeclHandler = self._refuse_entities
        try:
            for start in range(0, len(self.packet), _CHUNK_BYTES):  # an error ends the parsing at a chunk's end
                parser.Parse(self.packet[start : start + _CHUNK_BYTES], False)
            parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise Damaged(f"XMP that is no XML: {error}") from error

    def _refuse_entities(self, *ignored: Any) -> None:
        raise Damaged("XMP that defines entities")

    def _start(self, offset: int, name: str, attributes: list[str]) -> None:
        tag = _TAG.match(self.packet, offset)
        if tag is None:
            raise Damaged("XMP with a tag that has no end")
        spans = [
            match.span()
            for match in ATTRIBUTE.finditer(tag[0])
            if match[1] != b"xmlns" and not match[1].startswith(b"xmlns:")
        ]
        if 2 * len(spans) != len(attributes):
            raise Damaged("XMP with attributes that cannot be separated")
        named = [
            (_split_name(attributes[2 * index]), attributes[2 * index + 1], offset + start, offset + end)
            for index, (start, end) in enumerate(spans)
        ]
        self.open.append(Element(_split_name(name), offset, len(self.open), tag.end(), named))

    def _end(self, offset: int) -> None:
        element = self.open.pop()
        is_empty = self.packet[element.tag_end - 2 : element.tag_end] == b"/>"
        element.end = element.tag_end if is_empty else self.packet.index(b">", offset) + 1
        self.visit(element)


def _split_name(joined: str) -> Name:
    namespace, _, local = joined.rpartition(" ")
    return namespace, local


def to_utf8(xmp: bytes) -> bytes:
    """Returns a packet as UTF-8, without the zeros that some programs write at its end. Raises Damaged."""
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if xmp.startswith(mark):
            try:
                return xmp.decode(encoding).encode()
            except UnicodeDecodeError as error:
                raise Damaged("XMP that is no text") from error
    return xmp.rstrip(b"\0")


def find_properties(xmp: bytes, tests: Iterable[NameTest]) -> list[bool]:
    """Returns for each test whether some element or attribute of the packet meets it. Raises Damaged."""
    wanted = list(tests)
    is_met = [False] * len(wanted)

    def visit(element: Element) -> None:
        names = [element.name, *(name for name, _, _, _ in element.attributes)]
        for index, test in enumerate(wanted):
            is_met[index] = is_met[index] or any(test(*name) for name in names)

    _Parser(to_utf8(xmp), visit).run()
    return is_met


def remove_properties(xmp: bytes, is_unwanted: NameTest) -> bytes:
    """Returns a packet without the properties, elements or attributes, that meet the test. Raises Damaged."""
    packet = to_utf8(xmp)
    spans: list[Span] = []

    def visit(element: Element) -> None:
        if is_unwanted(*element.name):
            spans.append((element.start, element.end))
        spans.extend((start, end) for name, _, start, end in element.attributes if is_unwanted(*name))

    _Parser(packet, visit).run()
    return remove_spans(packet, spans) if spans else xmp


def remove_spans(packet: bytes, spans: list[Span]) -> bytes:
    """Returns the bytes outside the spans, which may lie within each other."""
    kept, end_of_last = [], 0
    for start, end in sorted(spans):
        kept.append(packet[end_of_last:start])
        end_of_last = max(end_of_last, end)
    return b"".join([*kept, packet[end_of_last:]])


@dataclass
class Sections:
    """A packet's RDF section, the descriptions in it, and the subject of them (rdf:about)."""

    rdf: Element | None = None
    descriptions: list[Element] = field(default_factory=list)
    about: str = ""


def find_sections(packet: bytes) -> Sections:
    """Finds the RDF section of a packet and its descriptions. Raises Damaged."""
    sections = Sections()

    def visit(element: Element) -> None:
        if element.name == (RDF, "RDF"):
            sections.rdf = element
        elif element.name == (RDF, "Description") and parser.open and parser.open[-1].name == (RDF, "RDF"):
            sections.descriptions.append(element)
            sections.about = sections.about or next((value for name, value, _, _ in element.attributes
                                                     if name in ((RDF, "about"), ("", "about"))), "")  # fmt: skip

    parser = _Parser(packet, visit)
    parser.run()
    return sections


def add_provenance(xmp: bytes | None, provenance: str) -> bytes:
    """Returns a packet that states how the image was made, in a property of our own; all else stays.

    A new packet for None. A packet that is damaged or has no RDF section is returned as it is.
    """
    try:
        packet = remove_properties(xmp, lambda namespace, _: namespace == NAMESPACE) if xmp else _EMPTY_PACKET
        packet = _EMPTY_OURS.sub("", to_utf8(packet).decode()).encode()
        sections = find_sections(packet)
    except (Damaged, UnicodeDecodeError):
        return xmp or b""
    if sections.rdf is None:
        return xmp or b""
    description = (
        f"<rdf:Description rdf:about={quoteattr(sections.about)} xmlns:mirnet={quoteattr(NAMESPACE)}>"
        f"<mirnet:provenance>{escape(provenance)}</mirnet:provenance></rdf:Description>"
    ).encode()
    return insert_in_rdf(packet, sections.rdf, description)


def insert_in_rdf(packet: bytes, rdf: Element, content: bytes) -> bytes:
    """Returns a packet with the content at the end of its RDF section."""
    if packet[rdf.tag_end - 2 : rdf.tag_end] == b"/>":  # it was empty
        name = packet[rdf.start + 1 :].split(None, 1)[0].rstrip(b"/>")
        opened = packet[: rdf.tag_end - 2] + b">"
        return opened + content + b"</" + name + b">" + packet[rdf.tag_end :]
    end = packet.rindex(b"</", rdf.start, rdf.end)
    return packet[:end] + content + packet[end:]


def remove_padding(xmp: bytes) -> bytes:
    """Returns a packet without the white space at its end, which programs leave for later edits in place."""
    xmp = xmp.rstrip(b"\0")
    before, mark, after = xmp.rpartition(b"<?xpacket end")
    return before.rstrip() + mark + after if mark else xmp


def set_upright(xmp: bytes) -> bytes:
    """Returns a packet with the orientation 1, where it states one."""
    xmp = re.sub(rb"(tiff:Orientation=[\"'])[1-8]", rb"\g<1>1", xmp)
    return re.sub(rb"(<tiff:Orientation>)[1-8]", rb"\g<1>1", xmp)


# Tests for properties to remove --------------------------------------------------------------------------------------

# The address of the photographer (CiAdrCity and the like) is not among them.
_LOCATIONS = {"city", "state", "country", "countrycode", "locationcreated", "locationshown", "provincestate",
              "countryname", "worldregion"}  # fmt: skip
_MOTION = ("MotionPhoto", "MicroVideo")


def is_location(namespace: str, name: str) -> bool:
    """Whether a property states where a photo was taken: IPTC's, EXIF's GPS, and those that drones write."""
    lower = name.lower()
    return lower in _LOCATIONS or "gps" in lower or lower.endswith(("latitude", "longitude", "location"))


def is_gain_map(namespace: str, name: str) -> bool:
    """Whether a property describes a gain map (Ultra HDR)."""
    return namespace in (HDR_GAIN_MAP, APPLE_GAIN_MAP)


def is_motion(namespace: str, name: str) -> bool:
    """Whether a property describes the film of a motion photo."""
    return namespace == CAMERA and name.startswith(_MOTION)


def is_container(namespace: str, name: str) -> bool:
    """Whether a property lists the images and films that lie behind the image in its file."""
    return namespace == CONTAINER and name == "Directory"


def is_former_image(namespace: str, name: str) -> bool:
    """Whether a property holds a thumbnail, or the whole image as it was before a phone's filter."""
    return (namespace, name) in ((XMP_BASIC, "Thumbnails"), (IMAGE, "Data"), (IMAGE, "Mime"))


def is_extension_note(namespace: str, name: str) -> bool:
    """Whether a property names the extension of a packet that is too long for a segment of a JPEG."""
    return (namespace, name) == (XMP_NOTE, "HasExtendedXMP")


def is_stale(namespace: str, name: str) -> bool:
    """Whether a property holds for the old file alone."""
    tests = (is_gain_map, is_motion, is_container, is_former_image, is_extension_note)
    return any(test(namespace, name) for test in tests)
