"""Photoshop's resources, numbered blocks that start with 8BIM: they hold the IPTC record in JPEG and TIFF."""

import struct
from collections.abc import Iterator

from mirnet.metadata.tiff_directories import Damaged, even

IPTC = 1028
_MOST_PARTS = 10_000
_IPTC_DIGEST = 1061  # of the IPTC record; wrong as soon as that is edited
_THUMBNAILS = (1033, 1036)
_XMP, _EXIF = 1060, (1058, 1059)
_STALE = (*_THUMBNAILS, _XMP, *_EXIF, 1039)  # further copies of what the file says elsewhere, its profile too
# city, part of the city, state, code and name of the country, and the location's own code and name
_PLACES = {26, 27, 90, 92, 95, 100, 101}


def resources(block: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and whole bytes, head included, of each resource. Raises Damaged at the first that is cut short."""
    place, end = 0, len(block.rstrip(b"\0"))
    for _ in range(_MOST_PARTS):
        if place >= end:
            return
        if block[place : place + 4] not in (b"8BIM", b"MeSa", b"PHUT", b"AgHg", b"DCSR") or place + 12 > len(block):
            raise Damaged("no resource of Photoshop's")
        (kind,) = struct.unpack_from(">H", block, place + 4)
        size_place = place + 6 + even(1 + block[place + 6])
        if size_place + 4 > len(block):
            raise Damaged("a resource without a size")
        stop = size_place + 4 + struct.unpack_from(">L", block, size_place)[0]
        if stop > len(block):
            raise Damaged("a resource that ends behind the block")
        yield kind, block[place : even(stop)]
        place = even(stop)
    raise Damaged("more resources than anybody needs")


def resource(kind: int, data: bytes) -> bytes:
    return b"8BIM" + struct.pack(">HHL", kind, 0, len(data)) + data + bytes(len(data) % 2)


def content(whole: bytes) -> bytes:
    """What a resource holds."""
    size_place = 6 + even(1 + whole[6])
    (length,) = struct.unpack_from(">L", whole, size_place)
    return whole[size_place + 4 : size_place + 4 + length]


def clean(block: bytes) -> bytes:
    """Resources without thumbnails of the old picture, and without copies of what the file says in its own places."""
    return b"".join(whole.ljust(even(len(whole)), b"\0") for kind, whole in resources(block) if kind not in _STALE)


def joined(others: bytes | None, iptc: bytes | None) -> bytes | None:
    """Resources as one block, from a file that keeps the IPTC record apart, as TIFF does."""
    if not iptc:
        return others or None
    kept = b"".join(whole for kind, whole in resources(others or b"") if kind != IPTC)
    return kept + resource(IPTC, iptc)


def iptc_of(block: bytes) -> bytes | None:
    return next((content(whole) for kind, whole in resources(block) if kind == IPTC), None)


def without_iptc(block: bytes) -> bytes | None:
    return b"".join(whole for kind, whole in resources(block) if kind != IPTC) or None


def without_place(block: bytes) -> bytes:
    """Resources whose IPTC record does not say where the picture was taken."""
    kept = []
    for kind, whole in resources(block):
        if kind == IPTC:
            kept.append(resource(IPTC, _record_without_place(content(whole))))
        elif kind != _IPTC_DIGEST:
            kept.append(whole)
    return b"".join(kept)


def _record_without_place(record: bytes) -> bytes:
    kept, place = [], 0
    for _ in range(_MOST_PARTS):
        if record[place : place + 1] != b"\x1c" or place + 5 > len(record):
            break
        number, dataset, length = struct.unpack_from(">BBH", record, place + 1)
        end = place + 5 + length
        if length & 0x8000:  # a length of more than 32,767 bytes is written behind
            width = length & 0x7FFF
            end = place + 5 + width + int.from_bytes(record[place + 5 : place + 5 + width][:8], "big")
        if end > len(record):
            break  # what is cut short could say anything
        if not (number == 2 and dataset in _PLACES):
            kept.append(record[place:end])
        place = end
    return b"".join(kept)
