"""Photoshop's resources, numbered blocks that start with 8BIM: JPEG and TIFF hold the IPTC record in one of them."""

import struct
from collections.abc import Iterator

from mirnet.metadata.file_bytes import Damaged, pad_to_even, round_up_to_even

IPTC = 1028
_SIGNATURES = (b"8BIM", b"MeSa", b"PHUT", b"AgHg", b"DCSR")
_MOST_PARTS = 10_000
_IPTC_DIGEST = 1061  # of the IPTC record; wrong as soon as the record is edited
_THUMBNAILS = (1033, 1036)
_XMP, _EXIF, _ICC = 1060, (1058, 1059), 1039
_STALE = (*_THUMBNAILS, _XMP, *_EXIF, _ICC)  # the latter are copies of what the file states elsewhere
# IPTC's city, part of the city, state, code and name of the country, and code and name of the location
_LOCATION = {26, 27, 90, 92, 95, 100, 101}


def iter_resources(block: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields number and bytes, header included, of each resource. Raises Damaged at the first that is cut short."""
    offset, end = 0, len(block.rstrip(b"\0"))
    for _ in range(_MOST_PARTS):
        if offset >= end:
            return
        if block[offset : offset + 4] not in _SIGNATURES or offset + 12 > len(block):
            raise Damaged("no resource of Photoshop's")
        (number,) = struct.unpack_from(">H", block, offset + 4)
        size_offset = offset + 6 + round_up_to_even(1 + block[offset + 6])
        if size_offset + 4 > len(block):
            raise Damaged("a resource without a size")
        stop = size_offset + 4 + struct.unpack_from(">L", block, size_offset)[0]
        if stop > len(block):
            raise Damaged("a resource that ends behind the block")
        offset, start = round_up_to_even(stop), offset
        yield number, block[start:offset]
    raise Damaged(f"more than {_MOST_PARTS} resources")


def make_resource(number: int, content: bytes) -> bytes:
    """Returns a resource without a name, as bytes."""
    return b"8BIM" + struct.pack(">HHL", number, 0, len(content)) + pad_to_even(content)


def _read_content(resource: bytes) -> bytes:
    size_offset = 6 + round_up_to_even(1 + resource[6])
    (length,) = struct.unpack_from(">L", resource, size_offset)
    return resource[size_offset + 4 : size_offset + 4 + length]


def remove_stale(block: bytes) -> bytes:
    """Returns the resources without thumbnails of the old image and copies of what the file states elsewhere."""
    return b"".join(pad_to_even(resource) for number, resource in iter_resources(block) if number not in _STALE)


def add_iptc(block: bytes | None, iptc: bytes | None) -> bytes | None:
    """Returns resources with an IPTC record among them, from a file that keeps it apart, as TIFF does."""
    if not iptc:
        return block or None
    return (remove_iptc(block or b"") or b"") + make_resource(IPTC, iptc)


def find_iptc(block: bytes) -> bytes | None:
    """Returns the IPTC record in a block of resources; None where it has none. Raises Damaged."""
    return next((_read_content(resource) for number, resource in iter_resources(block) if number == IPTC), None)


def remove_iptc(block: bytes) -> bytes | None:
    """Returns the resources without the IPTC record; None where there are no others. Raises Damaged."""
    return b"".join(resource for number, resource in iter_resources(block) if number != IPTC) or None


def remove_location(block: bytes) -> bytes:
    """Returns the resources with an IPTC record that does not state where the image was taken."""
    kept = []
    for number, resource in iter_resources(block):
        if number == IPTC:
            kept.append(make_resource(IPTC, _remove_location_from_record(_read_content(resource))))
        elif number != _IPTC_DIGEST:
            kept.append(resource)
    return b"".join(kept)


def _remove_location_from_record(record: bytes) -> bytes:
    kept, offset = [], 0
    for _ in range(_MOST_PARTS):
        if record[offset : offset + 1] != b"\x1c" or offset + 5 > len(record):
            break
        number, dataset, length = struct.unpack_from(">BBH", record, offset + 1)
        end = offset + 5 + length
        if length & 0x8000:  # a length of more than 32,767 bytes follows in a field of its own
            width = length & 0x7FFF
            end = offset + 5 + width + int.from_bytes(record[offset + 5 : offset + 5 + width][:8], "big")
        if end > len(record):
            break  # a data set that is cut short could state anything
        if not (number == 2 and dataset in _LOCATION):
            kept.append(record[offset:end])
        offset = end
    return b"".join(kept)
