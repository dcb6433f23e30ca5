"""Image files and bytes to arrays and back, with their metadata. The only package that knows libvips.

An opened image is a header plus bands of rows, from top to bottom; a file is written from bands of rows too. A whole
array is the case of one band. Rows are in the order in which the file stores them; `turn_upright` and `turn_as_stored`
turn an array between that order and the upright image.
"""

from mirnet.images.image import UNNAMED, Header, Image, upright_size
from mirnet.images.libvips import versions
from mirnet.images.orientation import Pixels, turn_as_stored, turn_upright
from mirnet.images.reader import open_image, read_image
from mirnet.images.screen_png import encode_screen_png
from mirnet.images.writer import copy_file, encode_image, refuse_unwritable, save_image, write_image
from mirnet.metadata import Metadata

__all__ = [
    "UNNAMED",
    "Header",
    "Image",
    "Metadata",
    "Pixels",
    "copy_file",
    "encode_image",
    "encode_screen_png",
    "open_image",
    "read_image",
    "refuse_unwritable",
    "save_image",
    "turn_as_stored",
    "turn_upright",
    "upright_size",
    "versions",
    "write_image",
]
