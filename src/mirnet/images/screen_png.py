"""Pixels as a PNG at once, for eyes and not for keeping: a browser shows it, value for value."""

import numpy as np

from mirnet.images.libvips import vips
from mirnet.images.orientation import Pixels

QUICK = {"compression": 1, "filter": "none"}  # a few times the speed of the usual, and a third larger


def as_png(pixels: Pixels) -> bytes:
    """(H, W, 1 to 4) uint8, upright, as a PNG without a profile or anything else beside the pixels."""
    height, width, channels = pixels.shape
    image = vips().Image.new_from_memory(np.ascontiguousarray(pixels), width, height, channels, "uchar")
    meaning = "srgb" if channels > 2 else "b-w"
    content: bytes = image.copy(interpretation=meaning).pngsave_buffer(keep="none", **QUICK)
    return content
