"""What a picture file says beside its pixels: read from any format, made to fit another, put into a finished file.

about = read(stream, "jpeg")                                  # from the source
about, remarks = fit(about, "jpeg", "png", size=(4000, 3000))  # what the result can say; what it cannot, in words
finish(file, "png", about)                                    # into what an encoder wrote
"""

from mirnet.metadata.about import Metadata, Text
from mirnet.metadata.exif import clean_exif
from mirnet.metadata.files import finish, read
from mirnet.metadata.fit import fit
from mirnet.metadata.old import (
    clean_photoshop,
    exif_into_tiff,
    exif_of_tiff,
    fits_jpeg,
    into_jpeg,
    into_png,
    into_webp,
    upright_xmp,
    webp_chunks,
    without_padding,
)
from mirnet.metadata.raw import exif_of_raw
from mirnet.metadata.xmp import with_provenance

__all__ = ["Metadata", "Text", "clean_exif", "clean_photoshop", "exif_into_tiff", "exif_of_raw", "exif_of_tiff",
           "finish", "fit",
           "fits_jpeg", "into_jpeg", "into_png", "into_webp", "read", "upright_xmp", "webp_chunks", "with_provenance",
           "without_padding"]  # fmt: skip
