"""Encodes pixels as a PNG quickly, for a browser to show value for value, and not to be kept."""

import numpy as np

from mirnet.images.libvips import vips
from mirnet.images.orientation import Pixels

_QUICK = {"compression": 1, "filter": "none"}  # a few times faster than the default, and a third larger


def encode_screen_png(pixels: Pixels) -> bytes:
    """Returns (H, W, 1 to 4) uint8, upright, as a PNG without profile or metadata."""
    height, width, channels = pixels.shape
    image = vips().Image.new_from_memory(np.ascontiguousarray(pixels), width, height, channels, "uchar")
    interpretation = "srgb" if channels > 2 else "b-w"
    content: bytes = image.copy(interpretation=interpretation).pngsave_buffer(keep="none", **_QUICK)
    return content
