"""What a written picture says beside its pixels: all that its source says, as far as the new file can hold it."""

from collections.abc import Iterator
from dataclasses import replace

from mirnet import metadata
from mirnet.formats import FORMATS
from mirnet.images.encoder import bits_in
from mirnet.images.image import Image, upright_size
from mirnet.metadata import Metadata


def described(
    picture: Image, format: str, provenance: str | None, strip_location: bool = False
) -> tuple[Metadata, tuple[str, ...]]:
    """What the new file says, how it was made included, and sentences about what it cannot say or hold."""
    header = picture.header
    size = (header.width, header.height) if format == header.format else upright_size(header)
    about, remarks = metadata.fit(
        picture.metadata,
        header.format,
        format,
        size=size,
        orientation=header.orientation,
        provenance=provenance,
        strip_location=strip_location,
    )
    grey_to_rgb = format == "webp" and header.channels < 3  # a profile of grey would be wrong there
    kept = header.format in ("webp", "avif") and format in ("webp", "avif")
    about = replace(about, icc=None if grey_to_rgb else about.icc, lossless=about.lossless and kept)
    return about, (*_changes(picture, format), *remarks)


def _changes(picture: Image, format: str) -> Iterator[str]:
    """What a format makes of the picture that a person may not expect, a sentence each."""
    header, target = picture.header, FORMATS[format]
    if not FORMATS[header.format].writable:
        yield f"{FORMATS[header.format].title} is not written: the result is a {target.title} picture"
    if format == "jpeg" and header.channels in (2, 4):
        yield "JPEG holds no transparency: the picture is laid on white"
    before, after = picture.bits, bits_in(format, header.depth, picture.bits)
    if before > after:
        kind = "float values" if before == 32 else f"{before} bit"
        others = "TIFF keeps them" if before == 32 else "PNG and TIFF hold 16"
        yield f"{kind} became {after} bit, which is what our {target.title} files hold; {others}"
