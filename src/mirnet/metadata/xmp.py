"""XMP: a packet of RDF in XML, of which single properties are taken out, byte by byte, and everything else stays.

A real parser (expat) finds where elements and attributes lie, whatever prefixes a program chose; a packet that is not
well-formed, or that defines entities, raises Damaged.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from mirnet.metadata.tiff_directories import Damaged

NAMESPACE = "urn:mirnet:1.0:"  # of our one property
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XMP_BASIC = "http://ns.adobe.com/xap/1.0/"
HDR_GAIN_MAP = "http://ns.adobe.com/hdr-gain-map/1.0/"
APPLE_GAIN_MAP = "http://ns.apple.com/HDRGainMap/1.0/"
CONTAINER = "http://ns.google.com/photos/1.0/container/"
CAMERA = "http://ns.google.com/photos/1.0/camera/"
IMAGE = "http://ns.google.com/photos/1.0/image/"
LARGEST_PACKET_BYTES = 32 << 20
MOST_MARKS = 200_000
_CHUNK_BYTES = 1 << 20

Name = tuple[str, str]  # namespace and local name
Test = Callable[[str, str], bool]  # of both
ATTRIBUTE = re.compile(rb"""(?<!\s)\s++([^\s=>"'/]++)\s*+=\s*+("[^"]*"|'[^']*')""")
_TAG = re.compile(rb"""<(?:[^"'>]++|"[^"]*+"|'[^']*+')*+>""")
_EMPTY_OURS = re.compile(r'<rdf:Description rdf:about="[^"<]*" xmlns:mirnet="[^"<]*"></rdf:Description>')
_FRESH = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
).encode()


@dataclass
class Element:
    name: Name
    start: int
    depth: int
    tag_end: int
    attributes: list[tuple[Name, str, int, int]]  # name, value, and where they lie
    end: int = 0


@dataclass
class _Walk:
    """One pass over a packet; `visit` sees every element when it ends."""

    packet: bytes
    visit: Callable[[Element], None]
    open: list[Element] = field(default_factory=list)

    def go(self) -> None:
        if len(self.packet) > LARGEST_PACKET_BYTES:
            raise Damaged("XMP longer than anybody writes")
        if sum(self.packet.count(mark) for mark in (b"<", b'"', b"'")) > MOST_MARKS:
            raise Damaged("XMP of more elements than anybody writes")
        parser = expat.ParserCreate("UTF-8", namespace_separator=" ")
        parser.ordered_attributes = True
        parser.StartElementHandler = lambda name, attributes: self._start(parser.CurrentByteIndex, name, attributes)
        parser.EndElementHandler = lambda name: self._end(parser.CurrentByteIndex)
        parser.StartDoctypeDeclHandler = self._refuse
        try:
            for place in range(0, len(self.packet), _CHUNK_BYTES):  # an error ends it at a chunk's end
                parser.Parse(self.packet[place : place + _CHUNK_BYTES], False)
            parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise Damaged(f"XMP that is no XML: {error}") from error

    def _refuse(self, *ignored: Any) -> None:
        raise Damaged("XMP that defines entities")

    def _start(self, place: int, name: str, attributes: list[str]) -> None:
        tag = _TAG.match(self.packet, place)
        if tag is None:
            raise Damaged("XMP whose tags end nowhere")
        spans = [
            match.span()
            for match in ATTRIBUTE.finditer(tag[0])
            if match[1] != b"xmlns" and not match[1].startswith(b"xmlns:")
        ]
        if 2 * len(spans) != len(attributes):
            raise Damaged("XMP whose attributes cannot be told apart")
        named = [
            (_name(attributes[2 * index]), attributes[2 * index + 1], place + start, place + end)
            for index, (start, end) in enumerate(spans)
        ]
        self.open.append(Element(_name(name), place, len(self.open), tag.end(), named))

    def _end(self, place: int) -> None:
        element = self.open.pop()
        empty = self.packet[element.tag_end - 2 : element.tag_end] == b"/>"
        element.end = element.tag_end if empty else self.packet.index(b">", place) + 1
        self.visit(element)


def _name(joined: str) -> Name:
    namespace, _, local = joined.rpartition(" ")
    return namespace, local


def decoded(xmp: bytes) -> bytes:
    """A packet as UTF-8, without the zeros that some programs end it with."""
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if xmp.startswith(mark):
            try:
                return xmp.decode(encoding).encode()
            except UnicodeDecodeError as error:
                raise Damaged("XMP that is no text") from error
    return xmp.rstrip(b"\0")


def found(xmp: bytes, tests: Iterable[Test]) -> list[bool]:
    """Which of the tests some element or attribute meets."""
    wanted = list(tests)
    met = [False] * len(wanted)

    def visit(element: Element) -> None:
        names = [element.name, *(name for name, _, _, _ in element.attributes)]
        for index, test in enumerate(wanted):
            met[index] = met[index] or any(test(*name) for name in names)

    _Walk(decoded(xmp), visit).go()
    return met


def without(xmp: bytes, unwanted: Test) -> bytes:
    """A packet without the properties, elements or attributes, whose namespace and name are unwanted."""
    packet = decoded(xmp)
    spans: list[tuple[int, int]] = []

    def visit(element: Element) -> None:
        if unwanted(*element.name):
            spans.append((element.start, element.end))
        spans.extend((start, end) for name, _, start, end in element.attributes if unwanted(*name))

    _Walk(packet, visit).go()
    return cut(packet, spans) if spans else xmp


def cut(packet: bytes, spans: list[tuple[int, int]]) -> bytes:
    kept, place = [], 0
    for start, end in sorted(spans):  # one within another is cut with it
        kept.append(packet[place:start])
        place = max(place, end)
    return b"".join([*kept, packet[place:]])


@dataclass
class Sections:
    """A packet's RDF section, the descriptions in it, and what they say that they describe."""

    rdf: Element | None = None
    descriptions: list[Element] = field(default_factory=list)
    about: str = ""


def sections(packet: bytes) -> Sections:
    found = Sections()

    def visit(element: Element) -> None:
        if element.name == (RDF, "RDF"):
            found.rdf = element
        elif element.name == (RDF, "Description") and walk.open and walk.open[-1].name == (RDF, "RDF"):
            found.descriptions.append(element)
            found.about = found.about or next((value for name, value, _, _ in element.attributes
                                               if name in ((RDF, "about"), ("", "about"))), "")  # fmt: skip

    walk = _Walk(packet, visit)
    walk.go()
    return found


def with_provenance(xmp: bytes | None, provenance: str) -> bytes:
    """A packet that says how the picture was made, in a property of our own; all that it said before stays.

    A packet without an RDF section, or that is damaged, is returned as it is.
    """
    try:
        packet = without(xmp, lambda namespace, _: namespace == NAMESPACE) if xmp else _FRESH
        packet = _EMPTY_OURS.sub("", decoded(packet).decode()).encode()
        parts = sections(packet)
    except (Damaged, UnicodeDecodeError):
        return xmp or b""
    if parts.rdf is None:
        return xmp or b""
    ours = (
        f"<rdf:Description rdf:about={quoteattr(parts.about)} xmlns:mirnet={quoteattr(NAMESPACE)}>"
        f"<mirnet:provenance>{escape(provenance)}</mirnet:provenance></rdf:Description>"
    ).encode()
    return inserted(packet, parts.rdf, ours)


def inserted(packet: bytes, rdf: Element, content: bytes) -> bytes:
    """Content at the end of the RDF section."""
    if packet[rdf.tag_end - 2 : rdf.tag_end] == b"/>":  # it was empty
        name = packet[rdf.start + 1 :].split(None, 1)[0].rstrip(b"/>")
        opened = packet[: rdf.tag_end - 2] + b">"
        return opened + content + b"</" + name + b">" + packet[rdf.tag_end :]
    place = packet.rindex(b"</", rdf.start, rdf.end)
    return packet[:place] + content + packet[place:]


def without_padding(xmp: bytes) -> bytes:
    """A packet without the blank room for editors at its end."""
    before, mark, after = xmp.rpartition(b"<?xpacket end")
    return before.rstrip() + mark + after if mark else xmp


def upright_xmp(xmp: bytes) -> bytes:
    """A packet whose orientation, where it states one, is 1."""
    xmp = re.sub(rb"(tiff:Orientation=[\"'])[1-8]", rb"\g<1>1", xmp)
    return re.sub(rb"(<tiff:Orientation>)[1-8]", rb"\g<1>1", xmp)


# What goes -----------------------------------------------------------------------------------------------------------

# Not among them: the address of the photographer (CiAdrCity and the like)
_PLACES = {"city", "state", "country", "countrycode", "locationcreated", "locationshown", "provincestate",
           "countryname", "worldregion"}  # fmt: skip
_MOTION = ("MotionPhoto", "MicroVideo")


def says_place(namespace: str, name: str) -> bool:
    """Whether a property says where a picture was taken: IPTC's, EXIF's GPS, and what drones call it."""
    lower = name.lower()
    return lower in _PLACES or "gps" in lower or lower.endswith(("latitude", "longitude", "location"))


def is_gain_map(namespace: str, name: str) -> bool:
    return namespace in (HDR_GAIN_MAP, APPLE_GAIN_MAP)


def is_motion(namespace: str, name: str) -> bool:
    return namespace == CAMERA and name.startswith(_MOTION)


def is_container(namespace: str, name: str) -> bool:
    """The list of the pictures and films that lie behind the picture in its file."""
    return namespace == CONTAINER and name == "Directory"


def is_former_picture(namespace: str, name: str) -> bool:
    """A thumbnail, or the whole picture as it was before a filter of the phone's."""
    return (namespace, name) in ((XMP_BASIC, "Thumbnails"), (IMAGE, "Data"), (IMAGE, "Mime"))


def is_stale(namespace: str, name: str) -> bool:
    """All that does not hold for another picture."""
    tests = (is_gain_map, is_motion, is_container, is_former_picture)
    return any(test(namespace, name) for test in tests)
