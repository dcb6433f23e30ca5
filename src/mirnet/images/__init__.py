"""Files and bytes to arrays and back, with what the files say beside their pixels. The only package that knows libvips.

A picture is opened as a header plus bands of rows, top to bottom, and written from bands of rows; a whole array is the
case of one band. Rows come and go in the order in which the file stores them; `upright` and `stored` turn an array
between that order and the one a person sees.
"""

from mirnet.images.image import Header, Image, upright_size
from mirnet.images.libvips import SUFFIXES, format_of_suffix, versions
from mirnet.images.orientation import Pixels, stored, upright
from mirnet.images.reader import open_image, read_image
from mirnet.images.screen_png import as_png
from mirnet.images.writer import copy_file, encode_image, refuse_unwritable, save_image, write_image
from mirnet.metadata import Metadata

__all__ = [
    "SUFFIXES",
    "Header",
    "Image",
    "Metadata",
    "Pixels",
    "as_png",
    "copy_file",
    "encode_image",
    "format_of_suffix",
    "open_image",
    "read_image",
    "refuse_unwritable",
    "save_image",
    "stored",
    "upright",
    "upright_size",
    "versions",
    "write_image",
]
