"""The metadata of an output file: all that the source has, as far as the format of the output holds it."""

from collections.abc import Iterator
from dataclasses import replace

from mirnet.formats import FORMATS
from mirnet.images.encoder import choose_bits
from mirnet.images.image import Image, upright_size
from mirnet.metadata import Metadata, fit_metadata


def make_output_metadata(
    image: Image, format: str, provenance: str | None, strip_location: bool = False
) -> tuple[Metadata, tuple[str, ...]]:
    """Returns the metadata of the output, with its provenance, and remarks about what the output cannot hold."""
    header = image.header
    size = (header.width, header.height) if format == header.format else upright_size(header)
    metadata, remarks = fit_metadata(
        image.metadata,
        header.format,
        format,
        size=size,
        orientation=header.orientation,
        provenance=provenance,
        strip_location=strip_location,
    )
    grey_to_rgb = format == "webp" and header.channels < 3  # a profile of grey would be wrong there
    kept = header.format in ("webp", "avif") and format in ("webp", "avif")
    metadata = replace(metadata, icc=None if grey_to_rgb else metadata.icc, lossless=metadata.lossless and kept)
    return metadata, (*_describe_changes(image, format), *remarks)


def _describe_changes(image: Image, format: str) -> Iterator[str]:
    """Yields a remark for each change by the output's format that the user may not expect."""
    header, target = image.header, FORMATS[format]
    if not FORMATS[header.format].writable:
        yield f"{FORMATS[header.format].title} is not written: the result is a {target.title} image"
    if header.format in ("gif", "ppm"):
        yield "comments in the file, if it has any, are not kept"
    if format == "jpeg" and header.channels in (2, 4):
        yield "JPEG holds no transparency: the image is laid on white"
    before, after = image.bits, choose_bits(format, header.depth, image.bits)
    if before > after:
        kind = "float values" if before == 32 else f"{before} bit"
        others = "TIFF keeps them" if before == 32 else "PNG and TIFF hold 16"
        yield f"{kind} became {after} bit, which is what our {target.title} files hold; {others}"
