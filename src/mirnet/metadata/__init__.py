"""Metadata of image files: read from any format, fitted to the format of the output, inserted into the finished file.

metadata = read_metadata(stream, "jpeg")                                   # of the source
metadata, remarks = fit_metadata(metadata, "jpeg", "png", size=(4000, 3000))  # remarks: what the output cannot hold
insert_metadata(file, "png", metadata)                                     # into what an encoder wrote
"""

from mirnet.metadata.conversion import fit_metadata
from mirnet.metadata.exif import clean_exif
from mirnet.metadata.image_file import insert_metadata, read_metadata
from mirnet.metadata.record import Metadata, Text
from mirnet.metadata.xmp import add_provenance

__all__ = ["Metadata", "Text", "add_provenance", "clean_exif", "fit_metadata", "insert_metadata", "read_metadata"]
