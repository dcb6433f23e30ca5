"""What a picture file says beside its pixels: read from any format, made to fit another, put into a finished file.

about = read(stream, "jpeg")                                  # from the source
about, remarks = fit(about, "jpeg", "png", size=(4000, 3000))  # what the result can say; what it cannot, in words
finish(file, "png", about)                                    # into what an encoder wrote
"""

from mirnet.metadata.conversion import fit
from mirnet.metadata.exif import clean_exif
from mirnet.metadata.image_file import finish, read
from mirnet.metadata.record import Metadata, Text
from mirnet.metadata.xmp import with_provenance

__all__ = ["Metadata", "Text", "clean_exif", "finish", "fit", "read", "with_provenance"]
