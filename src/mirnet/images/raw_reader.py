"""Opens camera RAW by LibRaw (the extra `raw`): camera white balance, no automatic brightness, sRGB, 16 bit."""

from typing import Any

import numpy as np

from mirnet.errors import PictureError
from mirnet.extras import needs
from mirnet.images.image import File, Header, Image, decode_whole
from mirnet.images.libvips import describe_damaged
from mirnet.images.orientation import Pixels
from mirnet.metadata import Metadata, read_metadata
from mirnet.metadata.tiff_directories import read_number_tags

_DATA = ((273, 279), (324, 325))  # the tags of the offsets and lengths of strips, and of tiles
SRGB_GAMMA = (2.4, 12.92)  # power and slope at black: how LibRaw knows sRGB's curve


def read(file: File, format: str) -> Image:
    """Opens and develops a RAW image: only then its size is known for certain, and developing takes long.

    LibRaw turns it upright.
    """
    _refuse_cut_short(file)
    pixels, preview = _develop(file)
    header = Header(pixels.shape[1], pixels.shape[0], pixels.shape[2], 16, format, 1)

    def read_all_metadata() -> Metadata:
        with file.open() as stream:
            return read_metadata(stream, format, preview)

    return Image(header, read_all_metadata, file.name, file.source, decode_whole(lambda: pixels), (), 16)


def _refuse_cut_short(file: File) -> None:
    """Raises PictureError where a TIFF states pixels behind its end: LibRaw would make up what is missing there."""
    with file.open() as stream:
        directories = read_number_tags(stream)
        length = stream.seek(0, 2)
    for tags in directories:
        for offsets, lengths in _DATA:
            ends = [sum(pair) for pair in zip(tags.get(offsets, ()), tags.get(lengths, ()), strict=False)]
            if max(ends, default=0) > length:
                raise PictureError(describe_damaged(file.name, "raw", EOFError("it ends before its pixels do")))


def _develop(file: File) -> tuple[Pixels, bytes | None]:
    """Returns (H, W, 3) uint16 in sRGB, and the camera's own preview, a JPEG; None where it has none.

    LibRaw applies sRGB's curve to the same 16-bit linear values that it could return, so applying it here would gain
    nothing. Highlights are clipped: to rebuild them is a matter of taste.
    """
    with needs("raw", PictureError, f"{file.name}: a camera RAW image"):
        import rawpy
    try:
        with file.open() as stream, rawpy.imread(stream) as image:
            file.refuse_size(image.sizes.raw_width, image.sizes.raw_height)
            pixels = image.postprocess(
                use_camera_wb=True,
                no_auto_bright=True,
                output_bps=16,
                output_color=rawpy.ColorSpace.sRGB,
                gamma=SRGB_GAMMA,
                highlight_mode=rawpy.HighlightMode.Clip,
            )
            return np.ascontiguousarray(pixels, dtype=np.uint16), _extract_preview(image)
    except (rawpy.LibRawError, ValueError) as error:
        raise PictureError(describe_damaged(file.name, "raw", error)) from error


def _extract_preview(image: Any) -> bytes | None:
    import rawpy

    try:
        thumbnail = image.extract_thumb()
    except rawpy.LibRawError:  # it has none, or one that LibRaw cannot read
        return None
    return thumbnail.data if thumbnail.format == rawpy.ThumbFormat.JPEG else None
