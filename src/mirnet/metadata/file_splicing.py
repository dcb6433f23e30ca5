"""Files that are changed in place, a megabyte at a time: a picture file may be larger than memory."""

from typing import BinaryIO

from mirnet.metadata.tiff_directories import length_of

_CHUNK_BYTES = 1 << 20


def replace_span(file: BinaryIO, start: int, end: int, content: bytes) -> None:
    """Put `content` where the bytes from `start` to `end` lay; all that follows moves."""
    length, shift = length_of(file), len(content) - (end - start)
    places = range(end, length, _CHUNK_BYTES)
    for place in reversed(places) if shift > 0 else places if shift else ():
        file.seek(place)
        chunk = file.read(min(_CHUNK_BYTES, length - place))
        file.seek(place + shift)
        file.write(chunk)
    if shift < 0:
        file.truncate(length + shift)
    file.seek(start)
    file.write(content)
