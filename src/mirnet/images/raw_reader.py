"""Camera RAW, which LibRaw develops (the extra `raw`): camera white balance, no automatic brightness, sRGB, 16 bit."""

from typing import Any

import numpy as np

from mirnet import metadata
from mirnet.errors import PictureError
from mirnet.extras import needs
from mirnet.images import tiff_tags
from mirnet.images.image import File, Header, Image, whole
from mirnet.images.libvips import damaged
from mirnet.images.orientation import Pixels

_DATA = ((273, 279), (324, 325))  # tags: where strips and tiles lie, and how long they are
SRGB_GAMMA = (2.4, 12.92)  # power and slope at black: LibRaw's name for sRGB's curve


def read(file: File, format: str) -> Image:
    """Open and develop a RAW picture: only then its size is known for certain, and to develop it twice would take long.

    LibRaw turns it upright.
    """
    _refuse_cut_short(file)
    pixels, preview = _developed(file)
    header = Header(pixels.shape[1], pixels.shape[0], pixels.shape[2], 16, format, 1)
    with file.open() as stream:
        about = metadata.read(stream, format, preview)
    return Image(header, about, file.name, file.source, whole(lambda: pixels), (), 16)


def _refuse_cut_short(file: File) -> None:
    """LibRaw makes up what is missing at the end, so where a TIFF says where its pixels lie, that is looked at."""
    with file.open() as stream:
        found = tiff_tags.directories(stream)
        length = stream.seek(0, 2)
    for each in found:
        for places, counts in _DATA:
            ends = [sum(pair) for pair in zip(each.get(places, ()), each.get(counts, ()), strict=False)]
            if max(ends, default=0) > length:
                raise PictureError(damaged(file.name, "raw", EOFError("it ends before its pixels do")))


def _developed(file: File) -> tuple[Pixels, bytes | None]:
    """(H, W, 3) uint16 in sRGB, and the camera's own preview, a JPEG.

    LibRaw applies sRGB's curve to the very 16-bit linear values that it would hand over, so doing it here would gain
    nothing. Highlights are clipped: to rebuild them is a matter of taste.
    """
    with needs("raw", PictureError, f"{file.name}: a camera RAW picture"):
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
            return np.ascontiguousarray(pixels, dtype=np.uint16), _preview(image)
    except (rawpy.LibRawError, ValueError) as error:
        raise PictureError(damaged(file.name, "raw", error)) from error


def _preview(image: Any) -> bytes | None:
    import rawpy

    try:
        thumbnail = image.extract_thumb()
    except rawpy.LibRawError:  # it has none, or one that nobody reads
        return None
    return thumbnail.data if thumbnail.format == rawpy.ThumbFormat.JPEG else None
