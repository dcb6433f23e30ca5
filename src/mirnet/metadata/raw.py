"""The EXIF of camera RAW files: read as TIFF where they are TIFF files, else from the embedded preview."""

import io
from typing import BinaryIO

from mirnet.metadata import jpeg, tiff
from mirnet.metadata.file_bytes import Damaged, read_bytes
from mirnet.metadata.record import Metadata

_TIFF_STARTS = (b"II", b"MM")  # DNG, CR2, NEF, ARW, PEF; ORF and RW2 too, which differ in the two bytes behind
PREVIEW_ONLY = "of its EXIF only what the camera's embedded preview states was kept"


def read(stream: BinaryIO, preview: bytes | None = None) -> Metadata:
    """Reads the EXIF of a RAW file. `preview` is the embedded JPEG, whose EXIF serves where the file is no TIFF.

    Fujifilm's preview (RAF) has all of the EXIF; other previews (Canon's CR3) have few tags, which a remark says.
    """
    try:
        start = read_bytes(stream, 0, 16)
    except Damaged:
        return Metadata()
    if start[:2] in _TIFF_STARTS and (block := tiff.read_exif(stream)):
        return Metadata(exif=block, dropped=tiff.describe_dropped_notes(stream))
    block = jpeg.read(io.BytesIO(preview)).exif if preview and preview.startswith(b"\xff\xd8") else None
    is_complete = block is None or start.startswith(b"FUJIFILMCCD-RAW")
    return Metadata(exif=block, dropped=() if is_complete else (PREVIEW_ONLY,))
